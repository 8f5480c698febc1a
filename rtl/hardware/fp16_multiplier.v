// fp16_multiplier: FP16 x FP16 -> FP32, exact.
//
// The product of two 11-bit significands has 22 bits and an exponent of -48 to 31, so it is always
// a normal FP32 number or zero: nothing is rounded, and subnormals are normalised in the product.
// NaN is 0x7FC00000; infinity times zero is NaN.
//
// STAGES  registers, at least 1; a result leaves STAGES cycles after it came. The second lies behind
//         the multiplication; what is more than those waits at the end.
module fp16_multiplier #(
    parameter STAGES = 2
) (
    input  wire        clk,
    input  wire [15:0] a,
    input  wire [15:0] b,
    output wire [31:0] product
);
    localparam MIDDLE = STAGES > 1 ? 1 : 0;

    wire        a_zero = a[14:0] == 15'd0;
    wire        b_zero = b[14:0] == 15'd0;
    wire        a_top = &a[14:10];
    wire        b_top = &b[14:10];
    wire        a_nan = a_top & (a[9:0] != 10'd0);
    wire        b_nan = b_top & (b[9:0] != 10'd0);
    wire        a_normal = a[14:10] != 5'd0;
    wire        b_normal = b[14:10] != 5'd0;

    // 1: the significands' product; subnormals have the exponent of the smallest normals. A leading
    // one at bit 21 has the exponent of both, less 2 x 25 of their last places, + 21 + 127.
    wire [4:0]  a_exponent = {a[14:11], a[10] | ~a_normal};
    wire [4:0]  b_exponent = {b[14:11], b[10] | ~b_normal};
    wire [7:0]  exponent_1 = {3'd0, a_exponent} + {3'd0, b_exponent} + 8'd98;
    wire [21:0] raw_1 = {a_normal, a[9:0]} * {b_normal, b[9:0]};
    wire        nan_1 = a_nan | b_nan | (a_top & b_zero) | (b_top & a_zero);

    wire        sign, nan, top, zero;
    wire [7:0]  exponent;
    wire [21:0] raw;
    delay_line #(.WIDTH(34), .STAGES(MIDDLE)) multiplied (
        .clk(clk),
        .in({a[15] ^ b[15], nan_1, nan_1 | a_top | b_top, a_zero | b_zero, exponent_1, raw_1}),
        .out({sign, nan, top, zero, exponent, raw})
    );

    // 2: the leading one to bit 21, above the fraction.
    wire [4:0]  zeros;
    leading_zeros_28 count (.x({raw, 6'd0}), .zeros(zeros));
    wire [21:0] moved = raw << zeros;
    wire [7:0]  biased = top ? 8'hFF : zero ? 8'd0 : exponent - {3'd0, zeros};
    wire [22:0] fraction = top ? {nan, 22'd0} : {moved[20:0], 2'd0};

    delay_line #(.WIDTH(32), .STAGES(STAGES - MIDDLE)) normalized (
        .clk(clk),
        .in({sign & ~nan, biased, fraction}),
        .out(product)
    );

    wire unused = &{1'b0, moved[21]};  // the leading one
endmodule
