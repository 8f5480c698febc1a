// burst_walker: turns a transfer (runs of beats) into AXI4 bursts, one per cycle.
//
// A burst ends where its run ends, after 256 beats, or at a 4 KB border. A command waits in one
// place before the walker, so that the next one can be taken while the last burst goes out.
//
// BEAT_BYTES    width of the bus, a power of two, 2 to 256
module burst_walker #(
    parameter BEAT_BYTES = 8
) (
    input  wire        clk,
    input  wire        rst,
    input  wire        command_valid,  // only when `command_ready`
    output wire        command_ready,
    input  wire [39:0] command_address,
    input  wire [31:0] command_stride,  // bytes from run to run
    input  wire [19:0] command_runs,
    input  wire [19:0] command_beats,   // per run
    output wire        burst_valid,
    input  wire        burst_ready,
    output wire [39:0] burst_address,
    output wire [ 7:0] burst_length     // beats - 1
);
    localparam LOG = $clog2(BEAT_BYTES);
    localparam [12:0] PAGE_BEATS = 13'd1 << (12 - LOG);

    reg        waiting;
    reg [39:0] next_address;
    reg [31:0] next_stride;
    reg [19:0] next_runs;
    reg [19:0] next_beats;

    reg        active;
    reg [39:0] run_address;
    reg [39:0] address;
    reg [31:0] stride;
    reg [19:0] runs_left;   // this one included
    reg [19:0] run_beats;
    reg [19:0] beats_left;  // of this run

    wire [12:0] to_border = PAGE_BEATS - {{(LOG+1){1'b0}}, address[11:LOG]};
    wire [12:0] allowed = to_border < 13'd256 ? to_border : 13'd256;
    wire        run_ends = beats_left <= {7'd0, allowed};
    wire [12:0] beats = run_ends ? beats_left[12:0] : allowed;
    wire        sent = active && burst_ready;
    wire        finishing = sent && run_ends && runs_left == 20'd1;
    wire        taking = waiting && (!active || finishing);

    assign command_ready = !waiting || taking;
    assign burst_valid = active;
    assign burst_address = address;
    wire [12:0] length = beats - 13'd1;
    assign burst_length = length[7:0];

    wire [39:0] next_run_address = run_address + {8'd0, stride};

    always @(posedge clk) begin
        if (command_valid) begin
            next_address <= command_address;
            next_stride <= command_stride;
            next_runs <= command_runs;
            next_beats <= command_beats;
        end
        if (taking) begin
            run_address <= next_address;
            address <= next_address;
            stride <= next_stride;
            runs_left <= next_runs;
            run_beats <= next_beats;
            beats_left <= next_beats;
        end else if (sent && run_ends) begin
            run_address <= next_run_address;
            address <= next_run_address;
            runs_left <= runs_left - 20'd1;
            beats_left <= run_beats;
        end else if (sent) begin
            address <= address + ({27'd0, allowed} << LOG);
            beats_left <= beats_left - {7'd0, allowed};
        end
        if (rst) begin
            waiting <= 1'b0;
            active <= 1'b0;
        end else begin
            waiting <= command_valid || (waiting && !taking);
            active <= taking || (active && !finishing);
        end
    end

    wire unused = &{1'b0, length[12:8]};
endmodule
