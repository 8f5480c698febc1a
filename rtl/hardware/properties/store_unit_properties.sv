// store_unit_properties: never more instructions or bursts under way than there are places for, and
// W and AW stand still until they are taken.
module store_unit_properties (
    input wire       clk,
    input wire       start_wanted,
    input wire [8:0] address,
    input wire [1:0] more_runs,
    input wire [1:0] bank_data,
    input wire       awready,
    input wire       wready,
    input wire       bvalid
);
    reg         rst = 1'b1;
    reg  [ 3:0] instructions = 4'd0, unanswered = 4'd0, ended = 4'd0;
    reg         aw_waits = 1'b0, w_waits = 1'b0, held_last;
    reg  [47:0] held_aw;
    reg  [35:0] held_w;
    wire        idle, finish, empty, bank_read, bank_narrow, awvalid, wvalid, wlast, bready;
    wire [ 1:0] give;
    wire [ 3:0] bank_buffer;
    wire [23:0] bank_beat;
    wire [39:0] awaddr;
    wire [ 7:0] awlen;
    wire [31:0] wdata;
    wire [ 3:0] wstrb;
    wire        start = start_wanted && idle && !rst;
    // A TRANSFER of one to four runs of one beat, 16 bytes apart; first and last word in one.
    wire [255:0] word = {96'd0, 20'd1, 18'd0, more_runs, 32'd16, 29'd0, address, 2'd0, 24'd0, 19'd0, 2'b11, 3'd2}
                        + (256'd1 << 120);

    store_unit #(.BEAT_BYTES(4), .CHANNELS(2), .IN_FLIGHT(2), .SYNC_CYCLES(3)) dut (
        .clk(clk), .rst(rst), .start(start), .word(word), .idle(idle), .finish(finish), .empty(empty),
        .give(give), .bank_read(bank_read), .bank_buffer(bank_buffer), .bank_beat(bank_beat),
        .bank_narrow(bank_narrow), .bank_data({62'd0, bank_data}), .awvalid(awvalid), .awready(awready),
        .awaddr(awaddr), .awlen(awlen), .wvalid(wvalid), .wready(wready), .wdata(wdata), .wstrb(wstrb),
        .wlast(wlast), .bvalid(bvalid), .bready(bready)
    );
    always @(posedge clk) begin
        rst <= 1'b0;
        aw_waits <= !rst && awvalid && !awready;
        w_waits <= !rst && wvalid && !wready;
        held_aw <= {awaddr, awlen};
        held_w <= {wdata, wstrb};
        held_last <= wlast;
        if (!rst) begin
            instructions <= instructions + {3'd0, start} - {3'd0, finish};
            unanswered <= unanswered + {3'd0, bank_read} - {3'd0, bvalid};
            ended <= ended + {3'd0, wvalid && wready && wlast} - {3'd0, bvalid};
        end
    end
    always @(*)
        if (!rst) begin
            assume (!bvalid || ended != 4'd0);
            assert (instructions <= 4'd2);
            assert (unanswered <= 4'd2);
            assert (!empty || instructions == 4'd0);
            if (aw_waits) assert (awvalid && {awaddr, awlen} == held_aw);
            if (w_waits) assert (wvalid && {wdata, wstrb} == held_w && wlast == held_last);
            if (finish) assert (instructions != 4'd0);
        end else assume (!bvalid);
endmodule
