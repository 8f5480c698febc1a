// fp32_multiplier: FP32 x FP32 -> FP32, IEEE 754 round to nearest, ties to even.
//
// Subnormals, infinities and signed zeros as the standard has them; NaN is 0x7FC00000.
//
// STAGES  registers behind the arithmetic, at least 1; a result leaves STAGES cycles after it came.
module fp32_multiplier #(
    parameter STAGES = 4
) (
    input  wire        clk,
    input  wire [31:0] a,
    input  wire [31:0] b,
    output wire [31:0] product
);
    wire        sign = a[31] ^ b[31];
    wire        a_top = &a[30:23];
    wire        b_top = &b[30:23];
    wire        a_zero = a[30:0] == 31'd0;
    wire        b_zero = b[30:0] == 31'd0;
    wire        nan = (a_top & (a[22:0] != 23'd0)) | (b_top & (b[22:0] != 23'd0))
                    | (a_top & b_zero) | (b_top & a_zero);
    wire        infinite = a_top | b_top;
    wire        zero = a_zero | b_zero;

    // Significands with the leading one at bit 23; subnormals are shifted there.
    wire        a_normal = a[30:23] != 8'd0;
    wire        b_normal = b[30:23] != 8'd0;
    wire [23:0] a_raw = {a_normal, a[22:0]};
    wire [23:0] b_raw = {b_normal, b[22:0]};
    wire [4:0]  a_zeros;
    wire [4:0]  b_zeros;

    leading_zeros_27 count_a (.x({a_raw, 3'd0}), .zeros(a_zeros));
    leading_zeros_27 count_b (.x({b_raw, 3'd0}), .zeros(b_zeros));

    wire [23:0] a_significand = a_raw << a_zeros;
    wire [23:0] b_significand = b_raw << b_zeros;
    wire [9:0]  a_exponent = {2'd0, a_normal ? a[30:23] : 8'd1} - {5'd0, a_zeros};
    wire [9:0]  b_exponent = {2'd0, b_normal ? b[30:23] : 8'd1} - {5'd0, b_zeros};

    wire [47:0] raw = a_significand * b_significand;
    wire [47:0] wide = raw[47] ? raw : {raw[46:0], 1'b0};
    // Two's complement, biased by 127: -170 to 382.
    wire [9:0]  exponent = a_exponent + b_exponent - 10'd127 + {9'd0, raw[47]};

    // Below the smallest normal exponent the significand moves right; 25 places leave only sticky.
    wire        tiny = exponent[9] | (exponent == 10'd0);
    wire [9:0]  distance = 10'd1 - exponent;
    wire [4:0]  right = ~tiny ? 5'd0 : distance > 10'd25 ? 5'd25 : distance[4:0];
    wire [24:0] shifted = wide[47:23] >> right;  // its last bit is half of the last place
    wire [24:0] lost = wide[47:23] & ~(25'h1FFFFFF << right);
    wire        sticky = (lost != 25'd0) | (wide[22:0] != 23'd0);
    wire        round_up = shifted[0] & (shifted[1] | sticky);
    wire [7:0]  biased = tiny ? 8'd0 : exponent[7:0];
    wire [30:0] rounded = {biased, shifted[23:1]} + {30'd0, round_up};
    wire        overflow = (~exponent[9] & (exponent >= 10'd255)) | (&rounded[30:23]);

    wire [31:0] value = nan      ? 32'h7FC00000
                      : infinite ? {sign, 8'hFF, 23'd0}
                      : zero     ? {sign, 31'd0}
                      : overflow ? {sign, 8'hFF, 23'd0}
                      : {sign, rounded};

    delay_line #(.WIDTH(32), .STAGES(STAGES)) pipeline (.clk(clk), .in(value), .out(product));

    wire unused = &{1'b0, shifted[24]};  // the leading one
endmodule
