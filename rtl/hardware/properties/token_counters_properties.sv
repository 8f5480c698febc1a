// token_counters_properties: a channel has a token exactly when more were given than taken.
module token_counters_properties (
    input wire       clk,
    input wire [5:0] initial_counts,
    input wire [1:0] give,
    input wire [1:0] take
);
    wire [1:0] available;
    reg        started = 1'b0;
    reg  [2:0] held[0:1];

    token_counters #(.CHANNELS(2), .WIDTH(3)) dut (
        .clk(clk), .load(!started), .initial_counts(initial_counts), .give(give), .take(take), .available(available)
    );

    genvar c;
    generate
        for (c = 0; c < 2; c = c + 1) begin : g_channel
            always @(posedge clk) begin
                held[c] <= !started ? initial_counts[3*c+:3] : held[c] + {2'd0, give[c]} - {2'd0, take[c]};
            end
            always @(*)
                if (started) begin
                    assume (!take[c] || available[c]);
                    assume (!give[c] || held[c] != 3'd7);
                    assert (available[c] == (held[c] != 3'd0));
                end
        end
    endgenerate
    always @(posedge clk) started <= 1'b1;
endmodule
