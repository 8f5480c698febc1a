// queue_properties: words start in order, each once, exactly when they may, one per cycle if need be.
module queue_properties (
    input wire         clk,
    input wire [255:0] write_word,
    input wire [  2:0] write_address,
    input wire         write,
    input wire         run,
    input wire [  1:0] available,
    input wire         unit_idle
);
    (* anyconst *) reg [2:0] which;    // any word of the first eight
    (* anyconst *) reg [7:0] word;     // its kind, marks and channels; the other bits go with them
    reg  [2:0] cycle = 3'd0;
    wire       rst = cycle == 3'd0;
    reg        written = 1'b0;
    reg        owed = 1'b0;            // an instruction holds the queue
    reg        was_primed = 1'b0, was_halted = 1'b0;
    reg  [4:0] started = 5'd0;
    wire       primed, halted, start, trace_start, trace_free;
    wire [1:0] take;
    wire [255:0] head;

    queue #(.DEPTH(8), .CHANNELS(2)) dut (
        .clk(clk), .rst(rst), .write(write), .write_address(write_address), .write_word(write_word), .run(run),
        .primed(primed), .halted(halted), .available(available), .take(take), .unit_idle(unit_idle),
        .start(start), .head(head), .trace_start(trace_start), .trace_free(trace_free)
    );
    wire [1:0] waits = head[6:5];
    wire       is_end = head[2:0] == 3'd0;
    wire       may = unit_idle && (waits & ~available) == 2'd0;

    always @(posedge clk) begin
        if (cycle != 3'd7) cycle <= cycle + 3'd1;
        if (rst && write) written <= 1'b1;
        was_primed <= !rst && (was_primed || primed);
        was_halted <= !rst && halted;
        owed <= !rst && ((start && head[4]) || (owed && !unit_idle));
        if (!rst) started <= started + {4'd0, start};
    end
    always @(*) begin
        // The word is written in the cycle of reset, nothing later.
        assume (!rst || (write && write_address == which && write_word[7:0] == word));
        assume (rst || !write);
        assume (run == was_primed);
        if (!rst) begin
            assert (!start || (run && may && !is_end));
            assert (take == (start ? waits : 2'd0));
            assert (trace_start == (start && head[3]));
            assert (trace_free == (owed && unit_idle));
            if (start && started == {2'd0, which}) assert (head[7:0] == word);
            if (run) assert (start || halted || !may || is_end);      // fetching delays nothing
            if (run && is_end) assert (halted);
            if (was_halted && run) assert (halted);
        end
    end
endmodule
