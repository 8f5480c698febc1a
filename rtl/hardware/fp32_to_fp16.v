// fp32_to_fp16: FP32 to FP16, round to nearest, ties to even; combinational.
//
// Subnormals, infinities and signed zeros as IEEE 754 has them; NaN is 0x7E00.
module fp32_to_fp16 (
    input  wire [31:0] value,
    output wire [15:0] half
);
    wire [7:0]  exponent = value[30:23];
    wire        is_nan = exponent == 8'hFF && value[22:0] != 23'd0;
    wire        normal = exponent >= 8'd113;  // 2^-14 and above
    // A result below 2^-14 is a multiple of 2^-24: shift the significand there, keep what is lost.
    wire [7:0]  distance = 8'd113 - exponent;
    wire [4:0]  shift = normal ? 5'd0 : distance > 8'd24 ? 5'd25 : distance[4:0];
    wire [23:0] significand = {exponent != 8'd0, value[22:0]};
    wire [48:0] shifted = {significand, 25'd0} >> shift;
    wire [10:0] kept = shifted[48:38];
    wire        half_bit = shifted[37];
    wire        sticky = shifted[36:0] != 37'd0;
    wire        up = half_bit && (sticky || kept[0]);

    // A carry out of the fraction raises the exponent, and the largest finite becomes infinity.
    wire [7:0]  biased = exponent - 8'd112;
    wire [14:0] packed_bits = normal ? {biased[4:0], kept[9:0]} : {4'd0, kept};
    wire [15:0] rounded = {1'b0, packed_bits} + {15'd0, up};
    wire        overflow = exponent >= 8'd143 || (normal && rounded >= 16'h7C00);

    assign half = is_nan ? 16'h7E00 : {value[31], overflow ? 15'h7C00 : rounded[14:0]};

    wire unused = &{1'b0, biased[7:5]};
endmodule
