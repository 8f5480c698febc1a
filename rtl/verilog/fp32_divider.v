// fp32_divider: FP32 / FP32 -> FP32, IEEE 754 round to nearest, ties to even.
//
// Subnormals, infinities and signed zeros as the standard has them; NaN is 0x7FC00000. Two bits of
// the quotient a cycle: a division may start every 14 cycles, its quotient comes 16 cycles after
// `start` and stays until the next one.
module fp32_divider (
    input  wire        clk,
    input  wire        start,
    input  wire [31:0] a,
    input  wire [31:0] b,
    output reg  [31:0] quotient
);
    localparam [3:0] LAST = 4'd13;

    wire        a_top = &a[30:23];
    wire        b_top = &b[30:23];
    wire        a_zero = a[30:0] == 31'd0;
    wire        b_zero = b[30:0] == 31'd0;
    wire        a_nan = a_top && a[22:0] != 23'd0;
    wire        b_nan = b_top && b[22:0] != 23'd0;
    wire        nan = a_nan || b_nan || (a_top && b_top) || (a_zero && b_zero);

    // Significands with the leading one at bit 23; subnormals are shifted there.
    wire        a_normal = a[30:23] != 8'd0;
    wire        b_normal = b[30:23] != 8'd0;
    wire [23:0] a_raw = {a_normal, a[22:0]};
    wire [23:0] b_raw = {b_normal, b[22:0]};
    wire [4:0]  a_zeros;
    wire [4:0]  b_zeros;

    leading_zeros_27 count_a (.x({a_raw, 3'd0}), .zeros(a_zeros));
    leading_zeros_27 count_b (.x({b_raw, 3'd0}), .zeros(b_zeros));

    wire [9:0]  a_exponent = {2'd0, a_normal ? a[30:23] : 8'd1} - {5'd0, a_zeros};
    wire [9:0]  b_exponent = {2'd0, b_normal ? b[30:23] : 8'd1} - {5'd0, b_zeros};

    // The division under way: what is left of the dividend is below twice the divisor.
    reg         sign, is_nan, is_infinite, is_zero;
    reg  [9:0]  exponent;
    reg  [23:0] divisor;
    reg  [24:0] left;
    reg  [25:0] digits;
    reg  [3:0]  count;

    wire [25:0] first = {1'b0, left} - {2'd0, divisor};
    wire [24:0] left_first = first[25] ? {left[23:0], 1'b0} : {first[23:0], 1'b0};
    wire [25:0] second = {1'b0, left_first} - {2'd0, divisor};
    wire [24:0] left_second = second[25] ? {left_first[23:0], 1'b0} : {second[23:0], 1'b0};
    wire [27:0] more = {digits, !first[25], !second[25]};

    always @(posedge clk)
        if (start) begin
            sign <= a[31] ^ b[31];
            is_nan <= nan;
            is_infinite <= a_top || b_zero;
            is_zero <= a_zero || b_top;
            exponent <= a_exponent - b_exponent + 10'd127;
            divisor <= b_raw << b_zeros;
            left <= {1'b0, a_raw << a_zeros};
            digits <= 26'd0;
            count <= 4'd0;
        end else begin
            left <= left_second;
            digits <= more[25:0];
            if (count <= LAST) count <= count + 4'd1;
        end

    // The division that has just ended.
    reg         ended, end_sign, end_nan, end_infinite, end_zero, end_sticky;
    reg  [9:0]  end_exponent;
    reg  [27:0] end_digits;

    always @(posedge clk) begin
        ended <= count == LAST;
        if (count == LAST) begin
            end_sign <= sign;
            end_nan <= is_nan;
            end_infinite <= is_infinite;
            end_zero <= is_zero;
            end_exponent <= exponent;
            end_digits <= more;
            end_sticky <= left_second != 25'd0;
        end
    end

    wire        above_one = end_digits[27];
    wire [24:0] significand = above_one ? end_digits[27:3] : end_digits[26:2];
    wire        sticky = end_sticky || end_digits[1:0] != 2'd0 || (above_one && end_digits[2]);
    wire [31:0] rounded;

    fp32_round round (
        .sign(end_sign),
        .exponent(above_one ? end_exponent : end_exponent - 10'd1),
        .significand(significand),
        .sticky(sticky),
        .value(rounded)
    );

    always @(posedge clk)
        if (ended)
            quotient <= end_nan ? 32'h7FC00000
                      : end_infinite ? {end_sign, 8'hFF, 23'd0}
                      : end_zero ? {end_sign, 31'd0}
                      : rounded;

    wire unused = &{1'b0, first[24], second[24]};
endmodule
