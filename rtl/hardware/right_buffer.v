// right_buffer: the STCE's right operand; per array column a memory of FP16 values and four of
// index bits, one for each bit plane.
//
// In the order of the load unit's bytes: values of word 0 of columns 0 ... COLS - 1, of word 1 ...;
// a bit plane holds one bit of each index in the same order.
//
// WORDS       words per column, all banks together
// COLS        of the array, a power of two
// BEAT_BYTES  of a load, a power of two
module right_buffer #(
    parameter WORDS = 256,
    parameter COLS = 4,
    parameter BEAT_BYTES = 8
) (
    input  wire                    clk,
    input  wire                    write_value,
    input  wire [             3:0] write_planes,
    input  wire [            23:0] write_beat,
    input  wire [8*BEAT_BYTES-1:0] write_data,
    input  wire [     24*COLS-1:0] read_address,
    output wire [     20*COLS-1:0] read_data
);
    localparam SPAN = BEAT_BYTES / 2 < COLS ? BEAT_BYTES / 2 : COLS;  // columns of a beat of values
    localparam GROUPS = COLS / SPAN;                                  // beats of a word's values
    localparam DEEP = BEAT_BYTES / 2 / SPAN;                          // words of a beat of values
    localparam PLANE_DEEP = 8 * BEAT_BYTES / COLS;                    // words of a beat of a plane

    wire [31:0] beat = {8'd0, write_beat};
    wire [31:0] group = beat % GROUPS;
    wire [31:0] address = beat / GROUPS;

    genvar c, i;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_column
            wire [16*DEEP-1:0] values;
            wire [PLANE_DEEP-1:0] bits;
            for (i = 0; i < DEEP; i = i + 1) begin : g_value
                assign values[16*i+:16] = write_data[16*(i*SPAN+c%SPAN)+:16];
            end
            for (i = 0; i < PLANE_DEEP; i = i + 1) begin : g_bit
                assign bits[i] = write_data[i*COLS+c];
            end
            bank_ram #(
                .BITS(WORDS * 16),
                .WRITE_BITS(16 * DEEP),
                .READ_BITS(16)
            ) value_ram (
                .clk(clk),
                .write_enable(write_value && group == c / SPAN),
                .write_address(address[23:0]),
                .write_data(values),
                .read_address(read_address[24*c+:24]),
                .read_data(read_data[20*c+:16])
            );
            for (i = 0; i < 4; i = i + 1) begin : g_plane
                bank_ram #(
                    .BITS(WORDS),
                    .WRITE_BITS(PLANE_DEEP),
                    .READ_BITS(1)
                ) plane_ram (
                    .clk(clk),
                    .write_enable(write_planes[i]),
                    .write_address(write_beat),
                    .write_data(bits),
                    .read_address(read_address[24*c+:24]),
                    .read_data(read_data[20*c+16+i+:1])
                );
            end
        end
    endgenerate

    wire unused = &{1'b0, address[31:24]};
endmodule
