// stce: ROWS x COLS processing elements and their systolic wires.
//
// Row r's west port, column c's north ports and drain controls are flat vectors, element 0 lowest.
// Whatever enters row r or column c must come r or c cycles after what enters row 0, column 0
// (weight-stationary rows are further apart; see row_feeder).
module stce #(
    parameter ROWS = 4,
    parameter COLS = 4,
    parameter INTERLEAVE = 4,
    parameter LM = 2,
    parameter LA = 4,
    parameter WORDS_LOG2 = 4
) (
    input  wire                clk,
    input  wire                weight_stationary,
    input  wire [256*ROWS-1:0] west_word,
    input  wire [4*ROWS-1:0]   west_base,
    input  wire [4*ROWS-1:0]   west_n,
    input  wire [ROWS-1:0]     west_bank,
    input  wire [ROWS-1:0]     west_valid,
    input  wire [ROWS-1:0]     west_first,
    input  wire [ROWS-1:0]     west_last,
    input  wire [16*COLS-1:0]  north_weight,
    input  wire [4*COLS-1:0]   north_index,
    input  wire [COLS-1:0]     north_load,
    input  wire [COLS-1:0]     north_bank,
    input  wire [4*COLS-1:0]   north_n,
    input  wire [8*COLS-1:0]   north_row,
    input  wire [32*COLS-1:0]  north_sum,
    input  wire [COLS-1:0]     drain_take,
    input  wire [COLS-1:0]     drain_shift,
    output wire [32*COLS-1:0]  south_sum,
    output wire [COLS-1:0]     south_sum_valid,
    output wire [32*COLS-1:0]  drain_south
);
    genvar r;
    genvar c;

    // Wire (r, c) enters element (r, c); index ROWS or COLS leaves the array.
    wire [255:0] word  [0:ROWS-1][0:COLS];
    wire [3:0]   base  [0:ROWS-1][0:COLS];
    wire [3:0]   nth   [0:ROWS-1][0:COLS];
    wire         use_bank [0:ROWS-1][0:COLS];
    wire         valid [0:ROWS-1][0:COLS];
    wire         first [0:ROWS-1][0:COLS];
    wire         last  [0:ROWS-1][0:COLS];
    wire [15:0]  weight [0:ROWS][0:COLS-1];
    wire [3:0]   index [0:ROWS][0:COLS-1];
    wire         load  [0:ROWS][0:COLS-1];
    wire         fill_bank [0:ROWS][0:COLS-1];
    wire [3:0]   fill_n [0:ROWS][0:COLS-1];
    wire [7:0]   row   [0:ROWS][0:COLS-1];
    wire [31:0]  sum   [0:ROWS][0:COLS-1];
    wire         sum_valid [0:ROWS][0:COLS-1];
    wire [31:0]  drain [0:ROWS][0:COLS-1];

    generate
        for (r = 0; r < ROWS; r = r + 1) begin : west
            assign word[r][0] = west_word[256*r +: 256];
            assign base[r][0] = west_base[4*r +: 4];
            assign nth[r][0] = west_n[4*r +: 4];
            assign use_bank[r][0] = west_bank[r];
            assign valid[r][0] = west_valid[r];
            assign first[r][0] = west_first[r];
            assign last[r][0] = west_last[r];
        end
        for (c = 0; c < COLS; c = c + 1) begin : north
            assign weight[0][c] = north_weight[16*c +: 16];
            assign index[0][c] = north_index[4*c +: 4];
            assign load[0][c] = north_load[c];
            assign fill_bank[0][c] = north_bank[c];
            assign fill_n[0][c] = north_n[4*c +: 4];
            assign row[0][c] = north_row[8*c +: 8];
            assign sum[0][c] = north_sum[32*c +: 32];
            assign sum_valid[0][c] = 1'b0;
            assign drain[0][c] = 32'd0;
            assign south_sum[32*c +: 32] = sum[ROWS][c];
            assign south_sum_valid[c] = sum_valid[ROWS][c];
            assign drain_south[32*c +: 32] = drain[ROWS][c];
        end
        for (r = 0; r < ROWS; r = r + 1) begin : rows
            for (c = 0; c < COLS; c = c + 1) begin : cols
                uspe #(
                    .INTERLEAVE(INTERLEAVE),
                    .LM(LM),
                    .LA(LA),
                    .WORDS_LOG2(WORDS_LOG2)
                ) element (
                    .clk(clk),
                    .weight_stationary(weight_stationary),
                    .west_word(word[r][c]),
                    .west_base(base[r][c]),
                    .west_n(nth[r][c]),
                    .west_bank(use_bank[r][c]),
                    .west_valid(valid[r][c]),
                    .west_first(first[r][c]),
                    .west_last(last[r][c]),
                    .east_word(word[r][c+1]),
                    .east_base(base[r][c+1]),
                    .east_n(nth[r][c+1]),
                    .east_bank(use_bank[r][c+1]),
                    .east_valid(valid[r][c+1]),
                    .east_first(first[r][c+1]),
                    .east_last(last[r][c+1]),
                    .north_weight(weight[r][c]),
                    .north_index(index[r][c]),
                    .north_load(load[r][c]),
                    .north_bank(fill_bank[r][c]),
                    .north_n(fill_n[r][c]),
                    .north_row(row[r][c]),
                    .south_weight(weight[r+1][c]),
                    .south_index(index[r+1][c]),
                    .south_load(load[r+1][c]),
                    .south_bank(fill_bank[r+1][c]),
                    .south_n(fill_n[r+1][c]),
                    .south_row(row[r+1][c]),
                    .north_sum(sum[r][c]),
                    .south_sum(sum[r+1][c]),
                    .south_sum_valid(sum_valid[r+1][c]),
                    .drain_take(drain_take[c]),
                    .drain_shift(drain_shift[c]),
                    .drain_north(drain[r][c]),
                    .drain_south(drain[r+1][c])
                );
            end
        end
    endgenerate
endmodule
