// load_unit: moves runs of memory into on-chip banks through an AXI4 read port.
//
// Bursts go out one per cycle from two cycles after the start; beats come back in order and go
// into the bank in the cycle in which they arrive. `finish` is high with the last beat, so with a
// memory that answers L cycles after the address a transfer of B beats takes B + L + 2 cycles.
// There is no SYNC here: its token would overtake those of the transfers before it.
//
// BEAT_BYTES  width of the read port
// CHANNELS    token channels
// IN_FLIGHT   transfers under way, a power of two; at least the memory's latency + 4
module load_unit #(
    parameter BEAT_BYTES = 8,
    parameter CHANNELS = 19,
    parameter IN_FLIGHT = 64
) (
    input  wire                    clk,
    input  wire                    rst,
    input  wire                    start,
    input  wire [           255:0] word,
    output wire                    idle,
    output wire                    finish,       // a traced instruction's last beat
    output wire                    empty,        // nothing is under way
    output wire [    CHANNELS-1:0] give,

    output wire                    arvalid,
    input  wire                    arready,
    output wire [            39:0] araddr,
    output wire [             7:0] arlen,
    input  wire                    rvalid,
    output wire                    rready,
    input  wire [8*BEAT_BYTES-1:0] rdata,
    input  wire                    rlast,

    output wire                    bank_write,
    output wire [             3:0] bank_buffer,
    output wire [            23:0] bank_beat,
    output wire [8*BEAT_BYTES-1:0] bank_data
);
    localparam LOG = $clog2(IN_FLIGHT);
    localparam TICKET = 20 + 20 + 24 + 24 + 4 + CHANNELS + 1;

    // Fields of TRANSFER in word, word_* (instruction_word.py):
    wire        word_ends = word[4];  // last word of its instruction: its finish is traced
    wire [18:0] word_signals = word[24+:19];  // channels that it gives a token to
    wire [39:0] word_address = word[48+:40];  // bytes, of the first run
    wire [31:0] word_stride = word[88+:32];  // bytes from run to run
    wire [19:0] word_runs = word[120+:20];
    wire [19:0] word_run_beats = word[140+:20];  // of a run
    wire  [3:0] word_buffer = word[168+:4];  // of a load or store, see below
    wire [23:0] word_beat = word[172+:24];  // first in the buffer, bank included
    wire [23:0] word_beat_stride = word[196+:24];  // beats from run to run in the buffer

    wire [CHANNELS-1:0] signals = word_signals[CHANNELS-1:0];
    wire walker_ready;

    burst_walker #(.BEAT_BYTES(BEAT_BYTES)) walker (
        .clk(clk),
        .rst(rst),
        .command_valid(start),
        .command_ready(walker_ready),
        .command_address(word_address),
        .command_stride(word_stride),
        .command_runs(word_runs),
        .command_beats(word_run_beats),
        .burst_valid(arvalid),
        .burst_ready(arready),
        .burst_address(araddr),
        .burst_length(arlen)
    );

    // One ticket per transfer under way: where its beats go and whom to tell.
    reg  [TICKET-1:0] tickets[0:IN_FLIGHT-1];
    reg  [   LOG-1:0] head, tail;
    reg  [     LOG:0] count;
    reg  [      19:0] run, run_beat;     // of the head's next beat
    reg  [      23:0] offset, run_offset;
    wire [TICKET-1:0] ticket = tickets[head];
    wire [      19:0] ticket_runs, ticket_beats;
    wire [      23:0] ticket_beat, ticket_stride;
    wire [       3:0] ticket_buffer;
    wire [CHANNELS-1:0] ticket_signals;
    wire              ticket_traced;
    assign {ticket_runs, ticket_beats, ticket_beat, ticket_stride, ticket_buffer, ticket_signals,
            ticket_traced} = ticket;

    wire run_ends = run_beat == ticket_beats - 20'd1;
    wire ends = rvalid && run_ends && run == ticket_runs - 20'd1;
    wire room = !count[LOG];
    wire [39:0] all_beats = {20'd0, word_runs} * {20'd0, word_run_beats};

    beat_pacer pacer (
        .clk(clk),
        .rst(rst),
        .start(start),
        .beats(all_beats),
        .walker_ready(walker_ready && room),
        .idle(idle)
    );

    assign rready = 1'b1;
    assign empty = count == {(LOG+1){1'b0}};
    assign bank_write = rvalid;
    assign bank_buffer = ticket_buffer;
    assign bank_beat = ticket_beat + offset;
    assign bank_data = rdata;
    assign finish = ends && ticket_traced;
    assign give = ends ? ticket_signals : {CHANNELS{1'b0}};

    always @(posedge clk) begin
        if (start)
            tickets[tail] <= {word_runs, word_run_beats, word_beat, word_beat_stride, word_buffer,
                              signals, word_ends};
        if (rst) begin
            head <= {LOG{1'b0}};
            tail <= {LOG{1'b0}};
            count <= {(LOG+1){1'b0}};
            run <= 20'd0;
            run_beat <= 20'd0;
            offset <= 24'd0;
            run_offset <= 24'd0;
        end else begin
            if (start) tail <= tail + 1'b1;
            if (ends) head <= head + 1'b1;
            if (start && !ends) count <= count + 1'b1;
            else if (ends && !start) count <= count - 1'b1;
            if (ends) begin
                run <= 20'd0;
                run_beat <= 20'd0;
                offset <= 24'd0;
                run_offset <= 24'd0;
            end else if (rvalid && run_ends) begin
                run <= run + 20'd1;
                run_beat <= 20'd0;
                offset <= run_offset + ticket_stride;
                run_offset <= run_offset + ticket_stride;
            end else if (rvalid) begin
                run_beat <= run_beat + 20'd1;
                offset <= offset + 24'd1;
            end
        end
    end

    wire unused = &{1'b0, rlast, word};
endmodule
