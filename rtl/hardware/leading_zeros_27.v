// leading_zeros_27: how many zeros stand before the leading one of a 27-bit word (27 for zero).
module leading_zeros_27 (
    input  wire [26:0] x,
    output wire [4:0]  zeros
);
    // Binary search; the last bit of a half is never looked at, as it must hold the one.
    wire        z16 = x[26:11] == 16'd0;
    wire [15:1] x16 = z16 ? {x[10:0], 4'b1000} : x[26:12];
    wire        z8 = x16[15:8] == 8'd0;
    wire [7:1]  x8 = z8 ? x16[7:1] : x16[15:9];
    wire        z4 = x8[7:4] == 4'd0;
    wire [3:1]  x4 = z4 ? x8[3:1] : x8[7:5];
    wire        z2 = x4[3:2] == 2'd0;
    wire        z1 = z2 ? ~x4[1] : ~x4[3];

    assign zeros = {z16, z8, z4, z2, z1};
endmodule
