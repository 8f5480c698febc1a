// leading_zeros_27: how many zeros stand before the leading one of a 27-bit word (27 for zero).
module leading_zeros_27 (
    input  wire [26:0] x,
    output wire [4:0]  zeros
);
    wire [31:0] x32 = {x, 5'b10000};  // the one behind the word ends the count at 27
    wire        z16 = x32[31:16] == 16'd0;
    wire [15:0] x16 = z16 ? x32[15:0] : x32[31:16];
    wire        z8 = x16[15:8] == 8'd0;
    wire [7:0]  x8 = z8 ? x16[7:0] : x16[15:8];
    wire        z4 = x8[7:4] == 4'd0;
    wire [2:0]  x4 = z4 ? x8[3:1] : x8[7:5];
    wire        z2 = x4[2:1] == 2'd0;
    wire        z1 = z2 ? ~x4[0] : ~x4[2];

    assign zeros = {z16, z8, z4, z2, z1};
endmodule
