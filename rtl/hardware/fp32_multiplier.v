// fp32_multiplier: FP32 x FP32 -> FP32, IEEE 754 round to nearest, ties to even.
//
// Subnormals, infinities and signed zeros as the standard has them; NaN is 0x7FC00000.
//
// STAGES  registers, at least 1; a result leaves STAGES cycles after it came. The second lies behind
//         the multiplication, the third before
//         rounding; what is more waits at the end.
module fp32_multiplier #(
    parameter STAGES = 4
) (
    input  wire        clk,
    input  wire [31:0] a,
    input  wire [31:0] b,
    output wire [31:0] product
);
    localparam AFTER_PRODUCT = STAGES > 1 ? 1 : 0;
    localparam AFTER_SHIFT = STAGES > 2 ? 1 : 0;
    localparam AFTER_ROUNDING = STAGES - AFTER_PRODUCT - AFTER_SHIFT;

    wire        a_top = &a[30:23];
    wire        b_top = &b[30:23];
    wire        a_zero = a[30:0] == 31'd0;
    wire        b_zero = b[30:0] == 31'd0;
    wire        nan_1 = (a_top & (a[22:0] != 23'd0)) | (b_top & (b[22:0] != 23'd0))
                      | (a_top & b_zero) | (b_top & a_zero);

    // 1: the product as it is, and the leading zeros of a subnormal operand; the product of two vanishes
    // however many it has. At a left shift by `least` the hidden bit has the smallest exponent.
    wire        a_normal = a[30:23] != 8'd0;
    wire        b_normal = b[30:23] != 8'd0;
    wire [23:0] a_significand = {a_normal, a[22:0]};
    wire [23:0] b_significand = {b_normal, b[22:0]};
    wire [47:0] raw_1 = a_significand * b_significand;
    wire [4:0]  zeros;
    leading_zeros_28 count (.x({a_normal ? b_significand : a_significand, 4'd0}), .zeros(zeros));
    wire [9:0]  least = {2'd0, a[30:24], a[23] | ~a_normal} + {2'd0, b[30:24], b[23] | ~b_normal}
                      - 10'd128;
    wire        tiny_1 = $signed({5'd0, zeros}) > $signed(least);
    wire        vanishes = $signed(least) < -10'sd26;
    wire [9:0]  exponent_1 = least + 10'd1 - {5'd0, zeros};
    // What the product moves right behind a left shift by 24: 0 to 50 places.
    wire [5:0]  right_1 = 6'd24 - (~tiny_1 ? {1'b0, zeros} : vanishes ? -6'd26 : least[5:0]);

    wire        sign_2, nan_2, top_2, zero_2, tiny;
    wire [9:0]  exponent;
    wire [5:0]  right;
    wire [47:0] raw;
    delay_line #(.WIDTH(69), .STAGES(AFTER_PRODUCT)) multiplied (
        .clk(clk),
        .in({a[31] ^ b[31], nan_1, nan_1 | a_top | b_top, a_zero | b_zero, tiny_1, exponent_1, right_1,
             raw_1}),
        .out({sign_2, nan_2, top_2, zero_2, tiny, exponent, right, raw})
    );

    // 2: the hidden bit to bit 24, or to bit 25 of a product of 2 and more, and what is lost below.
    wire [71:0] moved = {raw, 24'd0} >> right;
    wire [25:0] window = moved[47:22];
    wire [49:0] below = 50'h3FFFFFFFFFFFF << right;  // two places above what is lost
    wire        low_sticky = (raw & ~below[49:2]) != 48'd0;
    wire        two = window[25];
    wire        half = two ? window[1] : window[0];
    wire        sticky = low_sticky | (two & window[0]);
    wire        overflow = ~tiny & ((exponent >= 10'd255) | (two & exponent == 10'd254));
    wire        infinite = top_2 | (overflow & ~zero_2);
    wire        odd = two ? window[2] : window[1];
    wire        round_up = ~infinite & half & (odd | sticky);
    wire [7:0]  biased = infinite ? 8'hFF : zero_2 ? 8'd0 : tiny ? {7'd0, window[24]}
                       : exponent[7:0] + {7'd0, two};
    wire [22:0] fraction = infinite ? {nan_2, 22'd0} : two ? window[24:2] : window[23:1];

    wire        sign_3, up;
    wire [30:0] kept;
    delay_line #(.WIDTH(33), .STAGES(AFTER_SHIFT)) shifted_line (
        .clk(clk),
        .in({sign_2 & ~nan_2, round_up, biased, fraction}),
        .out({sign_3, up, kept})
    );

    // 3: a carry out of the fraction raises the exponent, and the largest becomes infinity. The upper
    // half's sum with a carry is made meanwhile.
    wire [15:0] low = {1'b0, kept[14:0]} + {15'd0, up};
    wire [15:0] high = kept[30:15] + 16'd1;

    delay_line #(.WIDTH(32), .STAGES(AFTER_ROUNDING)) last (
        .clk(clk),
        .in({sign_3, low[15] ? high : kept[30:15], low[14:0]}),
        .out(product)
    );

    wire unused = &{1'b0, moved[71:48], moved[21:0], below[1:0]};
endmodule
