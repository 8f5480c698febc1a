// row_feeder_properties: a row's words begin at its pass's base, whatever the distance between passes,
// and a pass issues for its length.
module row_feeder_properties (
    input wire        clk,
    input wire [15:0] base_step
);
    (* anyconst *) reg [15:0] step;
    reg        rst = 1'b1, started = 1'b0;
    reg  [4:0] cycle = 5'd0;
    wire [15:0] address;
    wire [ 3:0] base, n;
    wire        bank, valid, first, last, pass_end;

    // OS, groups of 16 whose one element is kept: a pass is 2 words of 2 interleaved outputs each.
    row_feeder #(.INTERLEAVE(2)) dut (
        .clk(clk), .reset(rst), .start(!rst && !started), .weight_stationary(1'b0), .wait_cycles(32'd1),
        .period(32'd5), .length(32'd4), .inner_passes(16'd1), .outer_passes(16'd3), .base_step(step),
        .n_keep(5'd1), .m_group(4'd0), .group_shift(3'd0), .address(address), .base(base), .n(n),
        .bank(bank), .valid(valid), .first(first), .last(last), .pass_end(pass_end)
    );
    always @(posedge clk) begin
        rst <= 1'b0;
        started <= !rst;
        if (started && cycle != 5'd31) cycle <= cycle + 5'd1;
    end
    // Two cycles after the start the first word goes out; then 4 of every 5 cycles.
    wire [4:0] since = cycle - 5'd2;
    wire [4:0] pass = since / 5'd5;
    wire [4:0] at = since % 5'd5;
    wire       expected = started && cycle >= 5'd2 && pass < 5'd3 && at < 5'd4;
    always @(*)
        if (!rst && started) begin
            assert (valid == expected);
            if (valid) begin
                assert (address == step * {11'd0, pass} + {11'd0, at / 5'd2});
                assert (first == (at < 5'd2) && last == (at >= 5'd2) && pass_end == (at == 5'd3));
                assert (bank == pass[0] && base == 4'd0 && n == 4'd0);
            end
        end
endmodule
