// column_port: what leaves one array column, and the partial sums that enter it.
//
// OS: words of the drain are written in the order in which they come; with accumulate each is
//     added to the word that lies at its place. The adder's latency is spent either way.
// WS: a seed is read for every vector of a pass (zero in the first pass over groups, unless
//     accumulate), and the sum that leaves the array is written at the vector's place.
//
// The column's bank of the output buffer answers a read one cycle later.
module column_port #(
    parameter LM = 2,
    parameter LA = 4
) (
    input  wire        clk,
    input  wire        start,
    input  wire        weight_stationary,
    input  wire        accumulate,
    input  wire [15:0] vectors,
    input  wire [15:0] group_passes,  // WS
    input  wire        seed_wanted,   // WS: row 0 issues the first weight of a vector
    output wire [31:0] seed,
    input  wire [31:0] array_sum,     // WS
    input  wire        array_sum_valid,
    input  wire [31:0] drain_word,    // OS
    input  wire        drain_valid,
    output wire [15:0] read_address,
    input  wire [31:0] read_data,
    output wire        write,
    output wire [15:0] write_address,
    output wire [31:0] write_data
);
    // Where the next seed is read, sum is written (WS), or drained word goes (OS).
    reg [15:0] seed_at;
    reg [15:0] seed_begin;
    reg [15:0] seed_vector;
    reg [15:0] seed_group;
    reg [15:0] sum_at;
    reg [15:0] sum_begin;
    reg [15:0] sum_vector;
    reg [15:0] sum_group;
    reg [15:0] drain_read_at;
    reg [15:0] drain_write_at;

    wire seed_row_ends = seed_vector == vectors - 16'd1;
    wire seed_group_ends = seed_group == group_passes - 16'd1;
    wire sum_row_ends = sum_vector == vectors - 16'd1;
    wire sum_group_ends = sum_group == group_passes - 16'd1;

    wire        drained;
    wire [31:0] drained_word;
    wire [31:0] fresh;
    wire [31:0] added;

    always @(posedge clk) begin
        if (seed_wanted) begin
            seed_vector <= seed_row_ends ? 16'd0 : seed_vector + 16'd1;
            seed_at <= seed_at + 16'd1;
            if (seed_row_ends) begin
                seed_group <= seed_group_ends ? 16'd0 : seed_group + 16'd1;
                seed_at <= seed_group_ends ? seed_at + 16'd1 : seed_begin;
                if (seed_group_ends) seed_begin <= seed_at + 16'd1;
            end
        end
        if (weight_stationary & array_sum_valid) begin
            sum_vector <= sum_row_ends ? 16'd0 : sum_vector + 16'd1;
            sum_at <= sum_at + 16'd1;
            if (sum_row_ends) begin
                sum_group <= sum_group_ends ? 16'd0 : sum_group + 16'd1;
                sum_at <= sum_group_ends ? sum_at + 16'd1 : sum_begin;
                if (sum_group_ends) sum_begin <= sum_at + 16'd1;
            end
        end
        if (drain_valid) drain_read_at <= drain_read_at + 16'd1;
        if (drained) drain_write_at <= drain_write_at + 16'd1;
        if (start) begin
            seed_at <= 16'd0;
            seed_begin <= 16'd0;
            seed_vector <= 16'd0;
            seed_group <= 16'd0;
            sum_at <= 16'd0;
            sum_begin <= 16'd0;
            sum_vector <= 16'd0;
            sum_group <= 16'd0;
            drain_read_at <= 16'd0;
            drain_write_at <= 16'd0;
        end
    end

    assign read_address = weight_stationary ? seed_at : drain_read_at;

    // The seed meets the product of the first weight: one cycle in the element, LM in its multiplier.
    wire        fresh_sum;
    wire [31:0] seed_data = fresh_sum ? 32'd0 : read_data;

    delay_line #(.WIDTH(1), .STAGES(1)) fresh_line (
        .clk(clk),
        .in((seed_group == 16'd0) & ~accumulate),
        .out(fresh_sum)
    );
    delay_line #(.WIDTH(32), .STAGES(LM + 1)) seed_line (.clk(clk), .in(seed_data), .out(seed));

    delay_line #(.WIDTH(32), .STAGES(1)) word_line (.clk(clk), .in(drain_word), .out(fresh));
    delay_line #(.WIDTH(1), .STAGES(LA + 1)) valid_line (
        .clk(clk),
        .in(drain_valid),
        .out(drained)
    );
    delay_line #(.WIDTH(32), .STAGES(LA)) bypass_line (.clk(clk), .in(fresh), .out(drained_word));
    fp32_adder #(.STAGES(LA)) adder (.clk(clk), .a(read_data), .b(fresh), .sum(added));

    assign write = weight_stationary ? array_sum_valid : drained;
    assign write_address = weight_stationary ? sum_at : drain_write_at;
    assign write_data = weight_stationary ? array_sum : accumulate ? added : drained_word;
endmodule
