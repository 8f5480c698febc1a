// beat_pacer: how long a transfer holds its queue: its beats, and until the walker has room.
module beat_pacer (
    input  wire        clk,
    input  wire        rst,
    input  wire        start,
    input  wire [39:0] beats,          // of the instruction that starts; at least 1
    input  wire        walker_ready,
    output wire        idle
);
    reg        busy;
    reg [39:0] left;

    assign idle = !busy && walker_ready;

    always @(posedge clk) begin
        if (start) left <= beats - 40'd1;
        else left <= left - 40'd1;
        if (rst) busy <= 1'b0;
        else if (start) busy <= beats != 40'd1;
        else busy <= busy && left != 40'd1;
    end
endmodule
