// column_feeder: issues the weights of one array column for a whole matmul instruction.
//
// Every period cycles it begins a pass and issues length words, in the order in which they lie in
// the column's bank of the right buffer (the word comes one cycle after its address).
//
// OS: the weights of all column passes, read again for every pass over rows.
// WS: n_keep weights for each row, row 0 first, into the bank of the pass.
module column_feeder (
    input  wire        clk,
    input  wire        reset,
    input  wire        start,
    input  wire        weight_stationary,
    input  wire [31:0] period,
    input  wire [31:0] length,
    input  wire [15:0] inner_passes,
    input  wire [15:0] outer_passes,
    input  wire [4:0]  n_keep,
    output reg  [15:0] address,
    output reg         load,     // WS: the word is for an element's bank
    output reg         bank,
    output reg  [3:0]  n,
    output reg  [7:0]  row
);
    reg        running;
    reg [31:0] cycle;
    reg [15:0] next;
    reg [3:0]  nth;
    reg [7:0]  to_row;
    reg        parity;
    reg [15:0] inner;
    reg [15:0] outer;

    wire issuing = running & (cycle < length);
    wire nth_last = {1'b0, nth} == n_keep - 5'd1;
    wire period_ends = cycle == period - 32'd1;
    wire inner_ends = inner == inner_passes - 16'd1;
    wire outer_ends = outer == outer_passes - 16'd1;

    always @(posedge clk) begin
        address <= next;
        load <= issuing & weight_stationary;
        bank <= parity;
        n <= nth;
        row <= to_row;

        if (issuing) begin
            next <= next + 16'd1;
            nth <= nth_last ? 4'd0 : nth + 4'd1;
            if (nth_last) to_row <= to_row + 8'd1;
        end
        if (running) begin
            cycle <= cycle + 32'd1;
            if (period_ends) begin
                cycle <= 32'd0;
                nth <= 4'd0;
                to_row <= 8'd0;
                parity <= ~parity;
                inner <= inner_ends ? 16'd0 : inner + 16'd1;
                if (inner_ends) outer <= outer + 16'd1;
                if (inner_ends & ~weight_stationary) next <= 16'd0;
                if (inner_ends & outer_ends) running <= 1'b0;
            end
        end
        if (start) begin
            running <= 1'b1;
            cycle <= 32'd0;
            next <= 16'd0;
            nth <= 4'd0;
            to_row <= 8'd0;
            parity <= 1'b0;
            inner <= 16'd0;
            outer <= 16'd0;
        end
        if (reset) begin
            running <= 1'b0;
            load <= 1'b0;
        end
    end
endmodule
