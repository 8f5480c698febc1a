// axi_memory: a memory behind an AXI4 read and a write port, for simulation.
//
// A burst's first beat comes READ_LATENCY cycles after its address, or behind the burst before it;
// its response WRITE_LATENCY cycles after its last data. Each of the five channels pauses at random
// with the given probability in 1/256. Rule breaks (4 KB borders, lengths, unstable valid,
// misaligned or outside addresses) are counted in `faults`.
module axi_memory #(
    parameter READ_BYTES = 8,
    parameter WRITE_BYTES = 8,
    parameter READ_LATENCY = 8,   // at least 1
    parameter WRITE_LATENCY = 8,  // at least 1
    parameter BYTES_LOG2 = 22
) (
    input  wire                     clk,
    input  wire                     rst,
    input  wire [             31:0] seed,
    input  wire [              7:0] pause_ar,
    input  wire [              7:0] pause_r,
    input  wire [              7:0] pause_aw,
    input  wire [              7:0] pause_w,
    input  wire [              7:0] pause_b,
    input  wire [             31:0] used_bytes,
    output reg  [             31:0] faults,

    input  wire                     arvalid,
    output wire                     arready,
    input  wire [             39:0] araddr,
    input  wire [              7:0] arlen,
    output wire                     rvalid,
    input  wire                     rready,
    output wire [ 8*READ_BYTES-1:0] rdata,
    output wire                     rlast,
    input  wire                     awvalid,
    output wire                     awready,
    input  wire [             39:0] awaddr,
    input  wire [              7:0] awlen,
    input  wire                     wvalid,
    output wire                     wready,
    input  wire [8*WRITE_BYTES-1:0] wdata,
    input  wire [  WRITE_BYTES-1:0] wstrb,
    input  wire                     wlast,
    output wire                     bvalid,
    input  wire                     bready
);
    localparam WORD = READ_BYTES < WRITE_BYTES ? READ_BYTES : WRITE_BYTES;
    localparam WORD_LOG2 = $clog2(WORD);
    localparam WIDTH = BYTES_LOG2 - WORD_LOG2;
    localparam READS = READ_BYTES / WORD;
    localparam WRITES = WRITE_BYTES / WORD;
    localparam DEEP = 8;  // log2 of bursts under way

    reg [8*WORD-1:0] memory[0:(1<<WIDTH)-1];
    reg [31:0] now;
    integer i, j;

    // Galois shift register: 40 fresh bits per cycle would be better random, 8 apart are enough.
    reg [63:0] noise;
    wire [63:0] noise_next = {noise[62:0], noise[63] ^ noise[62] ^ noise[60] ^ noise[59]};
    wire go_ar = noise[7:0] >= pause_ar;
    wire go_r = noise[18:11] >= pause_r;
    wire go_aw = noise[30:23] >= pause_aw;
    wire go_w = noise[44:37] >= pause_w;
    wire go_b = noise[60:53] >= pause_b;

    // Reads.
    reg  [39:0] read_address[0:(1<<DEEP)-1];
    reg  [ 7:0] read_length[0:(1<<DEEP)-1];
    reg  [31:0] read_due[0:(1<<DEEP)-1];
    reg  [DEEP-1:0] read_head, read_tail;
    reg  [DEEP:0] read_count;
    reg  [ 7:0] read_beat;
    reg         read_held;  // valid stays once it was high
    wire [31:0] read_waited = now - read_due[read_head];
    wire        read_due_now = read_count != 0 && !read_waited[31];
    wire [39:0] read_at = read_address[read_head] + {32'd0, read_beat} * READ_BYTES;
    wire [WIDTH-1:0] read_word = read_at[BYTES_LOG2-1:WORD_LOG2];
    assign arready = !read_count[DEEP] && go_ar;
    assign rvalid = read_due_now && (go_r || read_held);
    assign rlast = read_beat == read_length[read_head];
    genvar g;
    generate
        for (g = 0; g < READS; g = g + 1) begin : g_read
            assign rdata[8*WORD*g+:8*WORD] = memory[read_word+g];
        end
    endgenerate

    // Writes.
    reg  [39:0] write_address[0:(1<<DEEP)-1];
    reg  [ 7:0] write_length[0:(1<<DEEP)-1];
    reg  [DEEP-1:0] write_head, write_tail;
    reg  [DEEP:0] write_count;
    reg  [ 7:0] write_beat;
    reg  [31:0] answer_due[0:(1<<DEEP)-1];
    reg  [DEEP-1:0] answer_head, answer_tail;
    reg  [DEEP:0] answer_count;
    reg         answer_held;
    wire [31:0] answer_waited = now - answer_due[answer_head];
    wire [39:0] write_at = write_address[write_head] + {32'd0, write_beat} * WRITE_BYTES;
    wire [WIDTH-1:0] write_word = write_at[BYTES_LOG2-1:WORD_LOG2];
    wire        write_now = wvalid && wready;
    wire        write_ends = write_now && write_beat == write_length[write_head];
    assign awready = !write_count[DEEP] && go_aw;
    assign wready = write_count != 0 && !answer_count[DEEP] && go_w;
    assign bvalid = answer_count != 0 && !answer_waited[31] && (go_b || answer_held);

    // Rules.
    reg        ar_wait, aw_wait, w_wait;
    reg [47:0] ar_was, aw_was;
    reg [8*WRITE_BYTES:0] w_was;
    wire [39:0] ar_end = araddr + ({32'd0, arlen} + 40'd1) * READ_BYTES - 40'd1;
    wire [39:0] aw_end = awaddr + ({32'd0, awlen} + 40'd1) * WRITE_BYTES - 40'd1;
    wire ar_bad = arvalid && (ar_end[39:12] != araddr[39:12] || araddr % READ_BYTES != 0
        || ar_end >= {8'd0, used_bytes});
    wire aw_bad = awvalid && (aw_end[39:12] != awaddr[39:12] || awaddr % WRITE_BYTES != 0
        || aw_end >= {8'd0, used_bytes});
    wire w_bad = write_now && wlast != (write_beat == write_length[write_head]);
    wire unstable = (ar_wait && (!arvalid || {araddr, arlen} != ar_was))
        || (aw_wait && (!awvalid || {awaddr, awlen} != aw_was))
        || (w_wait && (!wvalid || {wdata, wlast} != w_was));

    always @(posedge clk) begin
        ar_wait <= !rst && arvalid && !arready;
        aw_wait <= !rst && awvalid && !awready;
        w_wait <= !rst && wvalid && !wready;
        ar_was <= {araddr, arlen};
        aw_was <= {awaddr, awlen};
        w_was <= {wdata, wlast};
        if (write_now)
            for (i = 0; i < WRITES; i = i + 1)
                for (j = 0; j < WORD; j = j + 1)
                    if (wstrb[WORD*i+j])
                        memory[write_word+i][8*j+:8] <= wdata[8*(WORD*i+j)+:8];
        if (arvalid && arready) begin
            read_address[read_tail] <= araddr;
            read_length[read_tail] <= arlen;
            read_due[read_tail] <= now + READ_LATENCY;
        end
        if (awvalid && awready) begin
            write_address[write_tail] <= awaddr;
            write_length[write_tail] <= awlen;
        end
        if (write_ends) answer_due[answer_tail] <= now + WRITE_LATENCY;
        if (rst) begin
            now <= 32'd0;
            noise <= {32'h9E3779B9, seed};
            faults <= 32'd0;
            read_head <= 0;
            read_tail <= 0;
            read_count <= 0;
            read_beat <= 8'd0;
            read_held <= 1'b0;
            write_head <= 0;
            write_tail <= 0;
            write_count <= 0;
            write_beat <= 8'd0;
            answer_head <= 0;
            answer_tail <= 0;
            answer_count <= 0;
            answer_held <= 1'b0;
        end else begin
            now <= now + 32'd1;
            noise <= noise_next;
            faults <= faults + {31'd0, ar_bad} + {31'd0, aw_bad} + {31'd0, w_bad}
                + {31'd0, unstable};
            if (arvalid && arready) read_tail <= read_tail + 1'b1;
            if (rvalid && rready) begin
                read_beat <= rlast ? 8'd0 : read_beat + 8'd1;
                if (rlast) read_head <= read_head + 1'b1;
            end
            read_held <= rvalid && !rready;
            read_count <= read_count + {{DEEP{1'b0}}, arvalid && arready}
                - {{DEEP{1'b0}}, rvalid && rready && rlast};
            if (awvalid && awready) write_tail <= write_tail + 1'b1;
            if (write_now) write_beat <= write_ends ? 8'd0 : write_beat + 8'd1;
            if (write_ends) write_head <= write_head + 1'b1;
            write_count <= write_count + {{DEEP{1'b0}}, awvalid && awready}
                - {{DEEP{1'b0}}, write_ends};
            if (write_ends) answer_tail <= answer_tail + 1'b1;
            if (bvalid && bready) answer_head <= answer_head + 1'b1;
            answer_held <= bvalid && !bready;
            answer_count <= answer_count + {{DEEP{1'b0}}, write_ends}
                - {{DEEP{1'b0}}, bvalid && bready};
        end
    end
endmodule
