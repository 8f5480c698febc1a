// stce_bench: stce_unit with its buffers, filled from files and written back to one.
//
// +left=, +right=, +seeds= name $readmemh files (word order: bank 0's words, then bank 1's, ...);
// +result= is written when done. Instructions come from cocotb on the ports; cycles counts from
// start to done.
module stce_bench #(
    parameter ROWS = 4,
    parameter COLS = 4,
    parameter INTERLEAVE = 4,
    parameter LM = 2,
    parameter LA = 4,
    parameter DEPTH_LOG2 = 12
) (
    input  wire        clk,
    input  wire        reset,
    input  wire        start,
    input  wire        weight_stationary,
    input  wire        accumulate,
    input  wire [4:0]  n_keep,
    input  wire [3:0]  m_group,
    input  wire [2:0]  group_shift,
    input  wire [15:0] steps,
    input  wire [15:0] vectors,
    input  wire [15:0] row_passes,
    input  wire [15:0] column_passes,
    input  wire [15:0] left_step,
    input  wire        load,      // read the files
    input  wire        save,      // write the result
    output wire        done,
    output reg         finished,  // stays high after done
    output reg  [31:0] cycles
);
    reg [255:0] left [0:(ROWS << DEPTH_LOG2)-1];
    reg [19:0]  right [0:(COLS << DEPTH_LOG2)-1];
    reg [31:0]  outputs [0:(COLS << DEPTH_LOG2)-1];

    reg [1023:0] name;

    wire [16*ROWS-1:0]  left_address;
    wire [16*COLS-1:0]  right_address;
    wire [16*COLS-1:0]  out_read_address;
    wire [COLS-1:0]     out_write;
    wire [16*COLS-1:0]  out_write_address;
    wire [32*COLS-1:0]  out_write_data;
    reg  [256*ROWS-1:0] left_data;
    reg  [20*COLS-1:0]  right_data;
    reg  [32*COLS-1:0]  out_read_data;

    integer i;

    always @(posedge clk) begin
        if (load) begin
            if ($value$plusargs("left=%s", name)) $readmemh(name, left);
            if ($value$plusargs("right=%s", name)) $readmemh(name, right);
            if ($value$plusargs("seeds=%s", name)) $readmemh(name, outputs);
        end
        if (save) if ($value$plusargs("result=%s", name)) $writememh(name, outputs);
        for (i = 0; i < ROWS; i = i + 1)
            left_data[256*i +: 256] <= left[(i << DEPTH_LOG2) + {16'd0, left_address[16*i +: 16]}];
        for (i = 0; i < COLS; i = i + 1) begin
            right_data[20*i +: 20] <= right[(i << DEPTH_LOG2) + {16'd0, right_address[16*i +: 16]}];
            out_read_data[32*i +: 32] <=
                outputs[(i << DEPTH_LOG2) + {16'd0, out_read_address[16*i +: 16]}];
            if (out_write[i])
                outputs[(i << DEPTH_LOG2) + {16'd0, out_write_address[16*i +: 16]}] <=
                    out_write_data[32*i +: 32];
        end
        cycles <= start ? 32'd1 : finished ? cycles : cycles + 32'd1;
        finished <= reset | start ? 1'b0 : finished | done;
    end

    stce_unit #(
        .ROWS(ROWS),
        .COLS(COLS),
        .INTERLEAVE(INTERLEAVE),
        .LM(LM),
        .LA(LA)
    ) unit (
        .clk(clk),
        .reset(reset),
        .start(start),
        .weight_stationary(weight_stationary),
        .accumulate(accumulate),
        .n_keep(n_keep),
        .m_group(m_group),
        .group_shift(group_shift),
        .steps(steps),
        .vectors(vectors),
        .row_passes(row_passes),
        .column_passes(column_passes),
        .left_step(left_step),
        .done(done),
        .left_address(left_address),
        .left_data(left_data),
        .right_address(right_address),
        .right_data(right_data),
        .out_read_address(out_read_address),
        .out_read_data(out_read_data),
        .out_write(out_write),
        .out_write_address(out_write_address),
        .out_write_data(out_write_data)
    );
endmodule
