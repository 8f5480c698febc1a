// token_counters: how many tokens wait in each channel.
//
// A token given in a cycle can be taken from the next one on. Each channel has one producer and
// one consumer, so at most one token comes and one goes per cycle.
//
// CHANNELS  1 to 32
// WIDTH     bits of a counter; the assembler refuses programs that could overflow it
module token_counters #(
    parameter CHANNELS = 19,
    parameter WIDTH = 16
) (
    input  wire                      clk,
    input  wire                      load,     // set all counters to `initial_counts`
    input  wire [CHANNELS*WIDTH-1:0] initial_counts,
    input  wire [      CHANNELS-1:0] give,
    input  wire [      CHANNELS-1:0] take,     // only where `available`
    output wire [      CHANNELS-1:0] available
);
    localparam [WIDTH-1:0] ONE = 1;

    genvar channel;
    generate
        for (channel = 0; channel < CHANNELS; channel = channel + 1) begin : g_channel
            reg [WIDTH-1:0] count;
            assign available[channel] = count != {WIDTH{1'b0}};
            always @(posedge clk) begin
                if (load) count <= initial_counts[channel*WIDTH+:WIDTH];
                else if (give[channel] && !take[channel]) count <= count + ONE;
                else if (take[channel] && !give[channel]) count <= count - ONE;
            end
        end
    endgenerate
endmodule
