// queue: one in-order instruction stream; fetches ahead and starts what may start.
//
// The head starts in the first cycle in which its unit is idle and every channel it waits for
// holds a token. Words are prefetched into four places, so that one word can start per cycle and
// fetching never delays a start. Word layout: WORDS.md.
//
// DEPTH     words of program memory, a power of two
// CHANNELS  token channels
module queue #(
    parameter DEPTH = 1024,
    parameter CHANNELS = 19
) (
    input  wire                     clk,
    input  wire                     rst,
    input  wire                     write,          // program memory, before `run`
    input  wire [$clog2(DEPTH)-1:0] write_address,
    input  wire [            255:0] write_word,
    input  wire                     run,
    output wire                     primed,         // the first words are fetched
    output wire                     halted,         // the END word is at the head
    input  wire [     CHANNELS-1:0] available,
    output wire [     CHANNELS-1:0] take,
    input  wire                     unit_idle,
    output wire                     start,
    output wire [            255:0] head,
    output wire                     trace_start,    // a traced instruction starts in this cycle
    output wire                     trace_free      // it holds the queue no longer
);
    localparam ADDRESS_WIDTH = $clog2(DEPTH);
    // Values of kind (instruction_word.py):
    localparam [2:0] END = 3'd0;

    reg [255:0] memory[0:DEPTH-1];
    reg [255:0] fetched;
    reg         fetching;  // `fetched` holds a new word
    reg [ADDRESS_WIDTH-1:0] address;

    reg [255:0] place[0:3];
    reg [1:0] first, free;
    reg [2:0] count;
    wire      fetch = count + {2'b00, fetching} < 3'd4;
    // Fields of COMMON in head, head_* (instruction_word.py):
    wire  [2:0] head_kind = head[0+:3];  // of word, see below
    wire        head_starts = head[3];  // first word of its instruction: its start is traced
    wire        head_ends = head[4];  // last word of its instruction: its finish is traced
    wire [18:0] head_waits = head[5+:19];  // channels that it takes a token from, by their number

    wire      is_end = head_kind == END;
    wire [CHANNELS-1:0] waits = head_waits[CHANNELS-1:0];

    always @(posedge clk) begin
        if (write) memory[write_address] <= write_word;
        if (fetch) fetched <= memory[address];
        if (fetching) place[free] <= fetched;
        if (rst) begin
            address <= {ADDRESS_WIDTH{1'b0}};
            fetching <= 1'b0;
            first <= 2'd0;
            free <= 2'd0;
            count <= 3'd0;
        end else begin
            fetching <= fetch;
            if (fetch) address <= address + 1'b1;
            if (fetching) free <= free + 2'd1;
            if (start) first <= first + 2'd1;
            count <= count + {2'b00, fetching} - {2'b00, start};
        end
    end

    assign head = place[first];
    assign primed = count == 3'd4;
    assign halted = run && count != 3'd0 && is_end;

    assign start = run && count != 3'd0 && !is_end && unit_idle && (waits & ~available) == 0;
    assign take = start ? waits : {CHANNELS{1'b0}};

    // An instruction may be several words: the first is marked in bit 3, the last in bit 4.
    reg held;
    assign trace_start = start && head_starts;
    assign trace_free = held && unit_idle;
    always @(posedge clk) begin
        if (rst) held <= 1'b0;
        else held <= (start && head_ends) || (held && !unit_idle);
    end
endmodule
