// fp32_root: the square root of FP32, IEEE 754 round to nearest, ties to even.
//
// The root of -0 is -0, of other negative values NaN, which is 0x7FC00000. Two bits of the root a
// cycle: one may start every 14 cycles, it comes 16 cycles after `start` and stays until the next.
module fp32_root (
    input  wire        clk,
    input  wire        start,
    input  wire [31:0] x,
    output reg  [31:0] root
);
    localparam [3:0] LAST = 4'd13;

    wire        top = &x[30:23];
    wire        zero = x[30:0] == 31'd0;
    wire        nan = (top && x[22:0] != 23'd0) || (x[31] && !zero);

    // The significand with its leading one at bit 23, and at bit 24 below an odd power of two.
    wire        normal = x[30:23] != 8'd0;
    wire [23:0] raw = {normal, x[22:0]};
    wire [4:0]  zeros;

    leading_zeros_27 count_zeros (.x({raw, 3'd0}), .zeros(zeros));

    wire [9:0]  exponent = {2'd0, normal ? x[30:23] : 8'd1} - {5'd0, zeros};  // biased by 127
    wire        odd = !exponent[0];
    wire [23:0] significand = raw << zeros;
    wire [24:0] radicand = odd ? {significand, 1'b0} : {1'b0, significand};
    wire [9:0]  doubled = exponent + 10'd127 - {9'd0, odd};

    // The root under way: 28 digits, of which the first 3 are 0.
    reg         is_nan, is_infinite, is_zero, sign;
    reg  [8:0]  half_exponent;
    reg  [55:0] rest;  // of the radicand, two bits for each digit
    reg  [27:0] digits;
    reg  [29:0] left;
    reg  [3:0]  count;

    wire [31:0] try_first = {left, rest[55:54]} - {2'd0, digits, 2'b01};
    wire [29:0] left_first = try_first[31] ? {left[27:0], rest[55:54]} : try_first[29:0];
    wire [27:0] digits_first = {digits[26:0], !try_first[31]};
    wire [31:0] try_second = {left_first, rest[53:52]} - {2'd0, digits_first, 2'b01};
    wire [29:0] left_second = try_second[31] ? {left_first[27:0], rest[53:52]} : try_second[29:0];
    wire [27:0] digits_second = {digits_first[26:0], !try_second[31]};

    always @(posedge clk)
        if (start) begin
            sign <= x[31];
            is_nan <= nan;
            is_infinite <= top;
            is_zero <= zero;
            half_exponent <= doubled[9:1];
            rest <= {6'd0, radicand, 25'd0};
            digits <= 28'd0;
            left <= 30'd0;
            count <= 4'd0;
        end else begin
            rest <= {rest[51:0], 4'd0};
            digits <= digits_second;
            left <= left_second;
            if (count <= LAST) count <= count + 4'd1;
        end

    // The root that has just ended.
    reg         ended, end_nan, end_infinite, end_zero, end_sign, end_sticky;
    reg  [8:0]  end_exponent;
    reg  [24:0] end_digits;

    always @(posedge clk) begin
        ended <= count == LAST;
        if (count == LAST) begin
            end_nan <= is_nan;
            end_infinite <= is_infinite;
            end_zero <= is_zero;
            end_sign <= sign;
            end_exponent <= half_exponent;
            end_digits <= digits_second[24:0];
            end_sticky <= left_second != 30'd0;
        end
    end

    wire [31:0] rounded;
    fp32_round round (
        .sign(1'b0),
        .exponent({1'b0, end_exponent}),
        .significand(end_digits),
        .sticky(end_sticky),
        .value(rounded)
    );

    always @(posedge clk)
        if (ended)
            root <= end_nan ? 32'h7FC00000
                  : end_zero ? {end_sign, 31'd0}
                  : end_infinite ? 32'h7F800000
                  : rounded;

    wire unused = &{1'b0, doubled[0], try_first[30], try_second[30], digits[27]};
endmodule
