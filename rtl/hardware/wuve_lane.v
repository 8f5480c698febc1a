// wuve_lane: one lane of WUVE: eight registers per slot and the lane operations.
//
// Operands come from the registers or from outside, a cycle after their addresses; the result
// `made` is there DEPTH + 1 cycles after the operands `a`, `b` and `c` were. A register that is read
// while it is written gives what is written.
//
// SLOTS   rounds in flight, a power of two
// LM, LA  stages of the multiplier and the adder
// DEPTH   the larger of LM + LA and 6
// SEED    of the random numbers
module wuve_lane #(
    parameter SLOTS = 16,
    parameter LM = 2,
    parameter LA = 4,
    parameter DEPTH = 6,
    parameter [31:0] SEED = 1
) (
    input  wire                       clk,
    input  wire                       rst,
    // Registers {register, slot}; the last bits of the addresses that are not registers are free.
    input  wire [$clog2(SLOTS)+3-1:0] a_address,
    input  wire [$clog2(SLOTS)+3-1:0] b_address,
    input  wire [$clog2(SLOTS)+3-1:0] c_address,
    output reg  [               31:0] a_register,
    output reg  [               31:0] b_register,
    output reg  [               31:0] c_register,
    // Operands as they are used, and the operation.
    input  wire [               31:0] a_given,
    input  wire [               31:0] b_given,
    input  wire [               31:0] c_given,
    input  wire [                2:0] kind,        // of a_given
    input  wire [                2:0] which,
    input  wire                       draws,
    input  wire [               22:0] number,      // of the lane in its strip
    input  wire [                2:0] made_kind,   // of `made`
    output wire [               31:0] made,
    input  wire                       write,
    input  wire [$clog2(SLOTS)+3-1:0] write_address
);
    localparam [2:0] MAD = 3'd0, MAX = 3'd1, MIN = 3'd2, LESS = 3'd3, EQUAL = 3'd4, PICK = 3'd5,
        FUNCTION = 3'd6;

    reg [31:0] file[0:8*SLOTS-1];
    always @(posedge clk) begin
        if (write) file[write_address] <= made;
        a_register <= write && write_address == a_address ? made : file[a_address];
        b_register <= write && write_address == b_address ? made : file[b_address];
        c_register <= write && write_address == c_address ? made : file[c_address];
    end

    reg [31:0] a, b, c, state;
    reg [ 2:0] now, function_now;
    reg        draws_now;
    reg [22:0] number_now;
    always @(posedge clk) begin
        a <= a_given;
        b <= b_given;
        c <= c_given;
        now <= kind;
        function_now <= which;
        draws_now <= draws;
        number_now <= number;
    end

    wire [31:0] product, later_c, sum;
    fp32_multiplier #(.STAGES(LM)) multiply (.clk(clk), .a(a), .b(b), .product(product));
    delay_line #(.WIDTH(32), .STAGES(LM)) c_line (.clk(clk), .in(c), .out(later_c));
    fp32_adder #(.STAGES(LA)) add (.clk(clk), .a(product), .b(later_c), .sum(sum));

    // Comparisons; both zeros are equal, NaN is neither less nor equal.
    wire a_nan = a[30:0] > 31'h7F800000;
    wire b_nan = b[30:0] > 31'h7F800000;
    wire zeros = a[30:0] == 31'd0 && b[30:0] == 31'd0;
    wire equal = !a_nan && !b_nan && (zeros || a == b);
    wire below = a[31] != b[31] ? a[31] : a[31] ? a[30:0] > b[30:0] : a[30:0] < b[30:0];
    wire less = !a_nan && !b_nan && !zeros && below;
    wire more = !a_nan && !b_nan && !equal && !less;
    wire closed = a[30:0] == 31'd0 || (a[31] && !a_nan);  // a <= 0

    // Marsaglia's xorshift.
    wire [31:0] once = state ^ {state[18:0], 13'd0};
    wire [31:0] twice = once ^ {17'd0, once[31:17]};
    wire [31:0] drawn = twice ^ {twice[26:0], 5'd0};
    always @(posedge clk)
        if (rst) state <= SEED;
        else if (draws_now) state <= drawn;

    reg [31:0] chosen;
    always @*
        case (now)
            MAX: chosen = more || a_nan ? a : b;
            MIN: chosen = less || a_nan ? a : b;
            LESS: chosen = less ? 32'h3F800000 : 32'd0;
            EQUAL: chosen = equal ? 32'h3F800000 : 32'd0;
            PICK: chosen = closed ? c : b;
            default: chosen = {9'h07F, function_now[0] ? number_now : drawn[31:9]};
        endcase

    wire [31:0] curve, sum_end, curve_end, chosen_end;
    function_unit elementary (.clk(clk), .which(function_now), .x(a), .y(curve));
    delay_line #(.WIDTH(32), .STAGES(DEPTH)) chosen_line (
        .clk(clk),
        .in(chosen),
        .out(chosen_end)
    );
    generate
        if (DEPTH > LM + LA) begin : g_sum
            delay_line #(.WIDTH(32), .STAGES(DEPTH-LM-LA)) line (
                .clk(clk),
                .in(sum),
                .out(sum_end)
            );
        end else begin : g_sum
            assign sum_end = sum;
        end
        if (DEPTH > 6) begin : g_curve
            delay_line #(.WIDTH(32), .STAGES(DEPTH-6)) line (
                .clk(clk),
                .in(curve),
                .out(curve_end)
            );
        end else begin : g_curve
            assign curve_end = curve;
        end
    endgenerate

    assign made = made_kind == MAD ? sum_end : made_kind == FUNCTION ? curve_end : chosen_end;
endmodule
