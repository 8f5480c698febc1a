// wuve_lane: one lane of WUVE, fully pipelined: an optimizer step or a vector op per cycle.
//
// Update, every operation rounded to FP32, as PyTorch's SGD orders them:
//   d = gradient + decay w;  v' = momentum v + d  (plain: v' = d);  w' = w - rate v'
// Vector ops on FP16 a (and b), in FP32, rounded to FP16: copy a, max(a, 0), a + b, a b, and the
// gradient a of max(b, 0), which is +0 where b <= 0.
//
// Results come 2 LM + 3 LA cycles after the operands.
//
// LM, LA  stages of multipliers and adders
module wuve_lane #(
    parameter LM = 2,
    parameter LA = 4
) (
    input  wire        clk,
    input  wire        plain,      // no momentum
    input  wire [31:0] decay,
    input  wire [31:0] momentum,
    input  wire [31:0] rate,
    input  wire [31:0] weight,
    input  wire [31:0] velocity,
    input  wire [15:0] a,          // gradient, or first operand
    input  wire [15:0] b,
    input  wire        vector,     // a vector op, not an update
    input  wire [ 2:0] op,         // 0 copy, 1 relu, 2 add, 3 multiply, 6 gate
    output wire [31:0] new_weight,
    output wire [31:0] new_velocity,
    output wire [15:0] half        // the FP16 copy of the weight, or the vector op's result
);
    localparam LATENCY = 2 * LM + 3 * LA;

    wire [31:0] a_float, b_float;
    fp16_to_fp32 widen_a (.half(a), .value(a_float));
    fp16_to_fp32 widen_b (.half(b), .value(b_float));

    // LM: decay w, momentum v, a b.
    wire [31:0] decayed, carried, product, a_later, b_later;
    fp32_multiplier #(.STAGES(LM)) decay_by (.clk(clk), .a(decay), .b(weight), .product(decayed));
    fp32_multiplier #(.STAGES(LM)) carry (.clk(clk), .a(momentum), .b(velocity), .product(carried));
    fp16_multiplier #(.STAGES(LM)) multiply (.clk(clk), .a(a), .b(b), .product(product));
    delay_line #(.WIDTH(32), .STAGES(LM)) a_line (.clk(clk), .in(a_float), .out(a_later));
    delay_line #(.WIDTH(32), .STAGES(LM)) b_line (.clk(clk), .in(b_float), .out(b_later));

    // LA: d, or a + b.
    wire [31:0] step, carried_later;
    fp32_adder #(.STAGES(LA)) add_decay (
        .clk(clk),
        .a(a_later),
        .b(vector ? b_later : decayed),
        .sum(step)
    );
    delay_line #(.WIDTH(32), .STAGES(LA)) carried_line (
        .clk(clk),
        .in(carried),
        .out(carried_later)
    );

    // LA: v'. Adding -0 changes nothing.
    wire [31:0] moved;
    fp32_adder #(.STAGES(LA)) add_step (
        .clk(clk),
        .a(plain ? 32'h80000000 : carried_later),
        .b(step),
        .sum(moved)
    );

    // LM + LA: w'.
    wire [31:0] scaled, weight_later;
    fp32_multiplier #(.STAGES(LM)) scale (.clk(clk), .a(rate), .b(moved), .product(scaled));
    delay_line #(.WIDTH(32), .STAGES(2*LM+2*LA)) weight_line (
        .clk(clk),
        .in(weight),
        .out(weight_later)
    );
    fp32_adder #(.STAGES(LA)) descend (
        .clk(clk),
        .a(weight_later),
        .b({!scaled[31], scaled[30:0]}),
        .sum(new_weight)
    );
    delay_line #(.WIDTH(32), .STAGES(LM+LA)) moved_line (.clk(clk), .in(moved), .out(new_velocity));

    // Vector results, delayed to the same cycle.
    wire a_nan = a[14:0] > 15'h7C00;
    wire b_nan = b[14:0] > 15'h7C00;
    wire b_closed = b[14:0] == 15'd0 || (b[15] && !b_nan);
    wire zeroed = op[2] ? b_closed : op[0] && a[15] && !a_nan;
    wire [31:0] copied = zeroed ? 32'd0 : a_float;
    wire [31:0] copied_end, product_end, sum_end;
    delay_line #(.WIDTH(32), .STAGES(LATENCY)) copied_line (
        .clk(clk),
        .in(copied),
        .out(copied_end)
    );
    delay_line #(.WIDTH(32), .STAGES(LATENCY-LM)) product_line (
        .clk(clk),
        .in(product),
        .out(product_end)
    );
    delay_line #(.WIDTH(32), .STAGES(LATENCY-LM-LA)) sum_line (
        .clk(clk),
        .in(step),
        .out(sum_end)
    );

    wire [31:0] result = !op[1] || op[2] ? copied_end : op[0] ? product_end : sum_end;
    fp32_to_fp16 round (.value(vector ? result : new_weight), .half(half));
endmodule
