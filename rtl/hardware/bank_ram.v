// bank_ram: a memory with one write and one read port of different widths.
//
// Bit 0 of a wide word has the lowest address.
//
// BITS        capacity; a multiple of both widths
// WRITE_BITS  width of the write port; a power of two times the smaller width, or equal
// READ_BITS   width of the read port, likewise; data come one cycle after the address
module bank_ram #(
    parameter BITS = 1024,
    parameter WRITE_BITS = 64,
    parameter READ_BITS = 64
) (
    input  wire                  clk,
    input  wire                  write_enable,
    input  wire [          23:0] write_address,  // in words of WRITE_BITS
    input  wire [WRITE_BITS-1:0] write_data,
    input  wire [          23:0] read_address,   // in words of READ_BITS
    output reg  [ READ_BITS-1:0] read_data
);
    localparam NARROW = WRITE_BITS < READ_BITS ? WRITE_BITS : READ_BITS;
    localparam DEPTH = BITS / NARROW;
    localparam WIDTH = $clog2(DEPTH) > 0 ? $clog2(DEPTH) : 1;
    localparam WRITES = WRITE_BITS / NARROW;
    localparam READS = READ_BITS / NARROW;

    reg [NARROW-1:0] memory[0:DEPTH-1];
    integer i;

    wire [31:0] write_first = {8'd0, write_address} * WRITES;
    wire [31:0] read_first = {8'd0, read_address} * READS;

    always @(posedge clk) begin
        if (write_enable)
            for (i = 0; i < WRITES; i = i + 1)
                memory[write_first[WIDTH-1:0] + i[WIDTH-1:0]] <= write_data[NARROW*i+:NARROW];
        for (i = 0; i < READS; i = i + 1)
            read_data[NARROW*i+:NARROW] <= memory[read_first[WIDTH-1:0] + i[WIDTH-1:0]];
    end

    wire unused = &{1'b0, write_first, read_first};
endmodule
