// left_buffer: the STCE's left operand; one memory of 16-half words per array row.
//
// In the order of the load unit's bytes: word 0 of row 0, of row 1, ... of row ROWS - 1, word 1 ...
//
// WORDS       words per row, all banks together
// ROWS        of the array, a power of two
// BEAT_BYTES  of a load, a power of two, at most 32 ROWS
module left_buffer #(
    parameter WORDS = 256,
    parameter ROWS = 4,
    parameter BEAT_BYTES = 8
) (
    input  wire                    clk,
    input  wire                    write_enable,
    input  wire [            23:0] write_beat,
    input  wire [8*BEAT_BYTES-1:0] write_data,
    input  wire [     24*ROWS-1:0] read_address,
    output wire [    256*ROWS-1:0] read_data
);
    localparam WIDTH = BEAT_BYTES < 32 ? 8 * BEAT_BYTES : 256;
    localparam PARTS = BEAT_BYTES < 32 ? 32 / BEAT_BYTES : 1;  // beats of a word
    localparam SPAN = BEAT_BYTES < 32 ? 1 : BEAT_BYTES / 32;   // rows of a beat
    localparam GROUPS = ROWS / SPAN;

    wire [31:0] beat = {8'd0, write_beat};
    wire [31:0] turn = beat / PARTS;
    wire [31:0] group = turn % GROUPS;
    wire [31:0] address = turn / GROUPS * PARTS + beat % PARTS;

    genvar r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            bank_ram #(
                .BITS(WORDS * 256),
                .WRITE_BITS(WIDTH),
                .READ_BITS(256)
            ) ram (
                .clk(clk),
                .write_enable(write_enable && group == r / SPAN),
                .write_address(address[23:0]),
                .write_data(write_data[WIDTH*(r%SPAN)+:WIDTH]),
                .read_address(read_address[24*r+:24]),
                .read_data(read_data[256*r+:256])
            );
        end
    endgenerate

    wire unused = &{1'b0, address[31:24]};
endmodule
