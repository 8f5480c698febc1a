// row_feeder: issues the words and controls of one array row for a whole matmul instruction.
//
// wait_cycles after start it begins; every period cycles it begins the next pass and issues for
// length cycles. The address is for the row's bank of the left buffer, whose word comes one cycle
// later; the controls belong to that word.
//
// OS: the word changes with the group; a group is held n_keep x INTERLEAVE cycles. Passes over
//     columns come first, then the next rows: inner counts columns and base_step is for the outer.
// WS: INTERLEAVE vectors take turns, n_keep times each. Passes over groups come first.
module row_feeder #(
    parameter INTERLEAVE = 4
) (
    input  wire        clk,
    input  wire        reset,
    input  wire        start,
    input  wire        weight_stationary,
    input  wire [31:0] wait_cycles,
    input  wire [31:0] period,
    input  wire [31:0] length,        // cycles of issue in a pass
    input  wire [15:0] inner_passes,
    input  wire [15:0] outer_passes,
    input  wire [15:0] base_step,     // words between one pass and the next
    input  wire [4:0]  n_keep,
    input  wire [3:0]  m_group,       // 16 is 0: such a word holds one group
    input  wire [2:0]  group_shift,   // log2 of the groups in a word
    output reg  [15:0] address,
    output reg  [3:0]  base,
    output reg  [3:0]  n,
    output reg         bank,
    output reg         valid,
    output reg         first,
    output reg         last,
    output reg         pass_end       // with the last word of a pass
);
    localparam integer LAST_SLOT = INTERLEAVE - 1;

    reg        waiting;
    reg        running;
    reg [31:0] left;          // cycles until the first pass
    reg [31:0] cycle;         // in the pass
    reg [7:0]  slot;
    reg [3:0]  nth;
    reg [3:0]  in_word;       // group (OS) or vector (WS) within the word
    reg [3:0]  lane;          // lane at which it begins
    reg [15:0] word;
    reg [3:0]  block_in_word; // WS: where the block of INTERLEAVE vectors began
    reg [3:0]  block_lane;
    reg [15:0] block_word;
    reg [15:0] inner;
    reg [15:0] outer;
    reg [15:0] pass_base;
    reg        parity;

    wire       issuing = running & (cycle < length);
    wire       ends = cycle == length - 32'd1;
    wire       turn = slot == LAST_SLOT[7:0];
    wire       nth_last = {1'b0, nth} == n_keep - 5'd1;
    wire [3:0] in_word_last = (4'd1 << group_shift) - 4'd1;
    wire       word_ends = in_word == in_word_last;
    wire       period_ends = cycle == period - 32'd1;
    wire       inner_ends = inner == inner_passes - 16'd1;
    wire       outer_ends = outer == outer_passes - 16'd1;

    always @(posedge clk) begin
        valid <= issuing;
        pass_end <= issuing & ends;
        address <= pass_base + word;
        base <= lane;
        n <= nth;
        bank <= parity;
        first <= weight_stationary ? nth == 4'd0 : cycle < INTERLEAVE;
        last <= weight_stationary ? nth_last : cycle >= length - INTERLEAVE;

        if (issuing) begin
            slot <= turn ? 8'd0 : slot + 8'd1;
            if (weight_stationary) begin
                // Next vector, or back to the block's first for its next weight.
                if (turn & ~nth_last) begin
                    in_word <= block_in_word;
                    lane <= block_lane;
                    word <= block_word;
                end else begin
                    in_word <= word_ends ? 4'd0 : in_word + 4'd1;
                    lane <= word_ends ? 4'd0 : lane + m_group;
                    word <= word_ends ? word + 16'd1 : word;
                    if (turn) begin
                        block_in_word <= word_ends ? 4'd0 : in_word + 4'd1;
                        block_lane <= word_ends ? 4'd0 : lane + m_group;
                        block_word <= word_ends ? word + 16'd1 : word;
                    end
                end
                if (turn) nth <= nth_last ? 4'd0 : nth + 4'd1;
            end else if (turn) begin
                nth <= nth_last ? 4'd0 : nth + 4'd1;
                if (nth_last) begin
                    in_word <= word_ends ? 4'd0 : in_word + 4'd1;
                    lane <= word_ends ? 4'd0 : lane + m_group;
                    word <= word_ends ? word + 16'd1 : word;
                end
            end
        end

        if (running) begin
            cycle <= cycle + 32'd1;
            if (period_ends) begin
                cycle <= 32'd0;
                slot <= 8'd0;
                nth <= 4'd0;
                in_word <= 4'd0;
                lane <= 4'd0;
                word <= 16'd0;
                block_in_word <= 4'd0;
                block_lane <= 4'd0;
                block_word <= 16'd0;
                parity <= ~parity;
                inner <= inner_ends ? 16'd0 : inner + 16'd1;
                if (inner_ends) outer <= outer + 16'd1;
                if (weight_stationary) pass_base <= inner_ends ? 16'd0 : pass_base + base_step;
                else if (inner_ends) pass_base <= pass_base + base_step;
                if (inner_ends & outer_ends) running <= 1'b0;
            end
        end else if (waiting) begin
            left <= left - 32'd1;
            if (left == 32'd0) begin
                waiting <= 1'b0;
                running <= 1'b1;
            end
        end

        if (start) begin
            waiting <= wait_cycles != 32'd0;
            running <= wait_cycles == 32'd0;
            left <= wait_cycles - 32'd1;
            cycle <= 32'd0;
            slot <= 8'd0;
            nth <= 4'd0;
            in_word <= 4'd0;
            lane <= 4'd0;
            word <= 16'd0;
            block_in_word <= 4'd0;
            block_lane <= 4'd0;
            block_word <= 16'd0;
            inner <= 16'd0;
            outer <= 16'd0;
            pass_base <= 16'd0;
            parity <= 1'b0;
        end
        if (reset) begin
            waiting <= 1'b0;
            running <= 1'b0;
            valid <= 1'b0;
            pass_end <= 1'b0;
        end
    end
endmodule
