// fp32_adder: FP32 + FP32 -> FP32, IEEE 754 round to nearest, ties to even.
//
// Subnormals, infinities and signed zeros as the standard has them; NaN is 0x7FC00000. The sum of
// opposite values is +0.
//
// STAGES  registers behind the arithmetic, at least 1; a result leaves STAGES cycles after it came.
module fp32_adder #(
    parameter STAGES = 4
) (
    input  wire        clk,
    input  wire [31:0] a,
    input  wire [31:0] b,
    output wire [31:0] sum
);
    // The operand of larger magnitude is x, the other y.
    wire        swap = b[30:0] > a[30:0];
    wire [31:0] x = swap ? b : a;
    wire [31:0] y = swap ? a : b;
    wire        subtract = x[31] ^ y[31];

    wire        x_top = &x[30:23];
    wire        y_top = &y[30:23];
    wire        nan = (x_top & (x[22:0] != 23'd0)) | (y_top & (y[22:0] != 23'd0))
                    | (x_top & y_top & subtract);

    // Subnormals have the exponent of the smallest normals and no leading one.
    wire        x_normal = x[30:23] != 8'd0;
    wire        y_normal = y[30:23] != 8'd0;
    wire [7:0]  x_exponent = x_normal ? x[30:23] : 8'd1;
    wire [7:0]  y_exponent = y_normal ? y[30:23] : 8'd1;
    wire [7:0]  distance = x_exponent - y_exponent;

    // Three bits below the last place: guard, round and sticky.
    wire [26:0] x_wide = {x_normal, x[22:0], 3'd0};
    wire [26:0] y_wide = {y_normal, y[22:0], 3'd0};
    wire [26:0] y_shifted = distance > 8'd26 ? 27'd0 : y_wide >> distance[4:0];
    wire [26:0] y_lost = distance > 8'd26 ? y_wide : y_wide & ~(27'h7FFFFFF << distance[4:0]);
    wire [26:0] y_aligned = {y_shifted[26:1], y_shifted[0] | (y_lost != 27'd0)};

    wire [27:0] total = subtract ? {1'b0, x_wide} - {1'b0, y_aligned}
                                 : {1'b0, x_wide} + {1'b0, y_aligned};

    // Shift left until the leading one is at bit 26, or the exponent is the smallest.
    wire [4:0]  zeros;
    leading_zeros_27 count (.x(total[26:0]), .zeros(zeros));
    wire [7:0]  room = x_exponent - 8'd1;
    wire [4:0]  left = {3'd0, zeros} > room ? room[4:0] : zeros;
    wire [26:0] normalized = total[27] ? {total[27:2], total[1] | total[0]} : total[26:0] << left;
    wire [7:0]  exponent = total[27]       ? x_exponent + 8'd1
                         : normalized[26]  ? x_exponent - {3'd0, left}
                         : 8'd0;

    wire        round_up = normalized[2] & (normalized[3] | normalized[1] | normalized[0]);
    wire [30:0] rounded = {exponent, normalized[25:3]} + {30'd0, round_up};

    wire        zero = total == 28'd0;
    wire        overflow = (&rounded[30:23]) | (&exponent);
    wire        zero_sign = x[31] & y[31];

    wire [31:0] value = nan      ? 32'h7FC00000
                      : x_top    ? {x[31], 8'hFF, 23'd0}
                      : zero     ? {zero_sign, 31'd0}
                      : overflow ? {x[31], 8'hFF, 23'd0}
                      : {x[31], rounded};

    delay_line #(.WIDTH(32), .STAGES(STAGES)) pipeline (.clk(clk), .in(value), .out(sum));
endmodule
