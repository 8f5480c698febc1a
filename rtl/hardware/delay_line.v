// delay_line: out is in, STAGES cycles later.
//
// WIDTH   bits, at least 1
// STAGES  cycles; 0 is a wire
module delay_line #(
    parameter WIDTH = 1,
    parameter STAGES = 1
) (
    input  wire             clk,
    input  wire [WIDTH-1:0] in,
    output wire [WIDTH-1:0] out
);
    generate
        if (STAGES > 0) begin : g_line
            reg [WIDTH-1:0] stage [0:STAGES-1];
            integer i;

            always @(posedge clk) begin
                stage[0] <= in;
                for (i = 1; i < STAGES; i = i + 1) stage[i] <= stage[i-1];
            end

            assign out = stage[STAGES-1];
        end else begin : g_wire
            assign out = in;
            wire unused = clk;
        end
    endgenerate
endmodule
