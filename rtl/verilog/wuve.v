// wuve: WUVE, the weight-update vector engine: LANES elements per round.
//
// Vector ops are lane programs (vector_unit). An update takes `passes` cycles per round: it reads a
// word of weights, then one of velocities, and beside the first a half-word of gradients. Results
// are written in the order in which rounds began. `done` is high in cycle
// rounds passes + PIPELINE_CYCLES - 1 after `start`.
//
// With ADAMW, an AdamW step reads weights, first and second moments, at most every 14 cycles; it is
// done LM + 33 cycles later than the form above says.
//
// LANES            a power of two, at least 2
// SLOTS            rounds in flight in a vector op, see vector_unit
// OPERATIONS       lane operations of all programs
// PIPELINE_CYCLES  at least 2 LM + 3 LA + 6
// LM, LA           stages of multipliers and adders
// ADAMW            1: lanes can do AdamW too
module wuve #(
    parameter LANES = 4,
    parameter SLOTS = 16,
    parameter OPERATIONS = 1024,
    parameter PIPELINE_CYCLES = 32,
    parameter LM = 2,
    parameter LA = 4,
    parameter ADAMW = 0
) (
    input  wire                clk,
    input  wire                rst,
    input  wire                start,
    input  wire [        23:0] rounds,        // at least 1
    input  wire [         7:0] passes,        // at least 1; an update needs 2
    input  wire                plain,
    input  wire                adamw,
    input  wire [        31:0] decay,
    input  wire [        31:0] momentum,      // AdamW: beta2
    input  wire [        31:0] rate,
    input  wire [        31:0] blend,         // AdamW: 1 - beta1
    input  wire [        31:0] epsilon,
    output wire                done,

    // A vector op's counts, see vector_unit.
    input  wire                          host_write,
    input  wire [$clog2(OPERATIONS)-1:0] host_address,
    input  wire [                  75:0] host_operation,
    input  wire                          vector,
    input  wire [                  15:0] strips,
    input  wire [                  15:0] width,
    input  wire [                   6:0] used,
    input  wire [                   1:0] limit,
    input  wire [                   8:0] tail,
    input  wire [                  23:0] strip_stride,
    input  wire [                  23:0] slot_stride,
    input  wire [                  23:0] stride,
    input  wire [$clog2(OPERATIONS)-1:0] first,
    input  wire [                   1:0] inputs,
    input  wire [                   1:0] words,
    input  wire                          by_strip,
    input  wire                          two_out,
    input  wire                          fused,
    output wire                          fused_read,
    output wire [        23:0] fused_address,
    input  wire [32*LANES-1:0] fused_data,
    output wire                fused_write,
    output wire [        23:0] fused_write_address,
    output wire [32*LANES-1:0] fused_write_data,

    output wire [        23:0] word_address,  // FP32 words; data one cycle later
    input  wire [32*LANES-1:0] word_data,
    output wire [        23:0] half_address,  // FP16 words of 2 LANES; data one cycle later
    input  wire [32*LANES-1:0] half_data,

    output wire                word_write,
    output wire [        23:0] word_write_address,
    output wire [32*LANES-1:0] word_write_data,
    output wire                half_write,    // FP16 words of LANES
    output wire [        23:0] half_write_address,
    output wire [16*LANES-1:0] half_write_data
);
    localparam LATENCY = 2 * LM + 3 * LA;

    // The instruction, held until it is done.
    reg [23:0] all_rounds;
    reg [ 7:0] all_passes;
    reg        is_vector, is_plain, is_adamw;
    reg [31:0] by_decay, by_momentum, by_rate, by_blend, by_epsilon;

    // Rounds begin `passes` cycles apart.
    reg        running;
    reg [23:0] round;
    reg [ 7:0] pass;
    wire       first_pass = pass == 8'd0;
    wire       round_ends = pass == all_passes - 8'd1;
    wire       begins = running && first_pass;

    always @(posedge clk) begin
        if (start) begin
            all_rounds <= rounds;
            all_passes <= passes;
            is_vector <= vector;
            is_plain <= plain;
            is_adamw <= adamw && ADAMW != 0;
            by_blend <= blend;
            by_epsilon <= epsilon;
            by_decay <= decay;
            by_momentum <= momentum;
            by_rate <= rate;
            round <= 24'd0;
            pass <= 8'd0;
        end else if (running) begin
            pass <= round_ends ? 8'd0 : pass + 8'd1;
            if (round_ends) round <= round + 24'd1;
        end
        if (rst) running <= 1'b0;
        else running <= (start && !vector) || (running && !(round_ends && round == all_rounds - 24'd1));
    end

    wire [23:0] vector_word_address, vector_half_address;

    // Weights, then velocities or moments; gradients lie two rounds to a half-word.
    wire third_word = is_adamw && pass > 8'd1;
    assign word_address = is_vector ? vector_word_address
                        : first_pass ? round
                        : third_word ? {all_rounds[22:0], 1'b0} + round
                        : all_rounds + round;
    assign half_address = is_vector ? vector_half_address : {1'b0, round[23:1]};

    // Operands, LANES wide, two cycles after the round began.
    reg                 begun, ready, odd;
    reg  [32*LANES-1:0] weights, halves;
    reg                 parity;  // of the round whose halves are there
    wire [16*LANES-1:0] gradients = parity ? halves[32*LANES-1:16*LANES] : halves[16*LANES-1:0];
    always @(posedge clk) begin
        begun <= !rst && begins;
        ready <= !rst && begun;
        if (begins) odd <= round[0];
        if (begun) begin
            weights <= word_data;
            halves <= half_data;
            parity <= odd;
        end
    end

    wire [32*LANES-1:0] sgd_weights, sgd_velocities, adamw_weights, adamw_firsts, adamw_seconds;
    wire [16*LANES-1:0] sgd_halves, adamw_halves;
    genvar i;
    generate
        for (i = 0; i < LANES; i = i + 1) begin : g_lane
            wuve_lane #(
                .LM(LM),
                .LA(LA)
            ) lane (
                .clk(clk),
                .plain(is_plain),
                .decay(by_decay),
                .momentum(by_momentum),
                .rate(by_rate),
                .weight(weights[32*i+:32]),
                .velocity(word_data[32*i+:32]),
                .gradient(gradients[16*i+:16]),
                .new_weight(sgd_weights[32*i+:32]),
                .new_velocity(sgd_velocities[32*i+:32]),
                .half(sgd_halves[16*i+:16])
            );
        end
    endgenerate

    wire adamw_results;
    generate
        if (ADAMW != 0) begin : g_adamw
            wire root_start, divide_start;
            wire [31:0] lose;
            fp32_adder #(.STAGES(1)) rest (
                .clk(clk),
                .a(32'h3F800000),
                .b({!by_momentum[31], by_momentum[30:0]}),
                .sum(lose)
            );
            delay_line #(.WIDTH(1), .STAGES(2*LM+LA+1)) root_line (
                .clk(clk),
                .in(ready && is_adamw),
                .out(root_start)
            );
            delay_line #(.WIDTH(1), .STAGES(LA+16)) divide_line (
                .clk(clk),
                .in(root_start),
                .out(divide_start)
            );
            delay_line #(.WIDTH(1), .STAGES(LM+LA+16)) adamw_line (
                .clk(clk),
                .in(divide_start),
                .out(adamw_results)
            );
            for (i = 0; i < LANES; i = i + 1) begin : g_step
                adamw_lane #(
                    .LM(LM),
                    .LA(LA)
                ) lane (
                    .clk(clk),
                    .root_start(root_start),
                    .divide_start(divide_start),
                    .decay(by_decay),
                    .keep(by_momentum),
                    .lose(lose),
                    .blend(by_blend),
                    .epsilon(by_epsilon),
                    .rate(by_rate),
                    .weight(weights[32*i+:32]),
                    .gradient(gradients[16*i+:16]),
                    .word(word_data[32*i+:32]),
                    .new_weight(adamw_weights[32*i+:32]),
                    .new_first(adamw_firsts[32*i+:32]),
                    .new_second(adamw_seconds[32*i+:32]),
                    .half(adamw_halves[16*i+:16])
                );
            end
        end else begin : g_no_adamw
            assign adamw_results = 1'b0;
            assign adamw_weights = {(32*LANES){1'b0}};
            assign adamw_firsts = {(32*LANES){1'b0}};
            assign adamw_seconds = {(32*LANES){1'b0}};
            assign adamw_halves = {(16*LANES){1'b0}};
            wire unused = &{1'b0, by_blend, by_epsilon};
        end
    endgenerate
    wire [32*LANES-1:0] new_weights = is_adamw ? adamw_weights : sgd_weights;
    wire [32*LANES-1:0] new_velocities = is_adamw ? adamw_firsts : sgd_velocities;

    // Vector ops.
    wire vector_done, vector_half_write, vector_word_write;
    wire [23:0] vector_half_write_address, vector_word_write_address;
    wire [16*LANES-1:0] vector_halves;
    wire [32*LANES-1:0] vector_line;
    vector_unit #(
        .LANES(LANES),
        .SLOTS(SLOTS),
        .PIPELINE_CYCLES(PIPELINE_CYCLES),
        .LM(LM),
        .LA(LA),
        .OPERATIONS(OPERATIONS)
    ) programs (
        .clk(clk),
        .rst(rst),
        .host_write(host_write),
        .host_address(host_address),
        .host_operation(host_operation),
        .start(start && vector),
        .strips(strips),
        .width(width),
        .used(used),
        .limit(limit),
        .tail(tail),
        .strip_stride(strip_stride),
        .slot_stride(slot_stride),
        .stride(stride),
        .first(first),
        .inputs(inputs),
        .words(words),
        .by_strip(by_strip),
        .two_out(two_out),
        .fused(fused),
        .done(vector_done),
        .half_address(vector_half_address),
        .half_data(half_data),
        .word_address(vector_word_address),
        .word_data(word_data),
        .fused_read(fused_read),
        .fused_address(fused_address),
        .fused_data(fused_data),
        .half_write(vector_half_write),
        .half_write_address(vector_half_write_address),
        .half_write_data(vector_halves),
        .word_write(vector_word_write),
        .word_write_address(vector_word_write_address),
        .fused_write(fused_write),
        .fused_write_address(fused_write_address),
        .line_data(vector_line)
    );
    assign fused_write_data = vector_line;

    // Results: weights with their halves, velocities or moments one and two cycles later.
    wire sgd_results;
    wire results = sgd_results || adamw_results;
    delay_line #(.WIDTH(1), .STAGES(LATENCY)) result_line (
        .clk(clk),
        .in(ready && !is_adamw && !is_vector),
        .out(sgd_results)
    );
    reg                 velocities, seconds;
    reg  [32*LANES-1:0] held, held_second;
    reg  [        23:0] result_round;
    wire [        23:0] previous = result_round - 24'd1;

    always @(posedge clk) begin
        velocities <= !rst && results && !is_plain;
        seconds <= !rst && velocities && is_adamw;
        held <= velocities ? held_second : new_velocities;
        if (results) held_second <= adamw_seconds;
        if (start) result_round <= 24'd0;
        else if (results) result_round <= result_round + 24'd1;
    end

    assign word_write = results || velocities || seconds || vector_word_write;
    assign word_write_address = vector_word_write ? vector_word_write_address
                              : seconds ? {all_rounds[22:0], 1'b0} + previous
                              : velocities ? all_rounds + previous
                              : result_round;
    assign word_write_data = vector_word_write ? vector_line
                           : velocities || seconds ? held : new_weights;
    assign half_write = results || vector_half_write;
    assign half_write_address = vector_half_write ? vector_half_write_address : result_round;
    assign half_write_data = vector_half_write ? vector_halves
                           : is_adamw ? adamw_halves : sgd_halves;

    // Duration.
    reg        busy;
    reg [31:0] left;
    always @(posedge clk) begin
        if (start) left <= rounds * passes + PIPELINE_CYCLES - 2 + (adamw ? LM + 33 : 0);
        else if (busy) left <= left - 32'd1;
        if (rst) busy <= 1'b0;
        else busy <= (start && !vector) || (busy && !done);
    end
    assign done = (busy && left == 32'd0) || vector_done;
endmodule
