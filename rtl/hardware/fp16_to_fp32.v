// fp16_to_fp32: FP16 to FP32, exact; combinational.
//
// Subnormals become normal numbers; NaN is 0x7FC00000.
module fp16_to_fp32 (
    input  wire [15:0] half,
    output wire [31:0] value
);
    wire [10:0] significand;
    wire [6:0]  exponent;  // two's complement, biased by 15

    fp16_normalize normalize (.x(half), .significand(significand), .exponent(exponent));

    wire        top = &half[14:10];
    wire        nan = top & (half[9:0] != 10'd0);
    wire        zero = half[14:0] == 15'd0;
    wire [7:0]  biased = {exponent[6], exponent} + 8'd112;  // 127 - 15

    assign value = nan  ? 32'h7FC00000
                 : top  ? {half[15], 8'hFF, 23'd0}
                 : zero ? {half[15], 31'd0}
                 : {half[15], biased, significand[9:0], 13'd0};

    wire unused = &{1'b0, significand[10]};  // always one here
endmodule
