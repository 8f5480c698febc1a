// output_buffer: the STCE's FP32 outputs; one memory per bank and array column.
//
// A bank has one owner at a time, as tokens say: the STCE, WUVE for work fused behind a product, or
// the store unit. The store unit sees word 0 of columns 0 ... COLS - 1, word 1 ..., in beats of
// BEAT_BYTES raw bytes, or of 2 BEAT_BYTES when it narrows them to FP16. WUVE sees the same order in
// rounds of LANES words.
//
// WORDS       words per column, all banks together
// BANKS       of them
// COLS        of the array, a power of two
// LANES       of WUVE, a power of two
// BEAT_BYTES  of a store, a power of two, 4 to 2 COLS
module output_buffer #(
    parameter WORDS = 256,
    parameter BANKS = 2,
    parameter COLS = 4,
    parameter LANES = 4,
    parameter BEAT_BYTES = 8
) (
    input  wire                     clk,
    input  wire [         COLS-1:0] write_enable,
    input  wire [      24*COLS-1:0] write_address,
    input  wire [      32*COLS-1:0] write_data,
    input  wire [      24*COLS-1:0] read_address,
    output wire [      32*COLS-1:0] read_data,
    input  wire                     lane_read,
    input  wire [             23:0] lane_read_address,   // rounds
    output wire [     32*LANES-1:0] lane_read_data,
    input  wire                     lane_write,
    input  wire [             23:0] lane_write_address,
    input  wire [     32*LANES-1:0] lane_write_data,
    input  wire [             23:0] store_beat,
    input  wire                     store_narrow,
    output wire [16*BEAT_BYTES-1:0] store_data
);
    localparam DEEP = LANES > COLS ? LANES / COLS : 1;   // words of a column in a line of memory
    localparam ROUNDS = COLS > LANES ? COLS / LANES : 1; // rounds in a line
    localparam LINES = WORDS / BANKS / DEEP;
    localparam WIDTH = $clog2(LINES) > 0 ? $clog2(LINES) : 1;
    localparam WIDE = BEAT_BYTES / 2;       // columns of a narrowed beat
    localparam GROUPS = COLS / WIDE;
    localparam LINE = 32 * COLS * DEEP;

    wire [31:0] wide_beat = {8'd0, store_narrow ? store_beat : {1'b0, store_beat[23:1]}};
    wire [31:0] store_word = wide_beat / GROUPS;
    wire [31:0] store_line = store_word / DEEP;
    wire [31:0] lane_read_line = {8'd0, lane_read_address} / ROUNDS;
    wire [31:0] lane_write_line = {8'd0, lane_write_address} / ROUNDS;
    wire [31:0] lane_write_part = {8'd0, lane_write_address} % ROUNDS;
    reg  [31:0] group, store_part, lane_part, store_bank, lane_bank;
    reg         upper;  // the raw beat is the upper half of the wide one

    always @(posedge clk) begin
        group <= wide_beat % GROUPS;
        upper <= !store_narrow && store_beat[0];
        store_part <= store_word % DEEP;
        store_bank <= store_line / LINES;
        lane_part <= {8'd0, lane_read_address} % ROUNDS;
        lane_bank <= lane_read_line / LINES;
    end

    // What the banks answer, a line each: word 0 of all columns, word 1 ...
    wire [LINE*BANKS-1:0] answers, store_answers;
    wire [      LINE-1:0] lane_line = answers[LINE*lane_bank+:LINE];
    wire [      LINE-1:0] store_lines = store_answers[LINE*store_bank+:LINE];
    wire [   32*COLS-1:0] line = store_lines[32*COLS*store_part+:32*COLS];
    wire [16*BEAT_BYTES-1:0] wide = line[16*BEAT_BYTES*group+:16*BEAT_BYTES];
    assign store_data = upper ? {wide[8*BEAT_BYTES-1:0], wide[16*BEAT_BYTES-1:8*BEAT_BYTES]} : wide;
    assign lane_read_data = lane_line[32*LANES*lane_part+:32*LANES];

    genvar b, c, d;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_answer
            wire [31:0] at = {8'd0, read_address[24*c+:24]};
            reg  [31:0] bank, part;
            always @(posedge clk) begin
                bank <= at / DEEP / LINES;
                part <= at % DEEP;
            end
            assign read_data[32*c+:32] = answers[LINE*bank+32*COLS*part+32*c+:32];
        end
        for (b = 0; b < BANKS; b = b + 1) begin : g_bank
            wire [31:0] first = b * LINES;
            wire [31:0] store_at = store_line - first;
            wire        lane_reads = lane_read && lane_read_line / LINES == b;
            wire        lane_writes = lane_write && lane_write_line / LINES == b;
            for (c = 0; c < COLS; c = c + 1) begin : g_column
                wire [31:0] write_at = {8'd0, write_address[24*c+:24]};
                wire [31:0] read_at = {8'd0, read_address[24*c+:24]};
                wire        writes = write_enable[c] && write_at / DEEP / LINES == b;
                wire [31:0] write_line = (lane_writes ? lane_write_line : write_at / DEEP) - first;
                wire [31:0] read_line = (lane_reads ? lane_read_line : read_at / DEEP) - first;
                for (d = 0; d < DEEP; d = d + 1) begin : g_word
                    // The lane whose element this is, and whether the round has it.
                    localparam LANE = (COLS * d + c) % LANES;
                    wire mine = lane_writes && lane_write_part == c / LANES;
                    reg [31:0] memory[0:LINES-1];
                    reg [31:0] answer, store_answer;
                    always @(posedge clk) begin
                        if (mine || (writes && write_at % DEEP == d))
                            memory[write_line[WIDTH-1:0]] <= mine ? lane_write_data[32*LANE+:32]
                                                                   : write_data[32*c+:32];
                        answer <= memory[read_line[WIDTH-1:0]];
                        store_answer <= memory[store_at[WIDTH-1:0]];
                    end
                    assign answers[LINE*b+32*(COLS*d+c)+:32] = answer;
                    assign store_answers[LINE*b+32*(COLS*d+c)+:32] = store_answer;
                end
                wire unused = &{1'b0, write_line, read_line};
            end
            wire unused = &{1'b0, store_at};
        end
    endgenerate
endmodule
