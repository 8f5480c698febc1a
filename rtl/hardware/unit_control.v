// unit_control: what a unit that runs one instruction at a time keeps between start and done.
//
// A SYNC word keeps the unit out of it and is done in the cycle in which it starts.
//
// CHANNELS  token channels
module unit_control #(
    parameter CHANNELS = 19
) (
    input  wire                clk,
    input  wire                rst,
    input  wire                start,
    input  wire                is_sync,
    input  wire [CHANNELS-1:0] signals,  // of the word that starts
    output wire                unit_start,
    input  wire                unit_done,  // high in the instruction's last cycle
    output wire                idle,
    output wire                finish,
    output wire [CHANNELS-1:0] give
);
    reg                busy;
    reg [CHANNELS-1:0] held;

    assign idle = !busy;
    assign unit_start = start && !is_sync;
    assign finish = (start && is_sync) || unit_done;
    assign give = !finish ? {CHANNELS{1'b0}} : busy ? held : signals;

    always @(posedge clk) begin
        if (unit_start) held <= signals;
        if (rst) busy <= 1'b0;
        else busy <= (busy && !unit_done) || (unit_start && !unit_done);
    end
endmodule
