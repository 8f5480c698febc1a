// fp32_adder: FP32 + FP32 -> FP32, IEEE 754 round to nearest, ties to even.
//
// Subnormals, infinities and signed zeros as the standard has them; NaN is 0x7FC00000. The sum of
// opposite values is +0.
//
// STAGES  registers, at least 1; a result leaves STAGES cycles after it came. Four lie between order,
//         sum, normalisation and rounding; fewer leave stages together, what is more waits at the end.
module fp32_adder #(
    parameter STAGES = 4
) (
    input  wire        clk,
    input  wire [31:0] a,
    input  wire [31:0] b,
    output wire [31:0] sum
);
    localparam AFTER_ORDER = STAGES > 3 ? 1 : 0;
    localparam AFTER_SUM = STAGES > 1 ? 1 : 0;
    localparam AFTER_SHIFT = STAGES > 2 ? 1 : 0;
    localparam AFTER_ROUNDING = STAGES - AFTER_ORDER - AFTER_SUM - AFTER_SHIFT;

    // 1: the operand of larger magnitude is x, the other y.
    wire        swap = b[30:0] > a[30:0];
    wire [31:0] x = swap ? b : a;
    wire [31:0] y = swap ? a : b;
    wire        differ = x[31] ^ y[31];
    wire        a_top = &a[30:23];
    wire        b_top = &b[30:23];
    wire        nan_1 = (a_top & (a[22:0] != 23'd0)) | (b_top & (b[22:0] != 23'd0))
                      | (a_top & b_top & differ);

    // Subnormals have the exponent of the smallest normals and no leading one.
    wire        x_normal = x[30:23] != 8'd0;
    wire        y_normal = y[30:23] != 8'd0;
    wire [7:0]  exponent_1 = {x[30:24], x[23] | ~x_normal};
    wire [7:0]  distance_1 = exponent_1 - {y[30:24], y[23] | ~y_normal};
    wire        far_1 = distance_1 > 8'd26;
    wire        zero_sign_1 = x[31] & y[31];

    // y moves to x's place, with three bits below the last: guard, round and sticky; first by eights.
    wire [23:0] y_significand = {y_normal, y[22:0]};
    wire [26:0] y_eights_1 = far_1 ? 27'd0 : {y_significand, 3'd0} >> {distance_1[4:3], 3'd0};
    wire [26:0] y_lost_1 = {y_significand, 3'd0} & ~(27'h7FFFFFF << {distance_1[4:3], 3'd0});
    wire        lost_1 = far_1 ? y_significand != 24'd0 : y_lost_1 != 27'd0;

    wire        sign_2, subtract, zero_sign_2, nan_2, top_2, lost;
    wire [7:0]  exponent_2;
    wire [2:0]  distance;
    wire [23:0] x_significand;
    wire [26:0] y_eights;
    delay_line #(.WIDTH(68), .STAGES(AFTER_ORDER)) ordered (
        .clk(clk),
        .in({x[31], differ, zero_sign_1, nan_1, a_top | b_top, exponent_1, lost_1, distance_1[2:0],
             x_normal, x[22:0], y_eights_1}),
        .out({sign_2, subtract, zero_sign_2, nan_2, top_2, exponent_2, lost, distance, x_significand,
              y_eights})
    );

    // 2: then by ones.
    wire [26:0] x_wide = {x_significand, 3'd0};
    wire [26:0] y_shifted = y_eights >> distance;
    wire [6:0]  y_lost = y_eights[6:0] & ~(7'h7F << distance);
    wire [26:0] y_aligned = {y_shifted[26:1], y_shifted[0] | lost | (y_lost != 7'd0)};
    // The last bit carries the one of a negation in.
    wire [28:0] both = {1'b0, x_wide, 1'b1} + {{1'b0, y_aligned} ^ {28{subtract}}, subtract};

    wire        sign_3, zero_sign_3, nan_3, top_3;
    wire [7:0]  exponent_3;
    wire [27:0] total;
    delay_line #(.WIDTH(40), .STAGES(AFTER_SUM)) summed (
        .clk(clk),
        .in({sign_2, zero_sign_2, nan_2, top_2, exponent_2, both[28:1]}),
        .out({sign_3, zero_sign_3, nan_3, top_3, exponent_3, total})
    );

    // 3: shift left until the leading one is at bit 27, or the exponent is the smallest.
    wire [4:0]  zeros;
    leading_zeros_28 count (.x(total), .zeros(zeros));
    wire        subnormal = {3'd0, zeros} > exponent_3;
    wire [4:0]  left = subnormal ? exponent_3[4:0] : zeros;
    wire [27:0] normalized = total << left;
    wire        zero = total == 28'd0;
    wire        infinite = top_3 | (total[27] & exponent_3 == 8'd254);
    wire [7:0]  biased = infinite ? 8'hFF : subnormal | zero ? 8'd0
                       : exponent_3 + 8'd1 - {3'd0, zeros};
    wire [22:0] fraction = infinite ? {nan_3, 22'd0} : normalized[26:4];
    wire        round_up = ~infinite & normalized[3]
                         & (normalized[4] | normalized[2] | normalized[1] | normalized[0]);
    wire        sign = ~nan_3 & (zero & ~top_3 ? zero_sign_3 : sign_3);

    wire        sign_4, up;
    wire [30:0] kept;
    delay_line #(.WIDTH(33), .STAGES(AFTER_SHIFT)) shifted (
        .clk(clk),
        .in({sign, round_up, biased, fraction}),
        .out({sign_4, up, kept})
    );

    // 4: a carry out of the fraction raises the exponent, and the largest becomes infinity.
    wire [30:0] rounded = kept + {30'd0, up};

    delay_line #(.WIDTH(32), .STAGES(AFTER_ROUNDING)) last (
        .clk(clk),
        .in({sign_4, rounded}),
        .out(sum)
    );

    wire unused = &{1'b0, both[0], normalized[27]};  // a carry of none, the leading one
endmodule
