// wuve: WUVE, the weight-update vector engine: lane programs over strips of SLOTS rounds of LANES
// elements, for optimizer steps and vector ops alike.
//
// Each lane operation is issued for all slots before the next begins, so its result is there when it
// is needed: a strip takes (row operations + width x sweep operations) x SLOTS cycles. `done` is high
// PIPELINE_CYCLES - 1 cycles after the last slot's turn.
//
// A lane operation has 76 bits, laid out as in WORDS.md; weft.sim.lanes says what they mean.
//
// LANES            a power of two
// SLOTS            a power of two, at least 2 DEPTH + 4, DEPTH the larger of LM + LA and 6
// PIPELINE_CYCLES  at least DEPTH + 5
// OPERATIONS       lane operations that the host may write, a power of two
module wuve #(
    parameter LANES = 4,
    parameter SLOTS = 16,
    parameter PIPELINE_CYCLES = 32,
    parameter LM = 2,
    parameter LA = 4,
    parameter OPERATIONS = 1024
) (
    input  wire                          clk,
    input  wire                          rst,
    input  wire                          host_write,
    input  wire [$clog2(OPERATIONS)-1:0] host_address,
    input  wire [                  75:0] host_operation,

    input  wire                          start,
    input  wire [                  15:0] strips,         // at least 1
    input  wire [                  15:0] width,          // rounds of a slot in a sweep, at least 1
    input  wire [                   6:0] used,           // slots, at least 1
    input  wire [                   1:0] limit,          // used in: 0 the last strip, 1 the last step, 2 all
    input  wire [                   8:0] tail,           // lanes of a row's last round
    input  wire [                  23:0] strip_stride,
    input  wire [                  23:0] slot_stride,
    input  wire [                  23:0] stride,
    input  wire [$clog2(OPERATIONS)-1:0] first,          // of the program's operations
    input  wire [                   1:0] inputs,         // log2 of the operands of a round
    input  wire [                   1:0] words,          // log2 of the words of a row
    input  wire                          by_strip,       // words go by strips, not by steps
    input  wire                          two_out,        // words leave per strip
    input  wire                          planar,         // words go by rounds, kinds apart; 0 leaves as FP16 too
    input  wire [                  23:0] rounds,         // of a kind of words
    input  wire                          fused,
    output wire                          done,

    output wire [                  23:0] half_address,   // FP16 words of 2 LANES; data a cycle later
    input  wire [          32*LANES-1:0] half_data,
    output wire [                  23:0] word_address,   // FP32 words; data a cycle later
    input  wire [          32*LANES-1:0] word_data,
    output wire                          fused_read,
    output wire [                  23:0] fused_address,  // rounds of outputs; data a cycle later
    input  wire [          32*LANES-1:0] fused_data,

    output wire                          half_write,
    output wire [                  23:0] half_write_address,
    output wire [          16*LANES-1:0] half_write_data,
    output wire                          word_write,
    output wire [                  23:0] word_write_address,
    output wire                          fused_write,
    output wire [                  23:0] fused_write_address,
    output wire [          32*LANES-1:0] line_data       // of words and of fused rounds
);
    localparam DEPTH = LM + LA > 6 ? LM + LA : 6;
    localparam SLOT_BITS = $clog2(SLOTS);
    localparam LANE_BITS = $clog2(LANES);
    localparam AT = $clog2(OPERATIONS);

    reg  [75:0] operations[0:OPERATIONS-1];
    reg  [75:0] operation;  // a cycle behind the counters
    // Fields of LANE_OPERATION in operation, op_* (instruction_word.py):
    wire  [2:0] op_kind = operation[0+:3];
    wire  [2:0] op_function = operation[3+:3];
    wire  [2:0] op_target = operation[6+:3];  // register
    wire        op_writes = operation[9];  // its target
    wire  [1:0] op_guard = operation[10+:2];
    wire  [3:0] op_a = operation[12+:4];  // source
    wire  [3:0] op_b = operation[16+:4];  // source
    wire  [3:0] op_c = operation[20+:4];  // source
    wire  [3:0] op_lane_exchange = operation[28+:4];
    wire  [2:0] op_slot_exchange = operation[32+:3];
    wire        op_pair = operation[35];
    wire  [1:0] op_word = operation[36+:2];
    wire  [1:0] op_emit = operation[38+:2];
    wire        op_displaced = operation[40];
    wire        op_ends = operation[41];  // a phase
    wire        op_sweeps = operation[42];  // the phase is one of a sweep
    wire        op_halts = operation[43];  // the program
    wire [31:0] op_constant = operation[44+:32];  // or, where displaced, the displacement in its low bits

    wire        ends = op_ends;
    wire        sweeps = op_sweeps;
    wire        halts = op_halts;

    // The instruction, held.
    reg  [15:0] last_strip, last_step;
    reg  [ 6:0] in_use;
    reg  [ 1:0] is_limit, is_inputs, is_words;
    reg  [ 8:0] is_tail;
    reg  [23:0] by_strips, by_slots, by_steps;
    reg  [AT-1:0] program_at;
    reg         is_by_strip, is_two_out, is_planar, is_fused;
    reg  [23:0] plane;

    // Counters: what is issued now.
    reg                  running;
    reg  [       AT-1:0] at, phase_at;
    reg  [SLOT_BITS-1:0] slot;
    reg  [         15:0] strip, step;
    reg  [         23:0] strip_round, step_round, round;
    wire                 turns = &slot;
    wire                 again = ends && sweeps && step != last_step;
    wire                 finishes = ends && halts && !again;
    wire [         23:0] next_strip = strip_round + by_strips;
    wire [         23:0] next_step = step_round + by_steps;

    always @(posedge clk) begin
        if (host_write) operations[host_address] <= host_operation;
        operation <= operations[at];
        if (start) begin
            last_strip <= strips - 16'd1;
            last_step <= width - 16'd1;
            in_use <= used;
            is_limit <= limit;
            is_inputs <= inputs;
            is_words <= words;
            is_tail <= tail;
            by_strips <= strip_stride;
            by_slots <= slot_stride;
            by_steps <= stride;
            program_at <= first;
            is_by_strip <= by_strip;
            is_two_out <= two_out;
            is_planar <= planar;
            plane <= rounds;
            is_fused <= fused;
            at <= first;
            phase_at <= first;
            slot <= {SLOT_BITS{1'b0}};
            strip <= 16'd0;
            step <= 16'd0;
            strip_round <= 24'd0;
            step_round <= 24'd0;
            round <= 24'd0;
        end else if (running) begin
            slot <= slot + {{(SLOT_BITS - 1){1'b0}}, 1'b1};
            round <= round + by_slots;
            if (turns) begin
                if (again) begin
                    at <= phase_at;
                    step <= step + 16'd1;
                    step_round <= next_step;
                    round <= next_step;
                end else if (finishes) begin
                    at <= program_at;
                    phase_at <= program_at;
                    step <= 16'd0;
                    strip <= strip + 16'd1;
                    strip_round <= next_strip;
                    step_round <= next_strip;
                    round <= next_strip;
                end else begin
                    at <= at + {{(AT - 1){1'b0}}, 1'b1};
                    if (ends) begin
                        phase_at <= at + {{(AT - 1){1'b0}}, 1'b1};
                        step <= 16'd0;
                        step_round <= strip_round;
                    end
                    round <= ends ? strip_round : step_round;
                end
            end
        end
        if (rst) running <= 1'b0;
        else running <= start || (running && !(turns && finishes && strip == last_strip));
    end

    delay_line #(.WIDTH(1), .STAGES(PIPELINE_CYCLES-1)) done_line (
        .clk(clk),
        .in(running && turns && finishes && strip == last_strip),
        .out(done)
    );

    // A cycle later: the operation is known; addresses go out.
    reg                  live;
    reg  [SLOT_BITS-1:0] slot1;
    reg  [         15:0] strip1, step1;
    reg  [         23:0] round1;
    always @(posedge clk) begin
        live <= running && !rst;
        slot1 <= slot;
        strip1 <= strip;
        step1 <= step;
        round1 <= round;
    end

    wire [23:0] displacement = op_constant[23:0];
    wire [23:0] read_round = round1 + (op_displaced ? displacement : 24'd0);
    wire [63:0] other_bit = 64'd1 << op_slot_exchange;  // twice the distance; none for 0
    wire [SLOT_BITS-1:0] other_slot = slot1 ^ other_bit[SLOT_BITS:1];
    wire [15:0] row_word = is_by_strip ? strip1 : step1;
    wire [23:0] word_place = {8'd0, row_word} << is_words;
    assign half_address = is_inputs == 2'd0 ? {1'b0, read_round[23:1]}
                        : is_inputs == 2'd1 ? read_round
                        : {read_round[22:0], op_pair};
    wire [ 1:0] word = op_word;
    wire [23:0] word_plane = word == 2'd0 ? 24'd0 : word == 2'd1 ? plane : {plane[22:0], 1'b0};
    assign word_address = is_planar ? round1 + word_plane : word_place | {22'd0, word};
    assign fused_read = live && is_fused;
    assign fused_address = read_round;

    wire last_strip1 = strip1 == last_strip;
    wire last_step1 = step1 == last_step;
    wire limited = is_limit == 2'd2 || (is_limit == 2'd1 ? last_step1 : last_strip1);
    wire [6:0] slot_number = {{(7 - SLOT_BITS) {1'b0}}, slot1};
    wire has_work = !limited || slot_number < in_use;
    wire ends_row = last_step1 && (is_limit == 2'd0 || slot_number == in_use - 7'd1);
    wire last_row = last_strip1 && slot_number == in_use - 7'd1;

    // Another cycle: operands are there.
    reg         odd;
    reg  [75:0] operation2;
    // Fields of LANE_OPERATION in operation2, op2_* (instruction_word.py):
    wire  [2:0] op2_kind = operation2[0+:3];
    wire  [2:0] op2_function = operation2[3+:3];
    wire  [3:0] op2_a = operation2[12+:4];  // source
    wire  [3:0] op2_b = operation2[16+:4];  // source
    wire  [3:0] op2_c = operation2[20+:4];  // source
    wire        op2_negate_a = operation2[24];
    wire        op2_negate_b = operation2[25];
    wire        op2_negate_c = operation2[26];
    wire        op2_absolute_a = operation2[27];
    wire  [3:0] op2_lane_exchange = operation2[28+:4];
    wire [31:0] op2_constant = operation2[44+:32];  // or, where displaced, the displacement in its low bits

    reg         draws;
    reg  [SLOT_BITS-1:0] slot2;
    always @(posedge clk) begin
        slot2 <= slot1;
        odd <= is_inputs == 2'd0 && read_round[0];
        operation2 <= operation;
        draws <= live && {op_function, op_kind} == 6'd7;
    end

    // What a result needs to know: it comes DEPTH + 2 cycles after the addresses.
    localparam ASIDE = 3 + 3 + 1 + 2 + 2 + 2 + 24 + 16 + SLOT_BITS + 3;
    wire [ASIDE-1:0] aside;
    delay_line #(.WIDTH(ASIDE), .STAGES(DEPTH+2)) aside_line (
        .clk(clk),
        .in({op_kind, op_target, op_writes && live, op_guard,
             live ? op_emit : 2'd0, op_word, round1, strip1, slot1, has_work, ends_row,
             last_row}),
        .out(aside)
    );
    wire                 made_last_row = aside[0];
    wire                 made_ends_row = aside[1];
    wire                 made_has_work = aside[2];
    wire [SLOT_BITS-1:0] made_slot = aside[3+:SLOT_BITS];
    wire [         15:0] made_strip = aside[SLOT_BITS+3+:16];
    wire [         23:0] made_round = aside[SLOT_BITS+19+:24];
    wire [          1:0] made_word = aside[SLOT_BITS+43+:2];
    wire [          1:0] emit = aside[SLOT_BITS+45+:2];
    wire [          1:0] guard = aside[SLOT_BITS+47+:2];
    wire                 keeps = aside[SLOT_BITS+49];
    wire [          2:0] target = aside[SLOT_BITS+50+:3];
    wire [          2:0] made_kind = aside[SLOT_BITS+53+:3];
    wire                 first_slot = made_slot == {SLOT_BITS{1'b0}};

    wire [32*LANES-1:0] raw_a, turned_a, made;
    wire [16*LANES-1:0] halves;
    wire [22:0] first_number = {{(23 - SLOT_BITS) {1'b0}}, slot2} << LANE_BITS;
    genvar i, e;
    generate
        for (i = 0; i < LANES; i = i + 1) begin : g_lane
            localparam [22:0] LANE = i;
            wire [31:0] a_register, b_register, c_register, low, high, pair_low, pair_high;
            wire [15:0] low_half = half_data[16*(odd?LANES+i:i)+:16];
            wire [31:0] line_word = word_data[32*i+:32];
            fp16_to_fp32 widen_low (.half(low_half), .value(low));
            fp16_to_fp32 widen_high (.half(half_data[16*(LANES+i)+:16]), .value(high));
            fp16_to_fp32 widen_pair_low (.half(line_word[15:0]), .value(pair_low));
            fp16_to_fp32 widen_pair_high (.half(line_word[31:16]), .value(pair_high));
            wire [31:0] first_operand = is_fused ? fused_data[32*i+:32] : low;

            // Sources 8 to 15; below are the registers.
            wire [255:0] outside = {32'h80000000, 32'h3F800000, pair_high, pair_low, line_word, high,
                                    first_operand, op2_constant};
            assign raw_a[32*i+:32] = op2_a[3] ? outside[32*op2_a[2:0]+:32] : a_register;
            wire [31:0] b = op2_b[3] ? outside[32*op2_b[2:0]+:32] : b_register;
            wire [31:0] c = op2_c[3] ? outside[32*op2_c[2:0]+:32] : c_register;
            wire [31:0] a = turned_a[32*i+:32];

            // a of the lane that the exchange names.
            wire [31:0] from[0:LANE_BITS];
            assign from[0] = raw_a[32*i+:32];
            for (e = 0; e < LANE_BITS; e = e + 1) begin : g_exchange
                assign from[e+1] = op2_lane_exchange == e + 1 ? raw_a[32*(i^(1<<e))+:32] : from[e];
            end
            assign turned_a[32*i+:32] = from[LANE_BITS];

            wire in_row = made_has_work && (!made_ends_row || i < is_tail);
            wire kept = guard == 2'd0 || (guard == 2'd1 ? in_row : first_slot);
            wuve_lane #(
                .SLOTS(SLOTS),
                .LM(LM),
                .LA(LA),
                .DEPTH(DEPTH),
                .SEED(32'h9E3779B9 * (i + 1))
            ) lane (
                .clk(clk),
                .rst(rst),
                .a_address({op_a[2:0], other_slot}),
                .b_address({op_b[2:0], slot1}),
                .c_address({op_c[2:0], slot1}),
                .a_register(a_register),
                .b_register(b_register),
                .c_register(c_register),
                .a_given({(a[31] && !op2_absolute_a) ^ op2_negate_a, a[30:0]}),
                .b_given({b[31] ^ op2_negate_b, b[30:0]}),
                .c_given({c[31] ^ op2_negate_c, c[30:0]}),
                .kind(op2_kind),
                .which(op2_function),
                .draws(draws),
                .number(first_number | LANE),
                .made_kind(made_kind),
                .made(made[32*i+:32]),
                .write(keeps && kept),
                .write_address({target, made_slot})
            );
            fp32_to_fp16 narrow (.value(made[32*i+:32]), .half(halves[16*i+:16]));
            assign line_data[32*i+:32] = made[32*i+:31] > 31'h7F800000 ? 32'h7FC00000
                                                                       : made[32*i+:32];
        end
    endgenerate

    // Rows' results are packed, one lane each; outputs of windows follow each other.
    localparam [1:0] HALF = 2'd1, WORD = 2'd2, ROW = 2'd3;
    reg  [         23:0] counted;
    wire                 leaves = emit == HALF && made_has_work;
    wire                 row_leaves = emit == ROW && made_has_work;
    wire [LANE_BITS-1:0] row_lane = counted[LANE_BITS-1:0];
    reg  [ 16*LANES-1:0] gathered;
    wire [ 16*LANES-1:0] gathers;
    generate
        for (i = 0; i < LANES; i = i + 1) begin : g_row
            assign gathers[16*i+:16] = row_lane == i ? halves[16*i+:16]
                                     : row_lane == {LANE_BITS{1'b0}} ? 16'd0 : gathered[16*i+:16];
        end
    endgenerate
    always @(posedge clk) begin
        if (start) counted <= 24'd0;
        else if (row_leaves || (leaves && is_limit == 2'd2)) counted <= counted + 24'd1;
        if (row_leaves) gathered <= gathers;
    end

    wire copy_leaves = word_leaves && is_planar && made_word == 2'd0;
    assign half_write = (leaves && !is_fused) || copy_leaves || (row_leaves && (&row_lane || made_last_row));
    assign half_write_address = row_leaves ? {{LANE_BITS{1'b0}}, counted[23:LANE_BITS]}
                              : is_limit == 2'd2 ? counted : made_round;
    assign half_write_data = row_leaves ? gathers : halves;
    wire word_leaves = emit == WORD && (is_planar ? made_has_work : first_slot);
    assign word_write = word_leaves;
    wire [23:0] word_line = is_two_out ? {7'd0, made_strip, 1'b0} : {8'd0, made_strip};
    wire [23:0] made_plane = made_word == 2'd0 ? 24'd0
                           : made_word == 2'd1 ? plane : {plane[22:0], 1'b0};
    assign word_write_address = is_planar ? made_round + made_plane
                              : word_line | {22'd0, made_word};
    assign fused_write = leaves && is_fused;
    assign fused_write_address = made_round;

    wire unused = &{1'b0, other_bit, op_lane_exchange, operation2, op_a[3], op_b[3], op_c[3],
                    op_constant[31:24]};
endmodule
