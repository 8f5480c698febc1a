// stce_unit: runs one matmul instruction on the array, from start to done.
//
// start is high for one cycle with the fields beside it, which stay until done, high for one cycle
// when the last output is written; the next start may come in the cycle after. Cycles from start
// to there, with R, C, I and P = passes, N = n_keep, and every tile padded to whole passes:
//
//   OS  issue = steps I; period = max(issue, R I)
//       (P - 1) period + issue + (R - 1) + (C - 1) + R I + LM + 2 LA + 7
//   WS  issue = vectors N (vectors a multiple of I); hop = (N - 1) I + LA
//       turn = (R - 1) hop + (N - 1) I + LM + LA + 4; period = max(issue, R N + turn)
//       (P - 1) period + R N + issue + (R - 1) hop + (C - 1) + LM + LA + 5
//
// Left buffer: bank r is array row r's; a word holds groups (OS) or vectors (WS) of m_group halves.
// Right buffer: bank c is column c's; a word is {index in the group, value}.
// Output buffer: bank c is column c's; OS writes a pass as rows from the last to the first,
// INTERLEAVE columns each; WS writes a column pass as its vectors.
module stce_unit #(
    parameter ROWS = 4,
    parameter COLS = 4,  // at least 2
    parameter INTERLEAVE = 4,
    parameter LM = 2,
    parameter LA = 4,
    parameter WORDS_LOG2 = 4
) (
    input  wire               clk,
    input  wire               reset,
    input  wire               start,
    input  wire               weight_stationary,
    input  wire               accumulate,
    input  wire [4:0]         n_keep,
    input  wire [3:0]         m_group,        // 16 is 0
    input  wire [2:0]         group_shift,
    input  wire [15:0]        steps,          // OS: reduction steps of one output
    input  wire [15:0]        vectors,        // WS: rows of the tile, a multiple of INTERLEAVE
    input  wire [15:0]        row_passes,     // OS: passes over rows. WS: over groups
    input  wire [15:0]        column_passes,
    input  wire [15:0]        left_step,      // words of the left buffer between row passes
    output reg                done,
    output wire [16*ROWS-1:0] left_address,
    input  wire [256*ROWS-1:0] left_data,
    output wire [16*COLS-1:0] right_address,
    input  wire [20*COLS-1:0] right_data,
    output wire [16*COLS-1:0] out_read_address,
    input  wire [32*COLS-1:0] out_read_data,
    output wire [COLS-1:0]    out_write,
    output wire [16*COLS-1:0] out_write_address,
    output wire [32*COLS-1:0] out_write_data
);
    localparam [31:0] DRAIN = ROWS * INTERLEAVE;

    wire [31:0] keep = {27'd0, n_keep};
    wire [31:0] hop = (keep - 32'd1) * INTERLEAVE + LA;
    wire [31:0] fill = ROWS * keep;
    wire [31:0] issue = weight_stationary ? {16'd0, vectors} * keep : {16'd0, steps} * INTERLEAVE;
    wire [31:0] turn = (ROWS - 1) * hop + (keep - 32'd1) * INTERLEAVE + LM + LA + 4;
    wire [31:0] least = weight_stationary ? fill + turn : DRAIN;
    wire [31:0] period = issue > least ? issue : least;
    wire [31:0] column_length = weight_stationary ? fill : issue;
    wire [15:0] inner_passes = weight_stationary ? row_passes : column_passes;
    wire [15:0] outer_passes = weight_stationary ? column_passes : row_passes;

    wire [ROWS-1:0]   valid;
    wire [ROWS-1:0]   first;
    wire [ROWS-1:0]   last;
    wire [ROWS-1:0]   bank;
    /* verilator lint_off UNUSEDSIGNAL */  // only row 0 tells the columns when a pass ends
    wire [ROWS-1:0]   pass_end;
    /* verilator lint_on UNUSEDSIGNAL */
    wire [4*ROWS-1:0] base;
    wire [4*ROWS-1:0] nth;
    wire [ROWS-1:0]   west_valid;
    wire [ROWS-1:0]   west_first;
    wire [ROWS-1:0]   west_last;
    wire [ROWS-1:0]   west_bank;
    wire [4*ROWS-1:0] west_base;
    wire [4*ROWS-1:0] west_nth;

    genvar r;
    genvar c;

    generate
        for (r = 0; r < ROWS; r = r + 1) begin : row
            wire [31:0] wait_cycles = weight_stationary ? fill + r * hop : r;

            row_feeder #(.INTERLEAVE(INTERLEAVE)) feeder (
                .clk(clk),
                .reset(reset),
                .start(start),
                .weight_stationary(weight_stationary),
                .wait_cycles(wait_cycles),
                .period(period),
                .length(issue),
                .inner_passes(inner_passes),
                .outer_passes(outer_passes),
                .base_step(left_step),
                .n_keep(n_keep),
                .m_group(m_group),
                .group_shift(group_shift),
                .address(left_address[16*r +: 16]),
                .base(base[4*r +: 4]),
                .n(nth[4*r +: 4]),
                .bank(bank[r]),
                .valid(valid[r]),
                .first(first[r]),
                .last(last[r]),
                .pass_end(pass_end[r])
            );
        end
    endgenerate

    // The controls wait one cycle for the word.
    delay_line #(.WIDTH(12 * ROWS), .STAGES(1)) with_word (
        .clk(clk),
        .in({valid, first, last, bank, base, nth}),
        .out({west_valid, west_first, west_last, west_bank, west_base, west_nth})
    );

    // Column c does everything c cycles after column 0.
    wire [COLS-1:0] start_chain;
    wire [COLS-1:0] seed_chain;
    wire [COLS-1:0] drain_begin;

    assign start_chain[0] = start;
    assign seed_chain[0] = weight_stationary & valid[0] & first[0];

    delay_line #(.WIDTH(1), .STAGES(ROWS + 2 + LM + LA)) drain_wait (
        .clk(clk),
        .in(pass_end[0] & ~weight_stationary),
        .out(drain_begin[0])
    );

    generate
        for (c = 1; c < COLS; c = c + 1) begin : stagger
            reg [2:0] here;

            always @(posedge clk)
                here <= reset ? 3'd0 : {start_chain[c-1], seed_chain[c-1], drain_begin[c-1]};

            assign start_chain[c] = here[2];
            assign seed_chain[c] = here[1];
            assign drain_begin[c] = here[0];
        end
    endgenerate

    wire [COLS-1:0]    load;
    wire [COLS-1:0]    fill_bank;
    wire [4*COLS-1:0]  fill_n;
    wire [8*COLS-1:0]  fill_row;
    wire [COLS-1:0]    north_load;
    wire [COLS-1:0]    north_bank;
    wire [4*COLS-1:0]  north_n;
    wire [8*COLS-1:0]  north_row;
    wire [16*COLS-1:0] north_weight;
    wire [4*COLS-1:0]  north_index;
    wire [32*COLS-1:0] north_sum;
    wire [32*COLS-1:0] south_sum;
    wire [COLS-1:0]    south_sum_valid;
    wire [32*COLS-1:0] drain_south;
    wire [COLS-1:0]    drain_valid;
    wire [COLS-1:0]    drain_shift;

    delay_line #(.WIDTH(14 * COLS), .STAGES(1)) with_weight (
        .clk(clk),
        .in({load, fill_bank, fill_n, fill_row}),
        .out({north_load, north_bank, north_n, north_row})
    );

    generate
        for (c = 0; c < COLS; c = c + 1) begin : column
            reg [31:0] draining;  // words still to come

            column_feeder feeder (
                .clk(clk),
                .reset(reset),
                .start(start_chain[c]),
                .weight_stationary(weight_stationary),
                .period(period),
                .length(column_length),
                .inner_passes(inner_passes),
                .outer_passes(outer_passes),
                .n_keep(n_keep),
                .address(right_address[16*c +: 16]),
                .load(load[c]),
                .bank(fill_bank[c]),
                .n(fill_n[4*c +: 4]),
                .row(fill_row[8*c +: 8])
            );

            assign north_weight[16*c +: 16] = right_data[20*c +: 16];
            assign north_index[4*c +: 4] = right_data[20*c + 16 +: 4];

            always @(posedge clk) begin
                if (reset) draining <= 32'd0;
                else if (drain_begin[c]) draining <= DRAIN;
                else if (draining != 32'd0) draining <= draining - 32'd1;
            end

            assign drain_valid[c] = draining != 32'd0;
            assign drain_shift[c] = draining != 32'd0;

            column_port #(.LM(LM), .LA(LA)) port (
                .clk(clk),
                .start(start),
                .weight_stationary(weight_stationary),
                .accumulate(accumulate),
                .vectors(vectors),
                .group_passes(row_passes),
                .seed_wanted(seed_chain[c]),
                .seed(north_sum[32*c +: 32]),
                .array_sum(south_sum[32*c +: 32]),
                .array_sum_valid(south_sum_valid[c]),
                .drain_word(drain_south[32*c +: 32]),
                .drain_valid(drain_valid[c]),
                .read_address(out_read_address[16*c +: 16]),
                .read_data(out_read_data[32*c +: 32]),
                .write(out_write[c]),
                .write_address(out_write_address[16*c +: 16]),
                .write_data(out_write_data[32*c +: 32])
            );
        end
    endgenerate

    stce #(
        .ROWS(ROWS),
        .COLS(COLS),
        .INTERLEAVE(INTERLEAVE),
        .LM(LM),
        .LA(LA),
        .WORDS_LOG2(WORDS_LOG2)
    ) array (
        .clk(clk),
        .weight_stationary(weight_stationary),
        .west_word(left_data),
        .west_base(west_base),
        .west_n(west_nth),
        .west_bank(west_bank),
        .west_valid(west_valid),
        .west_first(west_first),
        .west_last(west_last),
        .north_weight(north_weight),
        .north_index(north_index),
        .north_load(north_load),
        .north_bank(north_bank),
        .north_n(north_n),
        .north_row(north_row),
        .north_sum(north_sum),
        .drain_take(drain_begin),
        .drain_shift(drain_shift),
        .south_sum(south_sum),
        .south_sum_valid(south_sum_valid),
        .drain_south(drain_south)
    );

    // The instruction is done when the last column has written the last output.
    reg [31:0] writes_left;
    reg        busy;

    wire [31:0] pass_writes = weight_stationary ? {16'd0, vectors} : DRAIN;

    always @(posedge clk) begin
        done <= 1'b0;
        if (start) begin
            busy <= 1'b1;
            writes_left <= {16'd0, row_passes} * {16'd0, column_passes} * pass_writes;
        end else if (busy & out_write[COLS-1]) begin
            writes_left <= writes_left - 32'd1;
            if (writes_left == 32'd1) begin
                busy <= 1'b0;
                done <= 1'b1;
            end
        end
        if (reset) begin
            busy <= 1'b0;
            done <= 1'b0;
        end
    end
endmodule
