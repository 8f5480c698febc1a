// store_unit: moves on-chip banks to runs of memory through an AXI4 write port.
//
// From two cycles after the start one beat per cycle is read from the bank; FP32 outputs become
// FP16 on the way where the word says so. Data go out two cycles later. An instruction is done
// with the response to its last burst: with a memory that answers L cycles after the last data,
// a transfer of B beats takes B + L + 4 cycles. A SYNC is a fence: it is done SYNC_CYCLES after its
// start, and not before everything that came before it.
//
// BEAT_BYTES   width of the write port
// CHANNELS     token channels
// IN_FLIGHT    instructions and bursts under way, a power of two; at least SYNC_CYCLES + 8
// SYNC_CYCLES  1 + the machine's write latency
module store_unit #(
    parameter BEAT_BYTES = 8,
    parameter CHANNELS = 19,
    parameter IN_FLIGHT = 32,
    parameter SYNC_CYCLES = 21
) (
    input  wire                     clk,
    input  wire                     rst,
    input  wire                     start,
    input  wire [            255:0] word,
    output wire                     idle,
    output wire                     finish,
    output wire                     empty,        // nothing is under way
    output wire [     CHANNELS-1:0] give,

    output wire                     bank_read,
    output wire [              3:0] bank_buffer,
    output wire [             23:0] bank_beat,
    output wire                     bank_narrow,  // beat counts FP32 pairs of beats
    input  wire [16*BEAT_BYTES-1:0] bank_data,    // one cycle later; low half unless narrow

    output wire                     awvalid,
    input  wire                     awready,
    output wire [             39:0] awaddr,
    output wire [              7:0] awlen,
    output wire                     wvalid,
    input  wire                     wready,
    output wire [ 8*BEAT_BYTES-1:0] wdata,
    output wire [   BEAT_BYTES-1:0] wstrb,
    output wire                     wlast,
    input  wire                     bvalid,
    output wire                     bready
);
    localparam LOG = $clog2(IN_FLIGHT);
    localparam LOG_BEAT = $clog2(BEAT_BYTES);
    localparam TICKET = 32 + 1 + CHANNELS + 1;
    localparam [31:0] SYNC_DELAY = SYNC_CYCLES - 1;

    // Values of kind (instruction_word.py):
    localparam [2:0] SYNC = 3'd1;
    // Fields of TRANSFER in word, word_* (instruction_word.py):
    wire  [2:0] word_kind = word[0+:3];  // of word, see below
    wire        word_ends = word[4];  // last word of its instruction: its finish is traced
    wire [18:0] word_signals = word[24+:19];  // channels that it gives a token to
    wire [39:0] word_address = word[48+:40];  // bytes, of the first run
    wire [31:0] word_stride = word[88+:32];  // bytes from run to run
    wire [19:0] word_runs = word[120+:20];
    wire [19:0] word_run_beats = word[140+:20];  // of a run
    wire  [7:0] word_tail_bytes = word[160+:8];  // in a run's last beat, 0: all; store only
    wire  [3:0] word_buffer = word[168+:4];  // of a load or store, see below
    wire [23:0] word_beat = word[172+:24];  // first in the buffer, bank included
    wire [23:0] word_beat_stride = word[196+:24];  // beats from run to run in the buffer
    wire        word_narrow = word[220];  // FP32 to FP16, a beat in the buffer is then two wide; store only
    wire [10:0] word_chunk_beats = word[221+:11];  // contiguous in the bank, 0: the whole run; store only
    wire [23:0] word_chunk_stride = word[232+:24];  // beats from one contiguous part to the next; store only

    wire is_sync = word_kind == SYNC;
    wire [CHANNELS-1:0] signals = word_signals[CHANNELS-1:0];

    // Addresses.
    wire transfer = start && !is_sync;
    wire walker_ready;

    burst_walker #(.BEAT_BYTES(BEAT_BYTES)) walker (
        .clk(clk),
        .rst(rst),
        .command_valid(transfer),
        .command_ready(walker_ready),
        .command_address(word_address),
        .command_stride(word_stride),
        .command_runs(word_runs),
        .command_beats(word_run_beats),
        .burst_valid(awvalid),
        .burst_ready(awready),
        .burst_address(awaddr),
        .burst_length(awlen)
    );

    // Data: one command waits before the one whose beats are read.
    localparam COMMAND = 12 + 20 + 20 + 8 + 4 + 24 + 24 + 1 + 12 + 11 + 24;
    reg               waiting, active;
    reg [COMMAND-1:0] next;
    reg [12-1:0]      run_page;      // address[11:0] of the run's first beat
    reg [12-1:0]      page;          // of this beat
    reg [     19:0]   runs_left, all_beats, beats_left;
    reg [      7:0]   tail;
    reg [      3:0]   from;
    reg [     23:0]   run_offset, offset, offset_stride;
    reg               is_narrow;
    reg [     11:0]   page_stride;
    reg [     10:0]   chunk, chunk_left;
    reg [     23:0]   chunk_offset, chunk_step;
    reg [      7:0]   burst_beat;    // beats of this burst gone out

    wire credit, burst_room;
    wire step = active && credit && burst_room;
    wire run_ends = beats_left == 20'd1;
    wire ends = run_ends && runs_left == 20'd1;
    wire [11:0] page_after = page + BEAT_BYTES[11:0];
    wire burst_ends = run_ends || page_after == 12'd0 || burst_beat == 8'd255;
    wire taking = waiting && (!active || (step && ends));
    wire data_ready = !waiting || taking;
    wire [11:0] next_run_page = run_page + page_stride;
    wire        chunk_ends = chunk != 11'd0 && chunk_left == 11'd1;
    wire [23:0] next_chunk_offset = chunk_offset + chunk_step;

    assign bank_read = step;
    assign bank_buffer = from;
    assign bank_beat = offset;
    assign bank_narrow = is_narrow;

    always @(posedge clk) begin
        if (transfer)
            next <= {word_address[11:0], word_runs, word_run_beats, word_tail_bytes, word_buffer, word_beat,
                     word_beat_stride, word_narrow, word_stride[11:0], word_chunk_beats,
                     word_chunk_stride};
        if (taking) begin
            {run_page, runs_left, all_beats, tail, from, run_offset, offset_stride, is_narrow,
             page_stride, chunk, chunk_step} <= next;
            page <= next[COMMAND-1-:12];
            beats_left <= next[COMMAND-33-:20];
            offset <= next[95-:24];
            chunk_offset <= next[95-:24];
            chunk_left <= next[34-:11];
            burst_beat <= 8'd0;
        end else if (step) begin
            burst_beat <= burst_ends ? 8'd0 : burst_beat + 8'd1;
            if (run_ends) begin
                run_page <= next_run_page;
                page <= next_run_page;
                runs_left <= runs_left - 20'd1;
                beats_left <= all_beats;
                run_offset <= run_offset + offset_stride;
                offset <= run_offset + offset_stride;
                chunk_offset <= run_offset + offset_stride;
                chunk_left <= chunk;
            end else begin
                page <= page_after;
                beats_left <= beats_left - 20'd1;
                offset <= chunk_ends ? next_chunk_offset : offset + 24'd1;
                chunk_left <= chunk_ends ? chunk : chunk_left - 11'd1;
                if (chunk_ends) chunk_offset <= next_chunk_offset;
            end
        end
        if (rst) begin
            waiting <= 1'b0;
            active <= 1'b0;
        end else begin
            waiting <= transfer || (waiting && !taking);
            active <= taking || (active && !(step && ends));
        end
    end

    // What was asked for a cycle ago: narrow it and put it into the FIFO to the W channel.
    reg                  asked, asked_last, asked_narrow;
    reg [BEAT_BYTES-1:0] asked_strobe;
    wire [BEAT_BYTES-1:0] all_bytes = {BEAT_BYTES{1'b1}};
    wire [8*BEAT_BYTES-1:0] halves;

    genvar i;
    generate
        for (i = 0; i < BEAT_BYTES / 2; i = i + 1) begin : g_narrow
            fp32_to_fp16 convert (
                .value(bank_data[32*i+:32]),
                .half(halves[16*i+:16])
            );
        end
    endgenerate

    localparam ENTRY = 8 * BEAT_BYTES + BEAT_BYTES + 1;
    reg  [ENTRY-1:0] entries[0:7];
    reg  [      2:0] entry_head, entry_tail;
    reg  [      3:0] entry_count;
    wire             sent = wvalid && wready;

    assign credit = entry_count + {3'd0, asked} < 4'd8;
    assign wvalid = entry_count != 4'd0;
    assign {wdata, wstrb, wlast} = entries[entry_head];

    always @(posedge clk) begin
        asked_last <= burst_ends;
        asked_narrow <= is_narrow;
        asked_strobe <= run_ends && tail != 8'd0
            ? all_bytes >> (BEAT_BYTES[LOG_BEAT:0] - {1'b0, tail[LOG_BEAT-1:0]})
            : all_bytes;
        if (asked)
            entries[entry_tail] <= {asked_narrow ? halves : bank_data[8*BEAT_BYTES-1:0],
                                    asked_strobe, asked_last};
        if (rst) begin
            asked <= 1'b0;
            entry_head <= 3'd0;
            entry_tail <= 3'd0;
            entry_count <= 4'd0;
        end else begin
            asked <= step;
            if (asked) entry_tail <= entry_tail + 3'd1;
            if (sent) entry_head <= entry_head + 3'd1;
            entry_count <= entry_count + {3'd0, asked} - {3'd0, sent};
        end
    end

    // Responses: per burst whether it ends its transfer; per instruction whom to tell.
    reg  [IN_FLIGHT-1:0] burst_ending;
    reg  [      LOG-1:0] burst_head, burst_tail;
    reg  [        LOG:0] burst_count;
    reg  [   TICKET-1:0] tickets[0:IN_FLIGHT-1];
    reg  [      LOG-1:0] head, tail_ticket;
    reg  [        LOG:0] count;
    reg  [         31:0] now;
    wire [         31:0] due;
    wire                 is_fence, traced;
    wire [ CHANNELS-1:0] ticket_signals;
    assign {due, is_fence, ticket_signals, traced} = tickets[head];

    wire early;
    wire [30:0] waited;
    assign {early, waited} = now - due;
    wire fence_done = count != {(LOG+1){1'b0}} && is_fence && !early;
    wire response_ends = bvalid && burst_ending[burst_head];
    wire complete = fence_done || response_ends;
    wire burst_done = step && burst_ends;

    assign burst_room = !burst_count[LOG];
    assign bready = 1'b1;
    assign empty = count == {(LOG+1){1'b0}};
    assign finish = complete && traced;
    assign give = complete ? ticket_signals : {CHANNELS{1'b0}};

    always @(posedge clk) begin
        if (burst_done) burst_ending[burst_tail] <= ends;
        if (start) tickets[tail_ticket] <= {now + SYNC_DELAY, is_sync, signals, word_ends};
        if (rst) begin
            burst_head <= {LOG{1'b0}};
            burst_tail <= {LOG{1'b0}};
            burst_count <= {(LOG+1){1'b0}};
            head <= {LOG{1'b0}};
            tail_ticket <= {LOG{1'b0}};
            count <= {(LOG+1){1'b0}};
            now <= 32'd0;
        end else begin
            now <= now + 32'd1;
            if (burst_done) burst_tail <= burst_tail + 1'b1;
            if (bvalid) burst_head <= burst_head + 1'b1;
            if (burst_done && !bvalid) burst_count <= burst_count + 1'b1;
            else if (bvalid && !burst_done) burst_count <= burst_count - 1'b1;
            if (start) tail_ticket <= tail_ticket + 1'b1;
            if (complete) head <= head + 1'b1;
            if (start && !complete) count <= count + 1'b1;
            else if (complete && !start) count <= count - 1'b1;
        end
    end

    wire [39:0] beats = is_sync ? 40'd1 : {20'd0, word_runs} * {20'd0, word_run_beats};

    beat_pacer pacer (
        .clk(clk),
        .rst(rst),
        .start(start),
        .beats(beats),
        .walker_ready(walker_ready && data_ready && !count[LOG]),
        .idle(idle)
    );

    wire unused = &{1'b0, word, tail, waited};
endmodule
