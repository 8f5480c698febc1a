// output_buffer: the STCE's FP32 outputs; one memory per array column.
//
// The store unit sees word 0 of columns 0 ... COLS - 1, word 1 ..., in beats of BEAT_BYTES raw
// bytes, or of 2 BEAT_BYTES when it narrows them to FP16.
//
// WORDS       words per column, all banks together
// COLS        of the array, a power of two
// BEAT_BYTES  of a store, a power of two, 4 to 2 COLS
module output_buffer #(
    parameter WORDS = 256,
    parameter COLS = 4,
    parameter BEAT_BYTES = 8
) (
    input  wire                     clk,
    input  wire [         COLS-1:0] write_enable,
    input  wire [      24*COLS-1:0] write_address,
    input  wire [      32*COLS-1:0] write_data,
    input  wire [      24*COLS-1:0] read_address,
    output wire [      32*COLS-1:0] read_data,
    input  wire [             23:0] store_beat,
    input  wire                     store_narrow,
    output wire [16*BEAT_BYTES-1:0] store_data
);
    localparam WIDTH = $clog2(WORDS) > 0 ? $clog2(WORDS) : 1;
    localparam WIDE = BEAT_BYTES / 2;       // columns of a narrowed beat
    localparam GROUPS = COLS / WIDE;

    wire [31:0] wide_beat = {8'd0, store_narrow ? store_beat : {1'b0, store_beat[23:1]}};
    wire [31:0] store_word = wide_beat / GROUPS;
    reg  [31:0] group;
    reg         upper;  // the raw beat is the upper half of the wide one
    wire [32*COLS-1:0] line;
    wire [16*BEAT_BYTES-1:0] wide = line[16*BEAT_BYTES*group+:16*BEAT_BYTES];

    always @(posedge clk) begin
        group <= wide_beat % GROUPS;
        upper <= !store_narrow && store_beat[0];
    end
    assign store_data = upper ? {wide[8*BEAT_BYTES-1:0], wide[16*BEAT_BYTES-1:8*BEAT_BYTES]} : wide;

    genvar c;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_column
            reg  [31:0] memory[0:WORDS-1];
            reg  [31:0] answer, store_answer;
            wire [23:0] write_at = write_address[24*c+:24];
            wire [23:0] read_at = read_address[24*c+:24];
            always @(posedge clk) begin
                if (write_enable[c]) memory[write_at[WIDTH-1:0]] <= write_data[32*c+:32];
                answer <= memory[read_at[WIDTH-1:0]];
                store_answer <= memory[store_word[WIDTH-1:0]];
            end
            assign read_data[32*c+:32] = answer;
            assign line[32*c+:32] = store_answer;
            wire unused = &{1'b0, write_at, read_at};
        end
    endgenerate

    wire unused = &{1'b0, store_word};
endmodule
