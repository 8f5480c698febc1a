// cosim_top: sat_top with its memory, fed from files and logged to files.
//
// On `load` case number `index` is read from the folder +cases=FOLDER: words.hex ({queue, address,
// word} each), tokens.hex and memory.hex. It runs until halted or for `limit` cycles; then `done`
// rises, and log.txt (start, free and finish cycles per queue) and result.hex lie in its folder.
module cosim_top #(
    parameter ROWS = 4,
    parameter COLS = 4,
    parameter INTERLEAVE = 4,
    parameter LM = 2,
    parameter LA = 4,
    parameter READ_BYTES = 8,
    parameter WRITE_BYTES = 8,
    parameter LEFT_WORDS = 512,
    parameter RIGHT_WORDS = 1024,
    parameter OUT_WORDS = 1024,
    parameter SORE_LANES = 8,
    parameter SORE_PIPELINE = 34,
    parameter MASK_WORDS = 256,
    parameter BANKS = 2,
    parameter WUVE_LANES = 4,
    parameter WUVE_SLOTS = 16,
    parameter WUVE_OPERATIONS = 1024,
    parameter WUVE_PIPELINE = 32,
    parameter VECTOR_WORDS = 1024,
    parameter VECTOR_BANK = 512,
    parameter LOADS_IN_FLIGHT = 64,
    parameter STORES_IN_FLIGHT = 32,
    parameter FENCE_CYCLES = 21,
    parameter PROGRAM_WORDS = 4096,
    parameter READ_LATENCY = 8,
    parameter WRITE_LATENCY = 8,
    parameter MEMORY_LOG2 = 22
) (
    input  wire        clk,
    input  wire        load,
    input  wire [31:0] index,
    input  wire [31:0] words,
    input  wire [31:0] used_bytes,
    input  wire [31:0] limit,
    input  wire [31:0] seed,
    input  wire [ 7:0] pause_ar,
    input  wire [ 7:0] pause_r,
    input  wire [ 7:0] pause_aw,
    input  wire [ 7:0] pause_w,
    input  wire [ 7:0] pause_b,
    output reg         done,
    output reg         hung,
    output reg  [31:0] cycles,
    output reg  [31:0] faults
);
    localparam WORD = READ_BYTES < WRITE_BYTES ? READ_BYTES : WRITE_BYTES;
    localparam HOST = $clog2(PROGRAM_WORDS);

    reg [2:0]   state;
    localparam [2:0] IDLE = 0, READ = 1, BOOT = 2, PRIME = 3, RUN = 4, SAVE = 5;

    reg [279:0] image[0:6*PROGRAM_WORDS-1];  // {queue, address, word}
    reg [303:0] tokens[0:0];
    reg [31:0]  at;
    reg [2047:0] folder, name;
    integer     file, q;

    wire rst = state != PRIME && state != RUN;
    wire run = state == RUN;
    wire host_write = state == BOOT && at < words;
    wire [279:0] entry = image[at];
    wire primed, halted;

    wire arvalid, arready, rvalid, rready, rlast, awvalid, awready, wvalid, wready, wlast;
    wire bvalid, bready;
    wire [39:0] araddr, awaddr;
    wire [7:0] arlen, awlen;
    wire [2:0] arsize, awsize;
    wire [1:0] arburst, awburst;
    wire [8*READ_BYTES-1:0] rdata;
    wire [8*WRITE_BYTES-1:0] wdata;
    wire [WRITE_BYTES-1:0] wstrb;
    wire [4:0] trace_start, trace_free, trace_finish;
    wire [31:0] memory_faults;

    initial begin
        state = IDLE;
        done = 1'b0;
        if (!$value$plusargs("cases=%s", folder)) folder = ".";
    end

    always @(posedge clk) begin
        case (state)
            IDLE: if (load) begin
                done <= 1'b0;
                hung <= 1'b0;
                state <= READ;
            end
            READ: begin
                $sformat(name, "%0s/%0d/words.hex", folder, index);
                $readmemh(name, image, 0, words - 1);
                $sformat(name, "%0s/%0d/tokens.hex", folder, index);
                $readmemh(name, tokens);
                $sformat(name, "%0s/%0d/memory.hex", folder, index);
                $readmemh(name, memory.memory, 0, used_bytes / WORD - 1);
                $sformat(name, "%0s/%0d/log.txt", folder, index);
                file = $fopen(name, "w");
                at <= 32'd0;
                state <= BOOT;
            end
            BOOT: begin
                at <= at + 32'd1;
                if (at == words) state <= PRIME;
            end
            PRIME: if (primed) begin
                cycles <= 32'd0;
                state <= RUN;
            end
            RUN: begin
                cycles <= cycles + 32'd1;
                for (q = 0; q < 5; q = q + 1) begin
                    if (trace_start[q]) $fwrite(file, "0 %0d %0d\n", q, cycles);
                    if (trace_free[q]) $fwrite(file, "1 %0d %0d\n", q, cycles);
                    if (trace_finish[q]) $fwrite(file, "2 %0d %0d\n", q, cycles + 1);
                end
                if (halted || cycles == limit) begin
                    hung <= !halted;
                    faults <= memory_faults;
                    state <= SAVE;
                end
            end
            default: begin
                $fclose(file);
                $sformat(name, "%0s/%0d/result.hex", folder, index);
                $writememh(name, memory.memory, 0, used_bytes / WORD - 1);
                done <= 1'b1;
                state <= IDLE;
            end
        endcase
    end

    sat_top #(
        .ROWS(ROWS),
        .COLS(COLS),
        .INTERLEAVE(INTERLEAVE),
        .LM(LM),
        .LA(LA),
        .READ_BYTES(READ_BYTES),
        .WRITE_BYTES(WRITE_BYTES),
        .LEFT_WORDS(LEFT_WORDS),
        .RIGHT_WORDS(RIGHT_WORDS),
        .OUT_WORDS(OUT_WORDS),
        .SORE_LANES(SORE_LANES),
        .SORE_PIPELINE(SORE_PIPELINE),
        .MASK_WORDS(MASK_WORDS),
        .BANKS(BANKS),
        .WUVE_LANES(WUVE_LANES),
        .WUVE_SLOTS(WUVE_SLOTS),
        .WUVE_OPERATIONS(WUVE_OPERATIONS),
        .WUVE_PIPELINE(WUVE_PIPELINE),
        .VECTOR_WORDS(VECTOR_WORDS),
        .VECTOR_BANK(VECTOR_BANK),
        .LOADS_IN_FLIGHT(LOADS_IN_FLIGHT),
        .STORES_IN_FLIGHT(STORES_IN_FLIGHT),
        .FENCE_CYCLES(FENCE_CYCLES),
        .PROGRAM_WORDS(PROGRAM_WORDS)
    ) sat (
        .clk(clk),
        .rst(rst),
        .host_write(host_write),
        .host_queue(entry[278:276]),
        .host_address(entry[256+:HOST]),
        .host_word(entry[255:0]),
        .host_tokens_write(host_write && at == 0),
        .host_tokens(tokens[0]),
        .primed(primed),
        .run(run),
        .halted(halted),
        .arvalid(arvalid),
        .arready(arready),
        .araddr(araddr),
        .arlen(arlen),
        .arsize(arsize),
        .arburst(arburst),
        .rvalid(rvalid),
        .rready(rready),
        .rdata(rdata),
        .rlast(rlast),
        .awvalid(awvalid),
        .awready(awready),
        .awaddr(awaddr),
        .awlen(awlen),
        .awsize(awsize),
        .awburst(awburst),
        .wvalid(wvalid),
        .wready(wready),
        .wdata(wdata),
        .wstrb(wstrb),
        .wlast(wlast),
        .bvalid(bvalid),
        .bready(bready),
        .trace_start(trace_start),
        .trace_free(trace_free),
        .trace_finish(trace_finish)
    );

    axi_memory #(
        .READ_BYTES(READ_BYTES),
        .WRITE_BYTES(WRITE_BYTES),
        .READ_LATENCY(READ_LATENCY),
        .WRITE_LATENCY(WRITE_LATENCY),
        .BYTES_LOG2(MEMORY_LOG2)
    ) memory (
        .clk(clk),
        .rst(rst),
        .seed(seed),
        .pause_ar(pause_ar),
        .pause_r(pause_r),
        .pause_aw(pause_aw),
        .pause_w(pause_w),
        .pause_b(pause_b),
        .used_bytes(used_bytes),
        .faults(memory_faults),
        .arvalid(arvalid),
        .arready(arready),
        .araddr(araddr),
        .arlen(arlen),
        .rvalid(rvalid),
        .rready(rready),
        .rdata(rdata),
        .rlast(rlast),
        .awvalid(awvalid),
        .awready(awready),
        .awaddr(awaddr),
        .awlen(awlen),
        .wvalid(wvalid),
        .wready(wready),
        .wdata(wdata),
        .wstrb(wstrb),
        .wlast(wlast),
        .bvalid(bvalid),
        .bready(bready)
    );
endmodule
