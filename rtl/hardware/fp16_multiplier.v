// fp16_multiplier: FP16 x FP16 -> FP32, exact.
//
// The product of two 11-bit significands has 22 bits and an exponent of -48 to 31, so it is always
// a normal FP32 number or zero: nothing is rounded. Subnormals are normalised first. NaN is
// 0x7FC00000; infinity times zero is NaN.
//
// STAGES  registers behind the arithmetic, at least 1; a result leaves STAGES cycles after it came.
module fp16_multiplier #(
    parameter STAGES = 2
) (
    input  wire        clk,
    input  wire [15:0] a,
    input  wire [15:0] b,
    output wire [31:0] product
);
    wire        sign = a[15] ^ b[15];
    wire        a_zero = a[14:0] == 15'd0;
    wire        b_zero = b[14:0] == 15'd0;
    wire        a_top = &a[14:10];
    wire        b_top = &b[14:10];
    wire        a_nan = a_top & (a[9:0] != 10'd0);
    wire        b_nan = b_top & (b[9:0] != 10'd0);
    wire        nan = a_nan | b_nan | (a_top & b_zero) | (b_top & a_zero);
    wire        infinite = a_top | b_top;
    wire        zero = a_zero | b_zero;

    wire [10:0] a_significand;
    wire [10:0] b_significand;
    wire [6:0]  a_exponent;  // two's complement, biased by 15
    wire [6:0]  b_exponent;

    fp16_normalize normalize_a (.x(a), .significand(a_significand), .exponent(a_exponent));
    fp16_normalize normalize_b (.x(b), .significand(b_significand), .exponent(b_exponent));

    wire [21:0] raw = a_significand * b_significand;
    // -15 for each operand's bias, +127 for FP32, and one more where the product reaches 2.
    wire [9:0]  exponent = {{3{a_exponent[6]}}, a_exponent} + {{3{b_exponent[6]}}, b_exponent}
                           + 10'd97 + {9'd0, raw[21]};
    wire [22:0] fraction = raw[21] ? {raw[20:0], 2'b00} : {raw[19:0], 3'b000};
    wire [31:0] finite = {sign, exponent[7:0], fraction};

    wire [31:0] value = nan      ? 32'h7FC00000
                      : infinite ? {sign, 8'hFF, 23'd0}
                      : zero     ? {sign, 31'd0}
                      : finite;

    /* verilator lint_off UNUSEDSIGNAL */  // the exponent's two top bits only carry its sign
    wire [1:0] exponent_top = exponent[9:8];
    /* verilator lint_on UNUSEDSIGNAL */

    delay_line #(.WIDTH(32), .STAGES(STAGES)) pipeline (.clk(clk), .in(value), .out(product));
endmodule
