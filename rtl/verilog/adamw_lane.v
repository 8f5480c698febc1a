// adamw_lane: one lane of WUVE for AdamW: a step every 14 cycles.
//
// Every operation rounded to FP32, as PyTorch's AdamW orders them but for the bias corrections, which
// are in `rate` and `epsilon` (Kingma and Ba 2015, end of section 2), and 1 - beta2, which is that
// of beta2 as rounded:
//   m' = m + blend (gradient - m);  v' = keep v + (1 - keep) gradient^2
//   w' = decay w - rate (m' / (sqrt(v') + epsilon))
//
// The weight, the gradient and m come with `ready`, v one cycle later. Results come
// 3 LM + 3 LA + 33 cycles after `ready`.
//
// LM, LA  stages of multipliers and adders
module adamw_lane #(
    parameter LM = 2,
    parameter LA = 4
) (
    input  wire        clk,
    input  wire        root_start,    // 2 LM + LA + 1 after `ready`
    input  wire        divide_start,  // 2 LM + 2 LA + 17 after `ready`
    input  wire [31:0] decay,
    input  wire [31:0] keep,
    input  wire [31:0] lose,          // 1 - keep
    input  wire [31:0] blend,
    input  wire [31:0] epsilon,
    input  wire [31:0] rate,
    input  wire [31:0] weight,
    input  wire [15:0] gradient,
    input  wire [31:0] word,          // m, then v
    output wire [31:0] new_weight,
    output wire [31:0] new_first,     // m'
    output wire [31:0] new_second,    // v'
    output wire [15:0] half
);
    wire [31:0] wide;
    fp16_to_fp32 widen (.half(gradient), .value(wide));

    // LA + LM + LA: m'.
    wire [31:0] apart, part, first_later, first;
    fp32_adder #(.STAGES(LA)) take (
        .clk(clk),
        .a(wide),
        .b({!word[31], word[30:0]}),
        .sum(apart)
    );
    fp32_multiplier #(.STAGES(LM)) scale (.clk(clk), .a(blend), .b(apart), .product(part));
    delay_line #(.WIDTH(32), .STAGES(LA+LM)) first_line (
        .clk(clk),
        .in(word),
        .out(first_later)
    );
    fp32_adder #(.STAGES(LA)) move (.clk(clk), .a(first_later), .b(part), .sum(first));

    // LM + LM + 1 + LA: v'; its old value came a cycle late.
    wire [31:0] square, gain, gain_later, kept, kept_later, second;
    fp16_multiplier #(.STAGES(LM)) square_of (
        .clk(clk),
        .a(gradient),
        .b(gradient),
        .product(square)
    );
    fp32_multiplier #(.STAGES(LM)) weigh (.clk(clk), .a(lose), .b(square), .product(gain));
    fp32_multiplier #(.STAGES(LM)) carry (.clk(clk), .a(keep), .b(word), .product(kept));
    delay_line #(.WIDTH(32), .STAGES(1)) gain_line (.clk(clk), .in(gain), .out(gain_later));
    delay_line #(.WIDTH(32), .STAGES(LM)) kept_line (.clk(clk), .in(kept), .out(kept_later));
    fp32_adder #(.STAGES(LA)) gather (.clk(clk), .a(kept_later), .b(gain_later), .sum(second));

    // 16 + LA: the denominator.
    wire [31:0] root, denominator;
    fp32_root root_of (.clk(clk), .start(root_start), .x(second), .root(root));
    fp32_adder #(.STAGES(LA)) avoid_zero (.clk(clk), .a(root), .b(epsilon), .sum(denominator));

    // 16 + LM + LA: w'.
    wire [31:0] dividend, quotient, step, decayed, decayed_later;
    delay_line #(.WIDTH(32), .STAGES(LM+17)) dividend_line (
        .clk(clk),
        .in(first),
        .out(dividend)
    );
    fp32_divider divide (
        .clk(clk),
        .start(divide_start),
        .a(dividend),
        .b(denominator),
        .quotient(quotient)
    );
    fp32_multiplier #(.STAGES(LM)) shorten (.clk(clk), .a(rate), .b(quotient), .product(step));
    fp32_multiplier #(.STAGES(LM)) shrink (.clk(clk), .a(decay), .b(weight), .product(decayed));
    delay_line #(.WIDTH(32), .STAGES(2*LM+2*LA+33)) decayed_line (
        .clk(clk),
        .in(decayed),
        .out(decayed_later)
    );
    fp32_adder #(.STAGES(LA)) descend (
        .clk(clk),
        .a(decayed_later),
        .b({!step[31], step[30:0]}),
        .sum(new_weight)
    );
    fp32_to_fp16 round (.value(new_weight), .half(half));

    delay_line #(.WIDTH(32), .STAGES(2*LM+LA+33)) new_first_line (
        .clk(clk),
        .in(first),
        .out(new_first)
    );
    delay_line #(.WIDTH(32), .STAGES(LM+2*LA+32)) new_second_line (
        .clk(clk),
        .in(second),
        .out(new_second)
    );
endmodule
