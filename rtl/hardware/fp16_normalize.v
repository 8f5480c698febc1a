// fp16_normalize: significand with its leading one at bit 10, and the exponent that goes with it.
//
// exponent is two's complement and biased by 15: 1 to 30 for normal numbers, 0 down to -9 for
// subnormals. For zero, infinity and NaN both outputs are meaningless.
module fp16_normalize (
    input  wire [15:0] x,
    output wire [10:0] significand,
    output wire [6:0]  exponent
);
    wire        normal = x[14:10] != 5'd0;
    wire [10:0] shifted = {1'b0, x[9:0]};

    // Binary search for the leading one: shift by 8, 4, 2, 1 while the top bits are zero.
    wire        s8 = shifted[10:3] == 8'd0;
    wire [10:0] x8 = s8 ? {shifted[2:0], 8'd0} : shifted;
    wire        s4 = x8[10:7] == 4'd0;
    wire [10:0] x4 = s4 ? {x8[6:0], 4'd0} : x8;
    wire        s2 = x4[10:9] == 2'd0;
    wire [10:0] x2 = s2 ? {x4[8:0], 2'd0} : x4;
    wire        s1 = ~x2[10];
    wire [10:0] x1 = s1 ? {x2[9:0], 1'b0} : x2;

    assign significand = normal ? {1'b1, x[9:0]} : x1;
    assign exponent = normal ? {2'd0, x[14:10]} : 7'd1 - {3'd0, s8, s4, s2, s1};

    /* verilator lint_off UNUSEDSIGNAL */  // the sign does not matter here
    wire sign = x[15];
    /* verilator lint_on UNUSEDSIGNAL */
endmodule
