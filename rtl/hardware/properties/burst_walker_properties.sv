// burst_walker_properties: bursts cover each run of a transfer without gap or overlap, in order, none
// crosses 4 KB or has over 256 beats, and a burst that waits stands still.
module burst_walker_properties (
    input wire        clk,
    input wire [39:0] address,
    input wire [31:0] stride,
    input wire [19:0] runs,
    input wire [19:0] beats,
    input wire        burst_ready
);
    reg         rst = 1'b1;
    reg         sent = 1'b0, settled = 1'b0, waits = 1'b0;
    reg  [39:0] run_address, expected, held_address;
    reg  [ 7:0] held_length;
    reg  [19:0] runs_left, all_beats, beats_left;
    wire        ready, valid;
    wire [39:0] burst_address;
    wire [ 7:0] burst_length;
    wire [19:0] count = {12'd0, burst_length} + 20'd1;
    wire        gone = valid && burst_ready;

    burst_walker #(.BEAT_BYTES(64)) dut (
        .clk(clk), .rst(rst), .command_valid(!rst && !sent), .command_ready(ready), .command_address(address),
        .command_stride(stride), .command_runs(runs), .command_beats(beats), .burst_valid(valid),
        .burst_ready(burst_ready), .burst_address(burst_address), .burst_length(burst_length)
    );
    always @(posedge clk) begin
        rst <= 1'b0;
        waits <= valid && !burst_ready;
        settled <= sent;
        held_address <= burst_address;
        held_length <= burst_length;
        if (!rst && !sent) begin
            sent <= 1'b1;
            {run_address, expected, runs_left, all_beats, beats_left} <= {address, address, runs, beats, beats};
        end else if (gone && count == beats_left) begin
            run_address <= run_address + {8'd0, stride};
            expected <= run_address + {8'd0, stride};
            beats_left <= all_beats;
            runs_left <= runs_left - 20'd1;
        end else if (gone) begin
            expected <= expected + {14'd0, count, 6'd0};
            beats_left <= beats_left - count;
        end
    end
    always @(posedge clk)
        if (sent) assume (stride == $past(stride));
    always @(*)
        if (!rst && !sent) begin
            assume (address[5:0] == 6'd0 && stride[5:0] == 6'd0 && runs != 20'd0 && beats != 20'd0);
            assert (ready);
        end else if (sent && valid) begin
            assert (runs_left != 20'd0);
            assert (burst_address == expected);
            assert (count <= beats_left);
            assert ({1'b0, expected[11:6]} + count[6:0] <= 7'd64 && count <= 20'd64);
            if (waits) assert (burst_address == held_address && burst_length == held_length);
        end else if (sent) assert (!settled || runs_left == 20'd0);  // valid waits for no ready
endmodule
