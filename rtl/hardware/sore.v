// sore: SORE, the sparse online reduction engine: keeps N of every M in `groups` groups of FP16.
//
// LANES sorters work in parallel on one round of LANES groups for M cycles. A data provider
// fetches one word of LANES elements per cycle from the source bank and turns it:
//   along  (across = 0): groups are contiguous, word w of a round holds elements w LANES ... of it;
//   across (across = 1): groups run across rows of `inner_words` words; lane i sorts column i.
// Kept elements leave slot by slot, slot = round N + n: one FP16 value and one 4-bit index per
// lane, so that a slot is a word of the compressed layout that the STCE reads.
//
// `done` is high in cycle rounds M + PIPELINE_CYCLES - 1 after `start`. The provider needs M
// cycles before the sorters, these 3 cycles and N slots behind: PIPELINE_CYCLES >= 16 + 15 + 3.
module sore #(
    parameter LANES = 8,             // a power of two; 2 to 64
    parameter PIPELINE_CYCLES = 34,  // at least 34
    parameter KEEP_MAX = 15,         // largest N; 1 to 15
    parameter GROUP_WIDTH = 24,      // bits of the group count
    parameter ADDRESS_WIDTH = 16     // bits of a word address
) (
    input  wire                     clk,
    input  wire                     rst,
    input  wire                     start,
    input  wire [  GROUP_WIDTH-1:0] rounds,       // groups / LANES rounded up; at least 1
    input  wire [              4:0] pattern_m,    // 2 to 16
    input  wire [              3:0] pattern_n,    // 1 to KEEP_MAX, less than M
    input  wire                     across,
    input  wire [ADDRESS_WIDTH-1:0] inner_words,  // words per row, when across
    output wire                     done,

    output wire                     read_enable,  // data one cycle later
    output wire [ADDRESS_WIDTH-1:0] read_address,
    input  wire [     16*LANES-1:0] read_data,

    output wire                     write_enable,
    output reg  [ADDRESS_WIDTH-1:0] write_slot,
    output wire [     16*LANES-1:0] write_values,
    output wire [      4*LANES-1:0] write_indices
);
    localparam LANE_WIDTH = $clog2(LANES);
    localparam COUNT_WIDTH = GROUP_WIDTH + 5;

    reg  [              4:0] m;
    reg  [              3:0] n;
    reg                      is_across;
    reg  [ADDRESS_WIDTH-1:0] row_words;
    reg  [  GROUP_WIDTH-1:0] all_rounds;

    // Fetch: one word per cycle, rounds x M words.
    reg                      fetching;
    reg  [  GROUP_WIDTH-1:0] fetch_round;
    reg  [              3:0] fetch_word;
    reg  [ADDRESS_WIDTH-1:0] address;     // of the word now asked for
    reg  [ADDRESS_WIDTH-1:0] column;      // of the round in its row, when across
    reg  [ADDRESS_WIDTH-1:0] round_start; // first word of the round, when across
    wire                     fetch_round_end = {1'b0, fetch_word} == m - 5'd1;
    wire                     row_end = column == row_words - {{(ADDRESS_WIDTH-1){1'b0}}, 1'b1};

    assign read_enable = fetching;
    assign read_address = address;

    always @(posedge clk) begin
        if (rst) begin
            fetching <= 1'b0;
        end else if (start) begin
            fetching <= 1'b1;
            m <= pattern_m;
            n <= pattern_n;
            is_across <= across;
            row_words <= inner_words;
            all_rounds <= rounds;
            fetch_round <= {GROUP_WIDTH{1'b0}};
            fetch_word <= 4'd0;
            address <= {ADDRESS_WIDTH{1'b0}};
            round_start <= {ADDRESS_WIDTH{1'b0}};
            column <= {ADDRESS_WIDTH{1'b0}};
        end else if (fetching) begin
            fetch_word <= fetch_round_end ? 4'd0 : fetch_word + 4'd1;
            if (fetch_round_end) begin
                fetch_round <= fetch_round + {{(GROUP_WIDTH-1){1'b0}}, 1'b1};
                fetching <= fetch_round + {{(GROUP_WIDTH-1){1'b0}}, 1'b1} != all_rounds;
                column <= row_end ? {ADDRESS_WIDTH{1'b0}} : column + 1'b1;
            end
            if (!is_across || (fetch_round_end && row_end)) begin
                address <= address + 1'b1;
                if (fetch_round_end) round_start <= address + 1'b1;
            end else if (fetch_round_end) begin
                address <= round_start + 1'b1;
                round_start <= round_start + 1'b1;
            end else begin
                address <= address + row_words;
            end
        end
    end

    // Provider: two pages of one round each, written word by word, read element by element.
    reg [16*LANES-1:0] page[0:31];
    reg                arrived;
    reg                fill_page;
    reg [         3:0] fill_word;
    reg                sorting;       // a page is being read
    reg [         3:0] sort_element;
    reg [GROUP_WIDTH-1:0] sort_round;
    wire               fill_end = arrived && {1'b0, fill_word} == m - 5'd1;
    wire               sort_end = {1'b0, sort_element} == m - 5'd1;
    wire               sort_page = sort_round[0];

    always @(posedge clk) begin
        if (arrived) page[{fill_page, fill_word}] <= read_data;
        if (rst) begin
            arrived <= 1'b0;
            sorting <= 1'b0;
        end else begin
            arrived <= fetching;
            if (start) begin
                fill_page <= 1'b0;
                fill_word <= 4'd0;
                sort_round <= {GROUP_WIDTH{1'b0}};
                sort_element <= 4'd0;
            end else begin
                if (arrived) fill_word <= fill_end ? 4'd0 : fill_word + 4'd1;
                if (fill_end) fill_page <= !fill_page;
                if (sorting) begin
                    sort_element <= sort_end ? 4'd0 : sort_element + 4'd1;
                    if (sort_end) sort_round <= sort_round + {{(GROUP_WIDTH-1){1'b0}}, 1'b1};
                end
                // The next page is complete exactly when this one has been read.
                if (fill_end) sorting <= 1'b1;
                else if (sorting && sort_end) sorting <= 1'b0;
            end
        end
    end

    wire [LANES-1:0] lane_out;
    genvar lane;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : g_lane
            localparam [LANE_WIDTH+3:0] LANE = lane;
            // Place of the element in the round, as {word, element in word}.
            wire [LANE_WIDTH+3:0] flat =
                LANE * {{(LANE_WIDTH-1){1'b0}}, m} + {{LANE_WIDTH{1'b0}}, sort_element};
            wire [3:0] word = is_across ? sort_element : flat[LANE_WIDTH+3:LANE_WIDTH];
            wire [LANE_WIDTH-1:0] place = is_across ? LANE[LANE_WIDTH-1:0] : flat[LANE_WIDTH-1:0];
            wire [16*LANES-1:0] line = page[{sort_page, word}];
            sore_lane #(
                .KEEP_MAX(KEEP_MAX)
            ) u_lane (
                .clk(clk),
                .rst(rst),
                .valid(sorting),
                .first(sort_element == 4'd0),
                .last(sort_end),
                .index(sort_element),
                .value(line[16*place+:16]),
                .keep(n),
                .out_valid(lane_out[lane]),
                .out_value(write_values[16*lane+:16]),
                .out_index(write_indices[4*lane+:4])
            );
        end
    endgenerate

    assign write_enable = lane_out[0];
    always @(posedge clk) begin
        if (start) write_slot <= {ADDRESS_WIDTH{1'b0}};
        else if (write_enable) write_slot <= write_slot + 1'b1;
    end

    // Duration: rounds x M, then the pipeline.
    reg                   busy;
    reg [COUNT_WIDTH-1:0] left;
    always @(posedge clk) begin
        if (rst) begin
            busy <= 1'b0;
        end else if (start) begin
            busy <= 1'b1;
            left <= rounds * pattern_m + PIPELINE_CYCLES - 2;
        end else if (busy) begin
            left <= left - 1'b1;
            busy <= !done;
        end
    end
    assign done = busy && left == {COUNT_WIDTH{1'b0}};

    wire unused = &{1'b0, lane_out};
endmodule
