"""rtl/hardware/function_table.v, written from the coefficients that the simulator uses.

``python -m weft.rtl.hardware.tables`` writes it anew; a test holds the two against each other.
"""

from __future__ import annotations

from weft.rtl.hardware import VERILOG
from weft.sim.lanes.functions import SEGMENTS, WIDTHS, Function, coefficients

__all__ = ["TABLE", "table_text"]

TABLE = VERILOG / "function_table.v"

_HEAD = """\
// function_table: c0, c1 and c2 of every segment of every elementary function, a cycle after the
// address {{function, segment}}. Written by rtl/hardware/tables.py from sim/lanes/functions.py;
// do not edit.
module function_table (
    input  wire        clk,
    input  wire [ 9:0] address,
    output reg  [{top}:0] row
);
    always @(posedge clk)
        case (address)
"""

_TAIL = """\
            default: row <= {bits}'h{zero};
        endcase
endmodule
"""


def table_text() -> str:
    """The Verilog of the table."""
    bits = sum(WIDTHS)
    digits = -(-bits // 4)
    lines = [_HEAD.format(top=bits - 1)]
    table = coefficients()
    for function in Function:
        for segment in range(SEGMENTS):
            word = 0
            for value, width in zip(table[function, segment].tolist(), WIDTHS, strict=True):
                word = word << width | value & (1 << width) - 1
            address = function * SEGMENTS + segment
            lines.append(f"            10'd{address}: row <= {bits}'h{word:0{digits}x};\n")
    lines.append(_TAIL.format(bits=bits, zero="0" * digits))
    return "".join(lines)


if __name__ == "__main__":
    TABLE.write_text(table_text(), encoding="utf-8")
