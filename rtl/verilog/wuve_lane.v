// wuve_lane: one lane of WUVE for SGD, fully pipelined: a step per cycle.
//
// Every operation rounded to FP32, as PyTorch's SGD orders them:
//   d = gradient + decay w;  v' = momentum v + d  (plain: v' = d);  w' = w - rate v'
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
    input  wire [15:0] gradient,
    output wire [31:0] new_weight,
    output wire [31:0] new_velocity,
    output wire [15:0] half        // the FP16 copy of the weight
);
    wire [31:0] wide;
    fp16_to_fp32 widen (.half(gradient), .value(wide));

    // LM: decay w, momentum v.
    wire [31:0] decayed, carried, wide_later;
    fp32_multiplier #(.STAGES(LM)) decay_by (.clk(clk), .a(decay), .b(weight), .product(decayed));
    fp32_multiplier #(.STAGES(LM)) carry (.clk(clk), .a(momentum), .b(velocity), .product(carried));
    delay_line #(.WIDTH(32), .STAGES(LM)) wide_line (.clk(clk), .in(wide), .out(wide_later));

    // LA: d.
    wire [31:0] step, carried_later;
    fp32_adder #(.STAGES(LA)) add_decay (.clk(clk), .a(wide_later), .b(decayed), .sum(step));
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
    fp32_to_fp16 round (.value(new_weight), .half(half));
endmodule
