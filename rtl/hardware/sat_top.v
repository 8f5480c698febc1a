// sat_top: the accelerator. Five in-order queues with tokens between them, the STCE, SORE and
// their banks, and one AXI4 read and one AXI4 write port to memory.
//
// The host writes the queues' words, the lane operations of WUVE (as queue 5) and the first tokens,
// then raises `run`; `halted` says that every queue has come to its END and that nothing is under
// way. Words: WORDS.md.
//
// Parameters come from a machine file (rtl/cosimulation/parameters.py); *_WORDS count all banks of a buffer.
module sat_top #(
    parameter ROWS = 4,               // power of two
    parameter COLS = 4,               // power of two
    parameter INTERLEAVE = 4,
    parameter LM = 2,
    parameter LA = 4,
    parameter READ_BYTES = 8,         // power of two
    parameter WRITE_BYTES = 8,        // power of two, at most 2 COLS
    parameter LEFT_WORDS = 512,       // of 16 halves, per row
    parameter RIGHT_WORDS = 1024,     // per column
    parameter OUT_WORDS = 1024,       // per column
    parameter SORE_LANES = 8,         // power of two
    parameter SORE_PIPELINE = 34,
    parameter MASK_WORDS = 256,       // of SORE_LANES halves, in and out each
    parameter BANKS = 2,              // of every buffer
    parameter WUVE_LANES = 4,         // power of two
    parameter WUVE_SLOTS = 16,        // power of two
    parameter WUVE_OPERATIONS = 1024, // lane operations of all vector programs, power of two
    parameter WUVE_PIPELINE = 32,
    parameter VECTOR_WORDS = 1024,    // of WUVE_LANES floats, in and out each
    parameter [31:0] VECTOR_BANK = 512,  // of them in one bank
    parameter LOADS_IN_FLIGHT = 64,   // power of two
    parameter STORES_IN_FLIGHT = 32,  // power of two
    parameter FENCE_CYCLES = 21,
    parameter PROGRAM_WORDS = 4096    // per queue, power of two
) (
    input  wire                             clk,
    input  wire                             rst,
    input  wire                             host_write,
    input  wire [                      2:0] host_queue,
    input  wire [$clog2(PROGRAM_WORDS)-1:0] host_address,
    input  wire [                    255:0] host_word,
    input  wire                             host_tokens_write,
    input  wire [                 19*16-1:0] host_tokens,
    output wire                             primed,
    input  wire                             run,
    output wire                             halted,

    output wire                             arvalid,
    input  wire                             arready,
    output wire [                     39:0] araddr,
    output wire [                      7:0] arlen,
    output wire [                      2:0] arsize,
    output wire [                      1:0] arburst,
    input  wire                             rvalid,
    output wire                             rready,
    input  wire [         8*READ_BYTES-1:0] rdata,
    input  wire                             rlast,
    output wire                             awvalid,
    input  wire                             awready,
    output wire [                     39:0] awaddr,
    output wire [                      7:0] awlen,
    output wire [                      2:0] awsize,
    output wire [                      1:0] awburst,
    output wire                             wvalid,
    input  wire                             wready,
    output wire [        8*WRITE_BYTES-1:0] wdata,
    output wire [          WRITE_BYTES-1:0] wstrb,
    output wire                             wlast,
    input  wire                             bvalid,
    output wire                             bready,

    output wire [                      4:0] trace_start,
    output wire [                      4:0] trace_free,
    output wire [                      4:0] trace_finish
);
    localparam CHANNELS = 19;
    localparam LOAD = 0;
    localparam STORE = 1;
    localparam STCE = 2;
    localparam SORE = 3;
    localparam WUVE = 4;
    // Values of kind (instruction_word.py):
    localparam [2:0] SYNC = 3'd1;
    // Values of load_buffer, FILL_* (instruction_word.py):
    localparam [3:0] FILL_LEFT = 4'd0;
    localparam [3:0] FILL_RIGHT = 4'd1;
    localparam [3:0] FILL_RIGHT_INDEX0 = 4'd2;
    localparam [3:0] FILL_RIGHT_INDEX1 = 4'd3;
    localparam [3:0] FILL_RIGHT_INDEX2 = 4'd4;
    localparam [3:0] FILL_RIGHT_INDEX3 = 4'd5;
    localparam [3:0] FILL_MASK = 4'd6;
    localparam [3:0] FILL_VECTOR = 4'd7;
    localparam [3:0] FILL_VECTOR_HALF = 4'd8;
    // Values of store_buffer, DRAIN_* (instruction_word.py):
    localparam [3:0] DRAIN_OUTPUT = 4'd0;
    localparam [3:0] DRAIN_VECTOR = 4'd1;
    localparam [3:0] DRAIN_MASK = 4'd2;
    localparam [3:0] DRAIN_MASK_INDEX0 = 4'd3;
    localparam [3:0] DRAIN_VECTOR_HALF = 4'd7;

    // AXI4: the burst type is INCR; above 128 bytes the port is several of 128 in lock step.
    localparam integer READ_LOG = $clog2(READ_BYTES);
    localparam integer WRITE_LOG = $clog2(WRITE_BYTES);
    assign arburst = 2'b01;
    assign awburst = 2'b01;
    assign arsize = READ_LOG > 7 ? 3'd7 : READ_LOG[2:0];
    assign awsize = WRITE_LOG > 7 ? 3'd7 : WRITE_LOG[2:0];

    // Queues and tokens.
    wire [         4:0] queue_primed, queue_halted, unit_idle, start;
    wire [     256*5-1:0] heads;
    wire [CHANNELS*5-1:0] takes, gives;
    wire [ CHANNELS-1:0] available;
    wire [ CHANNELS-1:0] take = takes[0+:CHANNELS] | takes[CHANNELS+:CHANNELS]
        | takes[2*CHANNELS+:CHANNELS] | takes[3*CHANNELS+:CHANNELS] | takes[4*CHANNELS+:CHANNELS];
    wire [ CHANNELS-1:0] give = gives[0+:CHANNELS] | gives[CHANNELS+:CHANNELS]
        | gives[2*CHANNELS+:CHANNELS] | gives[3*CHANNELS+:CHANNELS] | gives[4*CHANNELS+:CHANNELS];

    token_counters #(.CHANNELS(CHANNELS)) tokens (
        .clk(clk),
        .load(host_tokens_write),
        .initial_counts(host_tokens),
        .give(give),
        .take(take),
        .available(available)
    );

    genvar q;
    generate
        for (q = 0; q < 5; q = q + 1) begin : g_queue
            queue #(
                .DEPTH(PROGRAM_WORDS),
                .CHANNELS(CHANNELS)
            ) stream (
                .clk(clk),
                .rst(rst),
                .write(host_write && host_queue == q),
                .write_address(host_address),
                .write_word(host_word),
                .run(run),
                .primed(queue_primed[q]),
                .halted(queue_halted[q]),
                .available(available),
                .take(takes[CHANNELS*q+:CHANNELS]),
                .unit_idle(unit_idle[q]),
                .start(start[q]),
                .head(heads[256*q+:256]),
                .trace_start(trace_start[q]),
                .trace_free(trace_free[q])
            );
        end
    endgenerate

    wire load_empty, store_empty;
    assign primed = &queue_primed;
    assign halted = (&queue_halted) && (&unit_idle) && load_empty && store_empty;

    // Load.
    wire                    fill;
    wire [             3:0] fill_buffer;
    wire [            23:0] fill_beat;
    wire [8*READ_BYTES-1:0] fill_data;

    load_unit #(
        .BEAT_BYTES(READ_BYTES),
        .CHANNELS(CHANNELS),
        .IN_FLIGHT(LOADS_IN_FLIGHT)
    ) loads (
        .clk(clk),
        .rst(rst),
        .start(start[LOAD]),
        .word(heads[256*LOAD+:256]),
        .idle(unit_idle[LOAD]),
        .finish(trace_finish[LOAD]),
        .empty(load_empty),
        .give(gives[CHANNELS*LOAD+:CHANNELS]),
        .arvalid(arvalid),
        .arready(arready),
        .araddr(araddr),
        .arlen(arlen),
        .rvalid(rvalid),
        .rready(rready),
        .rdata(rdata),
        .rlast(rlast),
        .bank_write(fill),
        .bank_buffer(fill_buffer),
        .bank_beat(fill_beat),
        .bank_data(fill_data)
    );

    wire fill_left = fill && fill_buffer == FILL_LEFT;
    wire fill_right = fill && fill_buffer == FILL_RIGHT;
    wire [3:0] fill_planes = {4{fill}} & {
        fill_buffer == FILL_RIGHT_INDEX3, fill_buffer == FILL_RIGHT_INDEX2,
        fill_buffer == FILL_RIGHT_INDEX1, fill_buffer == FILL_RIGHT_INDEX0};
    wire fill_mask = fill && fill_buffer == FILL_MASK;

    // STCE.
    wire                stce_start, stce_done;
    wire [       255:0] stce_head = heads[256*STCE+:256];
    reg  [       255:0] stce_held;
    wire [       255:0] stce_word = stce_start ? stce_head : stce_held;
    // Fields of MATMUL in stce_word, matmul_* (instruction_word.py):
    wire        matmul_weight_stationary = stce_word[48];
    wire        matmul_accumulate = stce_word[49];  // onto what the output bank holds
    wire  [4:0] matmul_n_keep = stce_word[50+:5];  // N
    wire  [3:0] matmul_m_group = stce_word[55+:4];  // M, 16 as 0: such a word holds one group
    wire  [2:0] matmul_group_shift = stce_word[59+:3];  // log2 of the groups in a left word
    wire [15:0] matmul_steps = stce_word[62+:16];  // OS: N times groups; WS: N
    wire [15:0] matmul_vectors = stce_word[78+:16];  // WS: rows of the left operand
    wire [15:0] matmul_row_passes = stce_word[94+:16];
    wire [15:0] matmul_column_passes = stce_word[110+:16];
    wire [15:0] matmul_left_step = stce_word[126+:16];  // left words between row passes
    wire [23:0] matmul_left_base = stce_word[142+:24];  // first word
    wire [23:0] matmul_right_base = stce_word[166+:24];  // first word
    wire [23:0] matmul_out_base = stce_word[190+:24];  // first word
    wire  [3:0] matmul_index_planes = stce_word[214+:4];  // in use
    // Fields of COMMON in stce_head, stce_* (instruction_word.py):
    wire  [2:0] stce_kind = stce_head[0+:3];  // of word, see below
    wire [18:0] stce_signals = stce_head[24+:19];  // channels that it gives a token to

    wire [ 16*ROWS-1:0] left_address;
    wire [256*ROWS-1:0] left_data;
    wire [ 16*COLS-1:0] right_address;
    wire [ 20*COLS-1:0] right_data, right_kept;
    wire [ 16*COLS-1:0] out_read_address, out_write_address;
    wire [ 32*COLS-1:0] out_read_data, out_write_data;
    wire [    COLS-1:0] out_write;
    wire [ 24*ROWS-1:0] left_at;
    wire [ 24*COLS-1:0] right_at, out_read_at, out_write_at;

    always @(posedge clk) if (stce_start) stce_held <= stce_head;

    genvar i;
    generate
        for (i = 0; i < ROWS; i = i + 1) begin : g_left
            assign left_at[24*i+:24] = matmul_left_base + {8'd0, left_address[16*i+:16]};
        end
        for (i = 0; i < COLS; i = i + 1) begin : g_column
            // Planes beyond the pattern's index bits hold what an earlier pattern left.
            assign right_kept[20*i+:20] = right_data[20*i+:20] & {matmul_index_planes, 16'hFFFF};
            assign right_at[24*i+:24] = matmul_right_base + {8'd0, right_address[16*i+:16]};
            assign out_read_at[24*i+:24] = matmul_out_base + {8'd0, out_read_address[16*i+:16]};
            assign out_write_at[24*i+:24] = matmul_out_base + {8'd0, out_write_address[16*i+:16]};
        end
    endgenerate

    unit_control #(.CHANNELS(CHANNELS)) stce_control (
        .clk(clk),
        .rst(rst),
        .start(start[STCE]),
        .is_sync(stce_kind == SYNC),
        .signals(stce_signals),
        .unit_start(stce_start),
        .unit_done(stce_done),
        .idle(unit_idle[STCE]),
        .finish(trace_finish[STCE]),
        .give(gives[CHANNELS*STCE+:CHANNELS])
    );

    stce_unit #(
        .ROWS(ROWS),
        .COLS(COLS),
        .INTERLEAVE(INTERLEAVE),
        .LM(LM),
        .LA(LA)
    ) stce (
        .clk(clk),
        .reset(rst),
        .start(stce_start),
        .weight_stationary(matmul_weight_stationary),
        .accumulate(matmul_accumulate),
        .n_keep(matmul_n_keep),
        .m_group(matmul_m_group),
        .group_shift(matmul_group_shift),
        .steps(matmul_steps),
        .vectors(matmul_vectors),
        .row_passes(matmul_row_passes),
        .column_passes(matmul_column_passes),
        .left_step(matmul_left_step),
        .done(stce_done),
        .left_address(left_address),
        .left_data(left_data),
        .right_address(right_address),
        .right_data(right_kept),
        .out_read_address(out_read_address),
        .out_read_data(out_read_data),
        .out_write(out_write),
        .out_write_address(out_write_address),
        .out_write_data(out_write_data)
    );

    left_buffer #(
        .WORDS(LEFT_WORDS),
        .ROWS(ROWS),
        .BEAT_BYTES(READ_BYTES)
    ) left (
        .clk(clk),
        .write_enable(fill_left),
        .write_beat(fill_beat),
        .write_data(fill_data),
        .read_address(left_at),
        .read_data(left_data)
    );

    right_buffer #(
        .WORDS(RIGHT_WORDS),
        .COLS(COLS),
        .BEAT_BYTES(READ_BYTES)
    ) right (
        .clk(clk),
        .write_value(fill_right),
        .write_planes(fill_planes),
        .write_beat(fill_beat),
        .write_data(fill_data),
        .read_address(right_at),
        .read_data(right_data)
    );

    // Store, and the lines of outputs that WUVE works on.
    localparam LINE = 32 * WUVE_LANES;
    wire [           LINE-1:0] words, halves, new_words;
    wire [  8*WRITE_BYTES-1:0] drain_words, drain_halves;
    wire                       fused_read, fused_write;
    wire [               23:0] fused_at, fused_write_at;
    wire [  32*WUVE_LANES-1:0] fused_line;
    reg  [               23:0] fused_base;
    wire                       drain;
    wire [                3:0] drain_buffer;
    wire [               23:0] drain_beat;
    wire                       drain_narrow;
    wire [ 16*WRITE_BYTES-1:0] drain_data, out_data;

    output_buffer #(
        .WORDS(OUT_WORDS),
        .BANKS(BANKS),
        .COLS(COLS),
        .LANES(WUVE_LANES),
        .BEAT_BYTES(WRITE_BYTES)
    ) outputs (
        .clk(clk),
        .write_enable(out_write),
        .write_address(out_write_at),
        .write_data(out_write_data),
        .read_address(out_read_at),
        .read_data(out_read_data),
        .lane_read(fused_read),
        .lane_read_address(fused_base + fused_at),
        .lane_read_data(fused_line),
        .lane_write(fused_write),
        .lane_write_address(fused_base + fused_write_at),
        .lane_write_data(new_words),
        .store_beat(drain_beat),
        .store_narrow(drain_narrow),
        .store_data(out_data)
    );

    store_unit #(
        .BEAT_BYTES(WRITE_BYTES),
        .CHANNELS(CHANNELS),
        .IN_FLIGHT(STORES_IN_FLIGHT),
        .SYNC_CYCLES(FENCE_CYCLES)
    ) stores (
        .clk(clk),
        .rst(rst),
        .start(start[STORE]),
        .word(heads[256*STORE+:256]),
        .idle(unit_idle[STORE]),
        .finish(trace_finish[STORE]),
        .empty(store_empty),
        .give(gives[CHANNELS*STORE+:CHANNELS]),
        .bank_read(drain),
        .bank_buffer(drain_buffer),
        .bank_beat(drain_beat),
        .bank_narrow(drain_narrow),
        .bank_data(drain_data),
        .awvalid(awvalid),
        .awready(awready),
        .awaddr(awaddr),
        .awlen(awlen),
        .wvalid(wvalid),
        .wready(wready),
        .wdata(wdata),
        .wstrb(wstrb),
        .wlast(wlast),
        .bvalid(bvalid),
        .bready(bready)
    );

    // SORE.
    localparam SLOT_BITS = 16 * SORE_LANES;
    wire                    sore_start, sore_done;
    wire [           255:0] sore_head = heads[256*SORE+:256];
    // Fields of REDUCE in sore_head, reduce_* (instruction_word.py):
    wire  [2:0] reduce_kind = sore_head[0+:3];  // of word, see below
    wire [18:0] reduce_signals = sore_head[24+:19];  // channels that it gives a token to
    wire [23:0] reduce_rounds = sore_head[48+:24];
    wire  [4:0] reduce_pattern_m = sore_head[72+:5];  // M
    wire  [3:0] reduce_pattern_n = sore_head[77+:4];  // N
    wire        reduce_across = sore_head[81];  // groups run across rows
    wire [15:0] reduce_inner_words = sore_head[82+:16];  // of a row
    wire        reduce_from_wuve = sore_head[98];  // source, 0: mask bank, 1: FP16 weights in the vector output bank
    wire [23:0] reduce_source_base = sore_head[99+:24];  // first source word
    wire [23:0] reduce_slot_base = sore_head[123+:24];  // first slot

    reg  [            23:0] sore_base, mask_out_base;
    reg                     from_wuve;
    wire [   SLOT_BITS-1:0] sore_mask, sore_weights;
    wire                    sore_read, slot_write;
    wire [            15:0] sore_word, slot;
    wire [   SLOT_BITS-1:0] slot_values;
    wire [4*SORE_LANES-1:0] slot_indices;
    wire [            23:0] slot_at = mask_out_base + {8'd0, slot};
    wire [8*WRITE_BYTES-1:0] mask_values;
    wire [8*WRITE_BYTES-1:0] mask_planes[0:3];

    always @(posedge clk)
        if (sore_start) begin
            from_wuve <= reduce_from_wuve;
            sore_base <= reduce_source_base;
            mask_out_base <= reduce_slot_base;
        end

    unit_control #(.CHANNELS(CHANNELS)) sore_control (
        .clk(clk),
        .rst(rst),
        .start(start[SORE]),
        .is_sync(reduce_kind == SYNC),
        .signals(reduce_signals),
        .unit_start(sore_start),
        .unit_done(sore_done),
        .idle(unit_idle[SORE]),
        .finish(trace_finish[SORE]),
        .give(gives[CHANNELS*SORE+:CHANNELS])
    );

    sore #(
        .LANES(SORE_LANES),
        .PIPELINE_CYCLES(SORE_PIPELINE)
    ) reducer (
        .clk(clk),
        .rst(rst),
        .start(sore_start),
        .rounds(reduce_rounds),
        .pattern_m(reduce_pattern_m),
        .pattern_n(reduce_pattern_n),
        .across(reduce_across),
        .inner_words(reduce_inner_words),
        .done(sore_done),
        .read_enable(sore_read),
        .read_address(sore_word),
        .read_data(from_wuve ? sore_weights : sore_mask),
        .write_enable(slot_write),
        .write_slot(slot),
        .write_values(slot_values),
        .write_indices(slot_indices)
    );

    bank_ram #(
        .BITS(MASK_WORDS * SLOT_BITS),
        .WRITE_BITS(8 * READ_BYTES),
        .READ_BITS(SLOT_BITS)
    ) mask_in (
        .clk(clk),
        .write_enable(fill_mask),
        .write_address(fill_beat),
        .write_data(fill_data),
        .read_address(sore_base + {8'd0, sore_word}),
        .read_data(sore_mask)
    );

    bank_ram #(
        .BITS(MASK_WORDS * SLOT_BITS),
        .WRITE_BITS(SLOT_BITS),
        .READ_BITS(8 * WRITE_BYTES)
    ) mask_out (
        .clk(clk),
        .write_enable(slot_write),
        .write_address(slot_at),
        .write_data(slot_values),
        .read_address(drain_beat),
        .read_data(mask_values)
    );

    genvar l;
    generate
        for (i = 0; i < 4; i = i + 1) begin : g_mask_plane
            wire [SORE_LANES-1:0] bits;
            for (l = 0; l < SORE_LANES; l = l + 1) begin : g_lane
                assign bits[l] = slot_indices[4*l+i];
            end
            bank_ram #(
                .BITS(MASK_WORDS * SORE_LANES),
                .WRITE_BITS(SORE_LANES),
                .READ_BITS(8 * WRITE_BYTES)
            ) plane (
                .clk(clk),
                .write_enable(slot_write),
                .write_address(slot_at),
                .write_data(bits),
                .read_address(drain_beat),
                .read_data(mask_planes[i])
            );
        end
    endgenerate

    // What the store unit asked for a cycle ago.
    reg  [3:0] asked;
    wire [3:0] asked_plane = asked - DRAIN_MASK_INDEX0;
    wire [8*WRITE_BYTES-1:0] plain =
        asked == DRAIN_VECTOR ? drain_words
        : asked == DRAIN_VECTOR_HALF ? drain_halves
        : asked == DRAIN_MASK ? mask_values
        : mask_planes[asked_plane[1:0]];
    always @(posedge clk) asked <= drain_buffer;
    assign drain_data = asked == DRAIN_OUTPUT ? out_data : {{(8*WRITE_BYTES){1'b0}}, plain};

    // WUVE.
    wire            wuve_start, wuve_done;
    wire [   255:0] wuve_head = heads[256*WUVE+:256];
    // Fields of VECTOR in wuve_head, vector_* (instruction_word.py):
    wire  [2:0] vector_kind = wuve_head[0+:3];  // of word, see below
    wire [18:0] vector_signals = wuve_head[24+:19];  // channels that it gives a token to
    wire [15:0] vector_strips = wuve_head[48+:16];  // at least 1
    wire [15:0] vector_width = wuve_head[64+:16];  // rounds of a slot in a sweep, at least 1
    wire        vector_planar = wuve_head[80];  // words go by rounds, each kind apart; word 0 leaves as FP16 too
    wire  [1:0] vector_limit = wuve_head[81+:2];  // slots are limited in, 0: the last strip, 1: the last step, 2: all
    wire  [3:0] vector_bank_in = wuve_head[83+:4];
    wire  [3:0] vector_bank_out = wuve_head[87+:4];
    wire        vector_fused = wuve_head[91];  // on an output bank of the STCE
    wire  [1:0] vector_inputs = wuve_head[92+:2];  // log2 of the operands of a round
    wire [23:0] vector_strip_stride = wuve_head[94+:24];  // rounds
    wire [23:0] vector_slot_stride = wuve_head[118+:24];  // rounds
    wire [23:0] vector_stride = wuve_head[142+:24];  // rounds from step to step
    wire  [6:0] vector_used = wuve_head[166+:7];  // slots in use where they are limited
    wire  [8:0] vector_tail = wuve_head[173+:9];  // lanes in use in a row's last round
    wire [11:0] vector_first = wuve_head[182+:12];  // lane operation
    wire  [1:0] vector_words = wuve_head[194+:2];  // log2 of the words of a row
    wire        vector_by_strip = wuve_head[196];  // words go by strips
    wire        vector_two_out = wuve_head[197];  // two words leave per strip
    wire [23:0] vector_fused_base = wuve_head[198+:24];  // first round of outputs
    wire [23:0] vector_rounds = wuve_head[222+:24];  // of words that go by them

    reg  [    23:0] vector_in_base, vector_out_base;  // in words of WUVE_LANES floats
    wire [    23:0] word_at, half_at, new_word_at, new_half_at;
    wire [LINE/2-1:0] new_halves;
    wire            new_word, new_half;
    wire [    23:0] new_word_place = vector_out_base + new_word_at;
    wire [    23:0] new_half_place = {vector_out_base[22:0], 1'b0} + new_half_at;

    always @(posedge clk)
        if (wuve_start) begin
            vector_in_base <= {20'd0, vector_bank_in} * VECTOR_BANK[23:0];
            vector_out_base <= {20'd0, vector_bank_out} * VECTOR_BANK[23:0];
            fused_base <= vector_fused_base;
        end

    unit_control #(.CHANNELS(CHANNELS)) wuve_control (
        .clk(clk),
        .rst(rst),
        .start(start[WUVE]),
        .is_sync(vector_kind == SYNC),
        .signals(vector_signals),
        .unit_start(wuve_start),
        .unit_done(wuve_done),
        .idle(unit_idle[WUVE]),
        .finish(trace_finish[WUVE]),
        .give(gives[CHANNELS*WUVE+:CHANNELS])
    );

    wuve #(
        .LANES(WUVE_LANES),
        .SLOTS(WUVE_SLOTS),
        .PIPELINE_CYCLES(WUVE_PIPELINE),
        .LM(LM),
        .LA(LA),
        .OPERATIONS(WUVE_OPERATIONS)
    ) engine (
        .clk(clk),
        .rst(rst),
        .host_write(host_write && host_queue == 3'd5),
        .host_address(host_address[$clog2(WUVE_OPERATIONS)-1:0]),
        .host_operation(host_word[75:0]),
        .start(wuve_start),
        .strips(vector_strips),
        .width(vector_width),
        .planar(vector_planar),
        .limit(vector_limit),
        .fused(vector_fused),
        .inputs(vector_inputs),
        .strip_stride(vector_strip_stride),
        .slot_stride(vector_slot_stride),
        .stride(vector_stride),
        .used(vector_used),
        .tail(vector_tail),
        .first(vector_first[$clog2(WUVE_OPERATIONS)-1:0]),
        .words(vector_words),
        .by_strip(vector_by_strip),
        .two_out(vector_two_out),
        .rounds(vector_rounds),
        .done(wuve_done),
        .fused_read(fused_read),
        .fused_address(fused_at),
        .fused_data(fused_line),
        .word_address(word_at),
        .word_data(words),
        .half_address(half_at),
        .half_data(halves),
        .half_write(new_half),
        .half_write_address(new_half_at),
        .half_write_data(new_halves),
        .word_write(new_word),
        .word_write_address(new_word_at),
        .fused_write(fused_write),
        .fused_write_address(fused_write_at),
        .line_data(new_words)
    );

    bank_ram #(
        .BITS(VECTOR_WORDS * LINE),
        .WRITE_BITS(8 * READ_BYTES),
        .READ_BITS(LINE)
    ) vector_in (
        .clk(clk),
        .write_enable(fill && fill_buffer == FILL_VECTOR),
        .write_address(fill_beat),
        .write_data(fill_data),
        .read_address(vector_in_base + word_at),
        .read_data(words)
    );

    bank_ram #(
        .BITS(VECTOR_WORDS * LINE),
        .WRITE_BITS(8 * READ_BYTES),
        .READ_BITS(LINE)
    ) vector_half_in (
        .clk(clk),
        .write_enable(fill && fill_buffer == FILL_VECTOR_HALF),
        .write_address(fill_beat),
        .write_data(fill_data),
        .read_address(vector_in_base + half_at),
        .read_data(halves)
    );

    bank_ram #(
        .BITS(VECTOR_WORDS * LINE),
        .WRITE_BITS(LINE),
        .READ_BITS(8 * WRITE_BYTES)
    ) vector_out (
        .clk(clk),
        .write_enable(new_word),
        .write_address(new_word_place),
        .write_data(new_words),
        .read_address(drain_beat),
        .read_data(drain_words)
    );

    // The FP16 results twice: the store unit and SORE read them at the same time.
    bank_ram #(
        .BITS(VECTOR_WORDS * LINE),
        .WRITE_BITS(LINE / 2),
        .READ_BITS(8 * WRITE_BYTES)
    ) vector_half_out (
        .clk(clk),
        .write_enable(new_half),
        .write_address(new_half_place),
        .write_data(new_halves),
        .read_address(drain_beat),
        .read_data(drain_halves)
    );

    bank_ram #(
        .BITS(VECTOR_WORDS * LINE),
        .WRITE_BITS(LINE / 2),
        .READ_BITS(SLOT_BITS)
    ) vector_to_sore (
        .clk(clk),
        .write_enable(new_half),
        .write_address(new_half_place),
        .write_data(new_halves),
        .read_address(sore_base + {8'd0, sore_word}),
        .read_data(sore_weights)
    );

    wire unused = &{1'b0, drain, sore_read, heads, stce_word, asked_plane, stce_head, sore_head, wuve_head, vector_first,
                    VECTOR_BANK[31:24]};
endmodule
