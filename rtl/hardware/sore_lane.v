// sore_lane: one top-N-of-M sorter of SORE: compare and replace, one element per cycle.
//
// Two lists of the elements kept so far: `rank` by magnitude (largest first, ties to the lower
// index), which tells in one comparator level whether the new element stays and which one leaves;
// and `kept` by index, which is what goes out. `last` marks the group's last element; one cycle
// later `out_valid` is high for `keep` cycles with the kept elements in index order.
//
// Magnitudes compare as 15-bit integers: subnormals, infinities and NaN (largest) need no care.
module sore_lane #(
    parameter KEEP_MAX = 15  // largest N; 1 to 15
) (
    input  wire        clk,
    input  wire        rst,
    input  wire        valid,   // an element is present
    input  wire        first,   // it is the first of its group
    input  wire        last,    // it is the last of its group
    input  wire [ 3:0] index,   // its place in the group
    input  wire [15:0] value,   // FP16
    input  wire [ 3:0] keep,    // N; 1 to KEEP_MAX, constant during an instruction
    output wire        out_valid,
    output wire [15:0] out_value,
    output wire [ 3:0] out_index
);
    reg [14:0] rank_magnitude[0:KEEP_MAX-1];
    reg [ 3:0] rank_index[0:KEEP_MAX-1];
    reg [15:0] kept_value[0:KEEP_MAX-1];
    reg [ 3:0] kept_index[0:KEEP_MAX-1];
    reg [ 3:0] count;  // elements held, at most `keep`

    reg [15:0] shift_value[0:KEEP_MAX-1];
    reg [ 3:0] shift_index[0:KEEP_MAX-1];
    reg [ 3:0] shift_left;  // elements still to go out
    reg        take;        // `kept` is complete: move it to `shift`

    wire [ 3:0] held = first ? 4'd0 : count;
    wire        full = held == keep;
    wire [14:0] magnitude = value[14:0];

    // beats[i]: the new element goes before rank i. Free places lose to everything.
    wire [KEEP_MAX-1:0] beats;
    // leaves[i]: kept element i is the one replaced, or comes after it.
    wire [KEEP_MAX-1:0] leaves;
    wire [ 3:0] lowest = keep - 4'd1;
    wire        stays = valid && beats[lowest];
    wire [ 3:0] evicted = rank_index[lowest];

    genvar i;
    generate
        for (i = 0; i < KEEP_MAX; i = i + 1) begin : g_place
            localparam [3:0] PLACE = i;
            wire used = held > PLACE;
            wire hit = full && kept_index[i] == evicted;
            assign beats[i] = !used || magnitude > rank_magnitude[i];
            if (i == 0) begin : g_edge
                assign leaves[i] = hit;
            end else begin : g_chain
                assign leaves[i] = leaves[i-1] || hit;
            end

            wire is_end = PLACE == (full ? lowest : held);
            always @(posedge clk) begin
                if (valid && beats[i]) begin
                    if (i == 0 || !beats[i > 0 ? i-1 : 0]) begin
                        rank_magnitude[i] <= magnitude;
                        rank_index[i] <= index;
                    end else begin
                        rank_magnitude[i] <= rank_magnitude[i > 0 ? i-1 : 0];
                        rank_index[i] <= rank_index[i > 0 ? i-1 : 0];
                    end
                end
                if (stays && is_end) begin
                    kept_value[i] <= value;
                    kept_index[i] <= index;
                end else if (stays && leaves[i]) begin
                    kept_value[i] <= kept_value[i < KEEP_MAX-1 ? i+1 : i];
                    kept_index[i] <= kept_index[i < KEEP_MAX-1 ? i+1 : i];
                end
                if (take) begin
                    shift_value[i] <= kept_value[i];
                    shift_index[i] <= kept_index[i];
                end else begin
                    shift_value[i] <= shift_value[i < KEEP_MAX-1 ? i+1 : i];
                    shift_index[i] <= shift_index[i < KEEP_MAX-1 ? i+1 : i];
                end
            end
        end
    endgenerate

    always @(posedge clk) begin
        if (rst) begin
            count <= 4'd0;
            take <= 1'b0;
            shift_left <= 4'd0;
        end else begin
            if (valid) count <= full ? held : held + 4'd1;
            take <= valid && last;
            if (take) shift_left <= keep;
            else if (shift_left != 4'd0) shift_left <= shift_left - 4'd1;
        end
    end

    assign out_valid = shift_left != 4'd0;
    assign out_value = shift_value[0];
    assign out_index = shift_index[0];
endmodule
