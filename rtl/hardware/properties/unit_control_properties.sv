// unit_control_properties: every word's signals are given once, when it is done, and none else.
module unit_control_properties (
    input wire       clk,
    input wire       start,
    input wire       is_sync,
    input wire [1:0] signals,
    input wire       unit_done
);
    reg        rst = 1'b1;
    reg        open = 1'b0;
    reg  [1:0] owed;
    wire       unit_start, idle, finish;
    wire [1:0] give;

    unit_control #(.CHANNELS(2)) dut (
        .clk(clk), .rst(rst), .start(start), .is_sync(is_sync), .signals(signals), .unit_start(unit_start),
        .unit_done(unit_done), .idle(idle), .finish(finish), .give(give)
    );
    always @(posedge clk) begin
        rst <= 1'b0;
        if (!rst && start && !is_sync && !unit_done) begin
            open <= 1'b1;
            owed <= signals;
        end else if (unit_done) open <= 1'b0;
    end
    always @(*)
        if (!rst) begin
            assume (!start || idle);
            assume (!unit_done || open || (start && !is_sync));
            assert (idle == !open);
            assert (unit_start == (start && !is_sync));
            assert (finish == (unit_done || (start && is_sync)));
            assert (give == (!finish ? 2'd0 : open ? owed : signals));
        end else assume (!start && !unit_done);
endmodule
