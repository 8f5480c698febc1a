// uspe: one processing element of the STCE, dense or any N:M with M up to 16, OS or WS.
//
// A word of 16 halves arrives from the west and moves east, one element per cycle; with it comes
// the control of this cycle. The word's lane that takes part is west_base plus the weight's index,
// so the element knows neither N nor M. Products are exact in FP32, sums are rounded.
//
// OS: the weight of this cycle comes from the north and moves south; INTERLEAVE accumulations go
//     round through the adder. In the last step of a pass their sums are captured, and later moved
//     into the drain, a shift register that runs south through the column while the next pass works.
// WS: weights lie in one of two banks, filled from the north while the other works. A partial sum
//     enters from the north, takes the element's products INTERLEAVE cycles apart, and leaves south.
//
// A product enters the adder LM + 1 cycles after its word came; a sum leaves LA cycles later.
//
// INTERLEAVE  accumulations in flight, at least LA
// LM, LA      stages of multiplier and adder
// WORDS_LOG2  log2 of the weights per bank
module uspe #(
    parameter INTERLEAVE = 4,
    parameter LM = 2,
    parameter LA = 4,
    parameter WORDS_LOG2 = 4
) (
    input  wire         clk,
    input  wire         weight_stationary,

    input  wire [255:0] west_word,
    input  wire [3:0]   west_base,
    input  wire [3:0]   west_n,      // which kept weight of the group (WS)
    input  wire         west_bank,   // weight bank to use (WS)
    input  wire         west_valid,
    input  wire         west_first,  // starts a sum
    input  wire         west_last,   // ends a sum
    output reg  [255:0] east_word,
    output reg  [3:0]   east_base,
    output reg  [3:0]   east_n,
    output reg          east_bank,
    output reg          east_valid,
    output reg          east_first,
    output reg          east_last,

    input  wire [15:0]  north_weight,
    input  wire [3:0]   north_index,
    input  wire         north_load,  // this weight goes to the bank of the element below by north_row
    input  wire         north_bank,
    input  wire [3:0]   north_n,
    input  wire [7:0]   north_row,
    output reg  [15:0]  south_weight,
    output reg  [3:0]   south_index,
    output reg          south_load,
    output reg          south_bank,
    output reg  [3:0]   south_n,
    output reg  [7:0]   south_row,

    input  wire [31:0]  north_sum,
    output wire [31:0]  south_sum,
    output wire         south_sum_valid,  // south_sum ends a sum

    input  wire         drain_take,   // captured sums move into the drain
    input  wire         drain_shift,
    input  wire [31:0]  drain_north,
    output wire [31:0]  drain_south
);
    // Weights of the WS dataflow: {index, value} in two banks.
    reg  [19:0] bank [0:(2 << WORDS_LOG2)-1];

    always @(posedge clk) begin
        east_word <= west_word;
        east_base <= west_base;
        east_n <= west_n;
        east_bank <= west_bank;
        east_valid <= west_valid;
        east_first <= west_first;
        east_last <= west_last;
        south_weight <= north_weight;
        south_index <= north_index;
        south_load <= north_load;
        south_bank <= north_bank;
        south_n <= north_n;
        south_row <= north_row - 8'd1;
        if (south_load & (south_row == 8'hFF))
            bank[{south_bank, south_n[WORDS_LOG2-1:0]}] <= {south_index, south_weight};
    end

    wire [19:0] kept = bank[{east_bank, east_n[WORDS_LOG2-1:0]}];
    wire [15:0] weight = weight_stationary ? kept[15:0] : south_weight;
    wire [3:0]  lane = east_base + (weight_stationary ? kept[19:16] : south_index);
    wire [15:0] activation = east_word[{lane, 4'd0} +: 16];
    wire [31:0] product;

    fp16_multiplier #(.STAGES(LM)) multiplier (
        .clk(clk),
        .a(activation),
        .b(weight),
        .product(product)
    );

    wire first;
    wire sum_ends;

    delay_line #(.WIDTH(1), .STAGES(LM)) first_line (.clk(clk), .in(east_first), .out(first));
    delay_line #(.WIDTH(1), .STAGES(LM + LA)) last_line (
        .clk(clk),
        .in(east_valid & east_last),
        .out(sum_ends)
    );

    wire [31:0] sum;
    wire [31:0] again;
    wire [31:0] addend = ~first ? again : weight_stationary ? north_sum : 32'd0;

    fp32_adder #(.STAGES(LA)) adder (.clk(clk), .a(addend), .b(product), .sum(sum));

    generate
        if (INTERLEAVE > LA) begin : wait_for_turn
            delay_line #(.WIDTH(32), .STAGES(INTERLEAVE - LA)) line (
                .clk(clk),
                .in(sum),
                .out(again)
            );
        end else begin : no_wait
            assign again = sum;
        end
    endgenerate

    assign south_sum = sum;
    assign south_sum_valid = sum_ends;

    // Slot 0 is the lowest word of both registers; words enter at the top.
    reg [32*INTERLEAVE-1:0] captured;
    reg [32*INTERLEAVE-1:0] drain;

    wire [32*INTERLEAVE+31:0] captured_wide = {sum, captured};
    wire [32*INTERLEAVE+31:0] drain_wide = {drain_north, drain};

    always @(posedge clk) begin
        if (sum_ends) captured <= captured_wide[32*INTERLEAVE+31:32];
        if (drain_take) drain <= captured;
        else if (drain_shift) drain <= drain_wide[32*INTERLEAVE+31:32];
    end

    assign drain_south = drain[31:0];

    wire unused = &{1'b0, captured_wide[31:0], drain_wide[31:0]};  // the words that leave
endmodule
