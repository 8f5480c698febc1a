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

    // 1: the significand as a fixed-point number, up to 2^8, 2^23 or, of Mills' ratio, 2^2: 2^x and turns
    // have 23 bits behind the point, Mills' ratio 21.
    wire        [ 9:0] unmoved = which == MILLS ? 10'd152 : 10'd150;
    wire        [ 7:0] most = which == SINE ? 8'd150 : which == EXP2 ? 8'd135 : 8'd129;
    wire        [ 5:0] least_right = which == SINE ? 6'd0 : which == EXP2 ? 6'd15 : 6'd23;
    wire        [ 9:0] far_right = unmoved - {2'd0, x[30:23]};
    wire        [ 5:0] right = x[30:23] > most ? least_right
                             : far_right > 10'd63 ? 6'd63 : far_right[5:0];
    wire        [46:0] moved = {x[30:23] != 8'd0, x[22:0], 23'd0} >> right;

    reg         [ 2:0] which1;
    reg         [31:0] x1;
    reg         [32:0] fixed;
    always @(posedge clk) begin
        which1 <= which;
        x1 <= x;
        fixed <= moved[32:0];
    end

    // 2: where in which segment, and what the quadratic does not say.
    wire               sign = x1[31];
    wire        [22:0] fraction = x1[22:0];
    wire               zero = x1[30:23] == 8'd0;
    wire               top = x1[30:23] == 8'd255;
    wire               infinite = top && fraction == 23'd0;
    wire               nan = top && fraction != 23'd0;
    wire signed [ 9:0] power = {2'd0, x1[30:23]} - 10'd127;
    wire signed [ 9:0] half_power = {power[9], power[9:1]};
    wire        [ 3:0] octave = power[3:0] + 4'd13;
    wire        [22:0] turn = fixed[22:0];
    // From the end of a quarter turn backwards; of 2^x, below zero.
    wire               backwards = which1 == EXP2 ? sign : turn[21];
    wire        [32:0] onwards = (fixed ^ {33{backwards}}) + {32'd0, backwards};
    wire        [20:0] quarter = turn[21] && turn[20:0] == 21'd0 ? 21'h1FFFFF : onwards[20:0];

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
        case (which1)
            EXP2: begin
                place = {onwards[22:0], 1'b0};
                scale = onwards[32:23];
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
                if (power < -10'sd7) {fixed_result, given} = {1'b1, x1};
                if (power >= 10'sd3) {fixed_result, given} = {1'b1, sign, ONE[30:0]};
            end
            MILLS: begin
                place = fixed[23:0];
                if (power >= 10'sd3) {fixed_result, given} = {1'b1, 32'd0};
            end
            default: begin
                place = {quarter, 3'd0};
                minus = sign ^ turn[22];
                if (infinite) fixed_result = 1'b1;
            end
        endcase
        if (nan) given = NAN;
    end

    // The segment's coefficients.
    wire        [72:0] row;
    function_table coefficients (
        .clk(clk),
        .address({which1, place[23:17]}),
        .row(row)
    );
    wire        [27:0] c0 = row[72:45];
    wire signed [23:0] c1 = row[44:21];
    wire signed [20:0] c2 = row[20:0];

    reg         [16:0] step2;
    reg         [16:0] step3;
    always @(posedge clk) begin
        step2 <= place[16:0];
        step3 <= step2;
    end

    // What rides along: whether it is log2, power, scale, minus, given result.
    wire        [54:0] aside3;
    reg         [44:0] aside4;
    wire               is_log3 = aside3[54];
    wire               is_log = aside4[44];
    delay_line #(.WIDTH(55), .STAGES(2)) aside_line (
        .clk(clk),
        .in({which1 == LOG2, power, scale, minus, fixed_result, given}),
        .out(aside3)
    );
    always @(posedge clk) aside4 <= {is_log3, aside3[43:0]};

    // 3, 4: both products; the sum's other part, of a logarithm with the exponent, and its opposite.
    wire signed [38:0] bend = c2 * $signed({1'b0, step2});
    reg signed  [23:0] slope3;
    reg signed  [21:0] bend3;
    reg         [27:0] c0_3;
    wire signed [24:0] slope = $signed({slope3[23], slope3}) + $signed({{3{bend3[21]}}, bend3});
    wire signed [42:0] rise = slope * $signed({1'b0, step3});
    wire signed [37:0] base = $signed({is_log3 ? {aside3[53], aside3[53:44]} : 11'd0, 27'd0})
                            + $signed({10'd0, c0_3});
    reg signed  [25:0] rise4;
    reg signed  [37:0] base4, opposite4;
    always @(posedge clk) begin
        slope3 <= c1;
        bend3 <= bend[38:17];
        c0_3 <= c0;
        rise4 <= rise[42:17];
        base4 <= base;
        opposite4 <= -base;
    end

    // 5: the sum; a curve ends at zero, a logarithm goes on (its curve never is below zero).
    wire signed [37:0] above = base4 + $signed({{12{rise4[25]}}, rise4});
    wire signed [37:0] below = opposite4 - $signed({{12{rise4[25]}}, rise4});
    reg         [35:0] magnitude;
    reg                minus5, fixed5;
    reg  signed [11:0] scale5;
    reg         [31:0] given5;
    always @(posedge clk) begin
        magnitude <= !above[37] ? above[35:0] : is_log ? below[35:0] : 36'd0;
        minus5 <= is_log ? above[37] : aside4[33];
        scale5 <= $signed({{2{aside4[43]}}, aside4[43:34]}) + 12'sd135;
        fixed5 <= aside4[32];
        given5 <= aside4[31:0];
    end

    // 6: normalized and rounded; what a carry out of the fraction would give is made meanwhile.
    wire        [ 4:0] zeros_high, zeros_low;
    leading_zeros_28 count_high (.x(magnitude[35:8]), .zeros(zeros_high));
    leading_zeros_28 count_low (.x({magnitude[7:0], 20'd0}), .zeros(zeros_low));
    wire        [ 5:0] zeros = magnitude[35:8] != 28'd0 ? {1'b0, zeros_high} : {1'b0, zeros_low} + 6'd28;
    wire        [35:0] normal = magnitude << zeros;
    wire        [12:0] low = {1'b0, normal[23:12]} + {12'd0, normal[11]};
    wire        [10:0] high = low[12] ? normal[34:24] + 11'd1 : normal[34:24];
    wire               carry = &normal[34:11];
    wire signed [11:0] exponent = scale5 - {6'd0, zeros};
    wire signed [11:0] next = scale5 + 12'sd1 - {6'd0, zeros};
    wire               vanishes = carry ? next <= 12'sd0 : exponent <= 12'sd0;
    wire               overflows = carry ? next >= 12'sd255 : exponent >= 12'sd255;
    always @(posedge clk)
        y <= fixed5 ? given5
           : vanishes || magnitude == 36'd0 ? {minus5, 31'd0}
           : overflows ? {minus5, INFINITY[30:0]}
           : {minus5, carry ? next[7:0] : exponent[7:0], high, low[11:0]};

    wire unused = &{1'b0, moved[46:33], bend[16:0], rise[16:0], above[36], below[37:36], normal[35],
                    normal[10:0], next[11:8], exponent[11:8]};
endmodule
