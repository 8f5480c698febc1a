// beat_pacer_properties: a transfer of B beats holds its queue B cycles, and longer only for the walker.
module beat_pacer_properties (
    input wire        clk,
    input wire        start,
    input wire [39:0] beats,
    input wire        walker_ready
);
    reg         rst = 1'b1;
    reg  [39:0] left = 40'd0;
    wire        idle;

    beat_pacer dut (
        .clk(clk), .rst(rst), .start(start), .beats(beats), .walker_ready(walker_ready), .idle(idle)
    );
    always @(posedge clk) begin
        rst <= 1'b0;
        if (rst) left <= 40'd0;
        else if (start) left <= beats - 40'd1;
        else if (left != 40'd0) left <= left - 40'd1;
    end
    always @(*)
        if (!rst) begin
            assume (!start || (idle && beats != 40'd0));
            assert (idle == (left == 40'd0 && walker_ready));
        end else assume (!start);
endmodule
