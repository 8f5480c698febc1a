// fp32_round: a significand and what lies below it become FP32, to nearest, ties to even.
//
// Combinational. Too large a value is infinite, too small a one subnormal or zero.
module fp32_round (
    input  wire        sign,
    input  wire [9:0]  exponent,     // biased by 127, two's complement
    input  wire [24:0] significand,  // leading one at the top; the last bit is half of the last place
    input  wire        sticky,       // something lies below that
    output wire [31:0] value
);
    // Below the smallest normal exponent the significand moves right; 25 places leave only sticky.
    wire        tiny = exponent[9] | (exponent == 10'd0);
    wire [9:0]  distance = 10'd1 - exponent;
    wire [4:0]  right = ~tiny ? 5'd0 : distance > 10'd25 ? 5'd25 : distance[4:0];
    wire [24:0] shifted = significand >> right;
    wire [24:0] lost = significand & ~(25'h1FFFFFF << right);
    wire        round_up = shifted[0] & (shifted[1] | sticky | (lost != 25'd0));
    wire [7:0]  biased = tiny ? 8'd0 : exponent[7:0];
    wire [30:0] rounded = {biased, shifted[23:1]} + {30'd0, round_up};
    wire        overflow = (~exponent[9] & (exponent >= 10'd255)) | (&rounded[30:23]);

    assign value = overflow ? {sign, 8'hFF, 23'd0} : {sign, rounded};

    wire unused = &{1'b0, shifted[24]};  // the leading one
endmodule
