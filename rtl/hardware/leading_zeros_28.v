// leading_zeros_28: how many zeros stand before the leading one of a 28-bit word (28 for zero).
module leading_zeros_28 (
    input  wire [27:0] x,
    output wire [4:0]  zeros
);
    // Seven groups of four bits: the first group that is not zero, and the place in it.
    wire [6:0] some;
    wire [1:0] place[0:7];
    genvar g;
    generate
        for (g = 0; g < 7; g = g + 1) begin : g_group
            wire [3:1] bits = x[27-4*g-:3];
            assign some[g] = x[27-4*g-:4] != 4'd0;
            assign place[g] = {bits[3:2] == 2'd0, !bits[3] && (bits[2] || !bits[1])};
        end
    endgenerate
    assign place[7] = 2'd0;

    wire [2:0] group = some[0] ? 3'd0 : some[1] ? 3'd1 : some[2] ? 3'd2 : some[3] ? 3'd3
                     : some[4] ? 3'd4 : some[5] ? 3'd5 : some[6] ? 3'd6 : 3'd7;

    assign zeros = {group, place[group]};
endmodule
