// function_unit: an elementary function of an FP32 number, one a cycle, 6 cycles later.
//
// A quadratic in one of 128 segments: y = c0 + (c1 + c2 t) t, t of 17 bits, y in units of 2^-27,
// both products rounded down, the result's halves up. Subnormals are zeros, NaN is 0x7FC00000.
// sim/lanes/functions.py says the same.
module function_unit (
    input  wire        clk,
    input  wire [ 2:0] which,  // 0 2^x, 1 log2 x, 2 1/x, 3 1/sqrt x, 4 tanh, 5 Mills, 6 sine of turns
    input  wire [31:0] x,
    output reg  [31:0] y
);
    localparam [2:0] EXP2 = 3'd0, LOG2 = 3'd1, RECIPROCAL = 3'd2, RSQRT = 3'd3, TANH = 3'd4,
        MILLS = 3'd5, SINE = 3'd6;
    localparam [31:0] NAN = 32'h7FC00000, INFINITY = 32'h7F800000, ONE = 32'h3F800000;

    // 1: where in which segment, and what the quadratic does not say.
    wire               sign = x[31];
    wire        [22:0] fraction = x[22:0];
    wire               zero = x[30:23] == 8'd0;
    wire               top = x[30:23] == 8'd255;
    wire               infinite = top && fraction == 23'd0;
    wire               nan = top && fraction != 23'd0;
    wire signed [ 9:0] power = {2'd0, x[30:23]} - 10'd127;
    wire        [23:0] significand = zero ? 24'd0 : {1'b1, fraction};

    // The significand as a fixed-point number: 2^x and turns have 23 bits behind the point, Mills 21.
    wire signed [ 9:0] most = which == SINE ? 10'sd23 : which == EXP2 ? 10'sd8 : 10'sd2;
    wire signed [ 9:0] limited = power > most ? most : power;
    wire signed [ 9:0] moves = which == MILLS ? limited - 10'sd2 : limited;
    wire        [ 9:0] right = -moves;
    wire        [46:0] left_moved = {23'd0, significand} << moves[4:0];
    wire        [23:0] right_moved = right > 10'd31 ? 24'd0 : significand >> right[4:0];
    wire        [32:0] fixed = moves[9] ? {9'd0, right_moved} : left_moved[32:0];
    wire signed [32:0] exponent2 = sign ? -fixed : fixed;
    wire        [22:0] turn = fixed[22:0];
    wire        [20:0] quarter = turn[20:0];
    wire        [20:0] back = quarter == 21'd0 ? 21'h1FFFFF : -quarter;
    wire signed [ 9:0] half_power = {power[9], power[9:1]};
    wire        [ 3:0] octave = power[3:0] + 4'd13;

    reg         [23:0] place;
    reg                minus, fixed_result;
    reg  signed [ 9:0] scale;
    reg         [31:0] given;
    always @* begin
        place = {fraction, 1'b0};
        minus = 1'b0;
        scale = 10'sd0;
        fixed_result = nan;
        given = NAN;
        case (which)
            EXP2: begin
                place = {exponent2[22:0], 1'b0};
                scale = exponent2[32:23];
                if (infinite) {fixed_result, given} = {1'b1, sign ? 32'd0 : INFINITY};
            end
            LOG2: begin
                if (infinite) {fixed_result, given} = {1'b1, INFINITY};
                if (sign) {fixed_result, given} = {1'b1, NAN};
                if (zero) {fixed_result, given} = {1'b1, 1'b1, INFINITY[30:0]};
            end
            RECIPROCAL: begin
                scale = -power;
                minus = sign;
                if (infinite) {fixed_result, given} = {1'b1, sign, 31'd0};
                if (zero) {fixed_result, given} = {1'b1, sign, INFINITY[30:0]};
            end
            RSQRT: begin
                place = {power[0], fraction};
                scale = -half_power;
                if (infinite) {fixed_result, given} = {1'b1, 32'd0};
                if (sign) {fixed_result, given} = {1'b1, NAN};
                if (zero) {fixed_result, given} = {1'b1, sign, INFINITY[30:0]};
            end
            TANH: begin
                place = {octave, fraction[22:3]};
                minus = sign;
                if (power < -10'sd7) {fixed_result, given} = {1'b1, x};
                if (power >= 10'sd3) {fixed_result, given} = {1'b1, sign, ONE[30:0]};
            end
            MILLS: begin
                place = fixed[23:0];
                if (power >= 10'sd3) {fixed_result, given} = {1'b1, 32'd0};
            end
            default: begin
                place = {turn[21] ? back : quarter, 3'd0};
                minus = sign ^ turn[22];
                if (infinite) fixed_result = 1'b1;
            end
        endcase
        if (nan) given = NAN;
    end

    reg         [ 2:0] which1;
    reg         [23:0] place1;
    reg signed  [ 9:0] scale1, power1;
    reg                minus1, fixed1;
    reg         [31:0] given1;
    always @(posedge clk) begin
        which1 <= which;
        place1 <= place;
        scale1 <= scale;
        power1 <= power;
        minus1 <= minus;
        fixed1 <= fixed_result;
        given1 <= given;
    end

    // 2: the segment's coefficients.
    wire        [72:0] row;
    function_table coefficients (
        .clk(clk),
        .address({which1, place1[23:17]}),
        .row(row)
    );
    wire        [27:0] c0 = row[72:45];
    wire signed [23:0] c1 = row[44:21];
    wire signed [20:0] c2 = row[20:0];

    // What rides along: step, scale, power, minus, given result, whether it is log2.
    reg         [16:0] step2;
    reg         [16:0] step3;
    always @(posedge clk) begin
        step2 <= place1[16:0];
        step3 <= step2;
    end
    wire        [54:0] aside;
    delay_line #(.WIDTH(55), .STAGES(3)) aside_line (
        .clk(clk),
        .in({which1 == LOG2, scale1, power1, minus1, fixed1, given1}),
        .out(aside)
    );

    // 3, 4: both products.
    wire signed [38:0] bend = c2 * $signed({1'b0, step2});
    reg signed  [23:0] slope3;
    reg signed  [21:0] bend3;
    reg         [27:0] c0_3, c0_4;
    wire signed [24:0] slope = $signed({slope3[23], slope3}) + $signed({{3{bend3[21]}}, bend3});
    wire signed [42:0] rise = slope * $signed({1'b0, step3});
    reg signed  [25:0] rise4;
    always @(posedge clk) begin
        slope3 <= c1;
        bend3 <= bend[38:17];
        c0_3 <= c0;
        rise4 <= rise[42:17];
        c0_4 <= c0_3;
    end

    // 5: the sum, and of a logarithm the exponent.
    wire               is_log = aside[54];
    wire signed [29:0] sum = $signed({2'b00, c0_4}) + $signed({{4{rise4[25]}}, rise4});
    wire        [28:0] curve = sum[29] ? 29'd0 : sum[28:0];
    wire signed [37:0] logarithm = {aside[43], aside[43:34], 27'd0} + {9'd0, curve};
    wire        [37:0] size = logarithm[37] ? -logarithm : logarithm;
    reg         [35:0] magnitude;
    reg                minus5, fixed5;
    reg  signed [ 9:0] scale5;
    reg         [31:0] given5;
    always @(posedge clk) begin
        magnitude <= is_log ? size[35:0] : {7'd0, curve};
        minus5 <= is_log ? logarithm[37] : aside[33];
        scale5 <= aside[53:44];
        fixed5 <= aside[32];
        given5 <= aside[31:0];
    end

    // 6: normalized and rounded.
    wire               z32 = magnitude[35:4] == 32'd0;
    wire        [35:0] m32 = z32 ? {magnitude[3:0], 32'd0} : magnitude;
    wire               z16 = m32[35:20] == 16'd0;
    wire        [35:0] m16 = z16 ? {m32[19:0], 16'd0} : m32;
    wire               z8 = m16[35:28] == 8'd0;
    wire        [35:0] m8 = z8 ? {m16[27:0], 8'd0} : m16;
    wire               z4 = m8[35:32] == 4'd0;
    wire        [35:0] m4 = z4 ? {m8[31:0], 4'd0} : m8;
    wire               z2 = m4[35:34] == 2'd0;
    wire        [35:0] m2 = z2 ? {m4[33:0], 2'd0} : m4;
    wire               z1 = !m2[35];
    wire        [35:0] m1 = z1 ? {m2[34:0], 1'b0} : m2;
    wire        [25:0] rounded = {1'b0, m1[35:11]} + 26'd1;
    wire               carry = rounded[25];
    wire signed [11:0] exponent = 12'sd135 - {6'd0, z32, z16, z8, z4, z2, z1}
                                + {{2{scale5[9]}}, scale5} + {11'd0, carry};
    wire        [22:0] kept = carry ? 23'd0 : rounded[23:1];
    wire               vanishes = exponent <= 12'sd0 || magnitude == 36'd0;
    always @(posedge clk)
        y <= fixed5 ? given5
           : vanishes ? {minus5, 31'd0}
           : exponent >= 12'sd255 ? {minus5, INFINITY[30:0]}
           : {minus5, exponent[7:0], kept};

    wire unused = &{1'b0, left_moved[46:33], bend[16:0], rise[16:0], size[37:36], m1[10:0], rounded[24],
                    rounded[0], exponent[11:8], right[9:5], moves[8:5]};
endmodule
