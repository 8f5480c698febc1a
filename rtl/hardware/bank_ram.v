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
    localparam WRITES = WRITE_BITS / NARROW;
    localparam READS = READ_BITS / NARROW;
    localparam WRITES_LOG2 = $clog2(WRITES);
    localparam READS_LOG2 = $clog2(READS);
    localparam WIDTH = $clog2(DEPTH);
    localparam WRITE_WIDTH = WIDTH > WRITES_LOG2 ? WIDTH - WRITES_LOG2 : 1;
    localparam READ_WIDTH = WIDTH > READS_LOG2 ? WIDTH - READS_LOG2 : 1;

    reg [NARROW-1:0] memory[0:DEPTH-1];

    // The place in a wide word is the address's end: one port of a block RAM, not a port for each place.
    generate
        if (WRITES > 1) begin : g_wide_write
            integer i;
            always @(posedge clk)
                if (write_enable)
                    for (i = 0; i < WRITES; i = i + 1)
                        memory[{write_address[WRITE_WIDTH-1:0], i[WRITES_LOG2-1:0]}]
                            <= write_data[NARROW*i+:NARROW];
        end else begin : g_write
            always @(posedge clk) if (write_enable) memory[write_address[WRITE_WIDTH-1:0]] <= write_data;
        end
        if (READS > 1) begin : g_wide_read
            integer j;
            always @(posedge clk)
                for (j = 0; j < READS; j = j + 1)
                    read_data[NARROW*j+:NARROW]
                        <= memory[{read_address[READ_WIDTH-1:0], j[READS_LOG2-1:0]}];
        end else begin : g_read
            always @(posedge clk) read_data <= memory[read_address[READ_WIDTH-1:0]];
        end
    endgenerate

    wire unused = &{1'b0, write_address, read_address};
endmodule
