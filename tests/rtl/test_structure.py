"""The structure read from the Verilog: against yosys, by hand, and against the simulator."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.rtl.hardware import VERILOG
from weft.rtl.inspection import assumptions as assumptions_module
from weft.rtl.inspection.assumptions import array_assumptions, differences, unit_assumptions
from weft.rtl.inspection.structure import StructureError, closure, draw, elaborate
from weft.rtl.inspection.synthesis import run_yosys
from weft.sim.machine import Array, load_machine, machine_names

SMALL = Array(rows=2, cols=3, interleave=5, multiplier_stages=1, adder_stages=3)


def write(folder: Path, **modules: str) -> Path:
    for name, text in modules.items():
        (folder / f"{name}.v").write_text(text, encoding="utf-8")
    return folder


LEAF = """
module leaf #(parameter WIDTH = 4, parameter DEPTH = 1 << WIDTH) (
    input wire clk, input wire [WIDTH-1:0] a, output reg [2*WIDTH-1:0] p, output reg q
);
    reg [7:0] store [0:DEPTH-1];
    reg never;  // no clock writes it
    always @(posedge clk) begin
        {q, p} <= {1'b0, a * a} + 9'd1;
        store[a] <= 2 * a;
    end
    always @* never = a[0];
endmodule
"""
TOP = """
module top #(parameter N = 3) (input wire clk, input wire [5:0] a);
    localparam LAST = N - 1;
    genvar i;
    generate
        for (i = 0; i < N; i = i + 1) begin : g
            wire [7:0] p;
            wire q;
            if (i == LAST) begin : wide
                leaf #(.WIDTH(6), .DEPTH($clog2(100))) unit (.clk(clk), .a(a), .p(), .q(q));
            end else begin : narrow
                leaf unit (.clk(clk), .a(a[3:0] - 4'd1), .p(p), .q(q));
            end
        end
    endgenerate
endmodule
"""


def test_counts_and_paths_by_hand(tmp_path: Path) -> None:
    top = elaborate("top", {}, write(tmp_path, leaf=LEAF, top=TOP))
    assert [child.name for child in top.children] == [
        "g[0].narrow.unit",
        "g[1].narrow.unit",
        "g[2].wide.unit",
    ]
    narrow, wide = top.at("g[0].narrow.unit"), top.at("g[2].wide.unit")
    assert narrow is top.at("g[1].narrow.unit")
    assert narrow.ports == {"clk": 1, "a": 4, "p": 8, "q": 1}
    assert wide.parameters == {"WIDTH": 6, "DEPTH": 7}
    assert (narrow.own.register_bits, narrow.own.array_bits) == (9, 8 * 16)
    assert (wide.own.register_bits, wide.own.array_bits) == (13, 8 * 7)
    assert (narrow.own.multipliers, narrow.own.adders) == (1, 1)
    assert (top.own.adders, top.total.adders, top.total.multipliers) == (2, 5, 3)
    assert (top.instances("leaf"), elaborate("top", {"N": 7}, tmp_path).instances("leaf")) == (3, 7)
    assert "leaf" in draw(top)


def test_unknown_names_are_explained(tmp_path: Path) -> None:
    write(tmp_path, leaf=LEAF)
    with pytest.raises(StructureError, match="no Verilog module 'lef'"):
        elaborate("lef", {}, tmp_path)
    with pytest.raises(StructureError, match="leaf has no parameter DEEP; it has WIDTH, DEPTH"):
        elaborate("leaf", {"DEEP": 1}, tmp_path)
    with pytest.raises(StructureError, match=r"leaf has no instance x\.y; it has none"):
        elaborate("leaf", {}, tmp_path).at("x.y")


@pytest.mark.parametrize(
    ("top", "parameters"),
    [
        ("uspe", {"INTERLEAVE": 5, "LM": 1, "LA": 3}),
        ("stce", {}),
        ("column_port", {"LM": 3, "LA": 2}),
        ("row_feeder", {}),
        ("sore_lane", {"KEEP_MAX": 5}),
    ],
)
def test_registers_multipliers_and_adders_agree_with_yosys(
    top: str, parameters: dict[str, int]
) -> None:
    settings_ = "".join(f" -chparam {name} {value}" for name, value in parameters.items())
    sources = closure(top)
    files = " ".join(path.name for path in sources)
    script = (
        f"read_verilog {files}\nhierarchy -top {top}{settings_}\nproc -noopt\nflatten\nopt_clean\n"
        "memory_collect\ntee -q -o stat.json stat -json -width\n"
    )
    (cells,) = run_yosys(script, sources).values()

    def bits(kind: str) -> int:
        found = (name.rpartition("_") for name in cells if name.startswith(f"{kind}_"))
        return sum(int(width) * cells[f"{name}_{width}"] for name, _, width in found)

    def number(*kinds: str) -> int:
        return sum(count for name, count in cells.items() if name.rpartition("_")[0] in kinds)

    total = elaborate(top, parameters).total
    memories = sum(count for name, count in cells.items() if name.startswith("$mem"))
    stored = total.register_bits + total.array_bits
    if memories == 0:
        assert bits("$dff") == stored
    else:
        assert bits("$dff") == stored - 16 * 2 * 20 * memories  # the weight banks of elements
    assert number("$mul") == total.multipliers
    assert number("$add", "$sub") == total.adders


@pytest.mark.parametrize("name", machine_names())
def test_simulator_and_verilog_agree_on_every_shipped_machine(name: str) -> None:
    assert differences(array_assumptions(load_machine(name).array)) == []


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 40),
    cols=st.integers(1, 40),
    wait=st.integers(0, 9),
    multiplier=st.integers(1, 9),
    adder=st.integers(1, 9),
)
def test_simulator_and_verilog_agree_on_any_array(
    rows: int, cols: int, wait: int, multiplier: int, adder: int
) -> None:
    array = Array(rows, cols, adder + wait, multiplier, adder)
    assert differences(array_assumptions(array)) == []


def test_simulator_and_verilog_agree_on_programs() -> None:
    assert differences(unit_assumptions()) == []


CHANGES = [
    ("fp16_multiplier", ".STAGES(STAGES - MIDDLE)", ".STAGES(STAGES + 1)", "multiplier stages"),
    ("fp32_adder", ".STAGES(AFTER_ROUNDING)", ".STAGES(AFTER_ROUNDING + 1)", "adder stages"),
    ("fp32_adder", ".STAGES(AFTER_SUM)", ".STAGES(1 - AFTER_SUM)", "adder stages"),
    ("uspe", ".STAGES(INTERLEAVE - LA)", ".STAGES(INTERLEAVE - LA + 1)", "interleave"),
    ("uspe", "input  wire [255:0] west_word", "input  wire [127:0] west_word", "activation word"),
    ("uspe", "input  wire [3:0]   north_index", "input  wire [2:0]   north_index", "an index"),
    ("uspe", "reg [32*INTERLEAVE-1:0] drain", "reg [64*INTERLEAVE-1:0] drain", "drain words"),
    ("stce", "r < ROWS; r = r + 1) begin : rows", "r < 1; r = r + 1) begin : rows", "elements"),
    ("stce_unit", "parameter WORDS_LOG2 = 4", "parameter WORDS_LOG2 = 3", "weight banks"),
    ("column_port", "fp32_adder #(.STAGES(LA))", "fp32_adder #(.STAGES(1))", "at the drain"),
    ("sat_top", "localparam CHANNELS = 19", "localparam CHANNELS = 18", "token channels"),
    ("sat_top", "q < 5", "q < 4", "queues"),
    ("sore_lane", "parameter KEEP_MAX = 15", "parameter KEEP_MAX = 7", "largest N"),
    ("wuve_lane", "file[0:8*SLOTS-1]", "file[0:4*SLOTS-1]", "registers of a lane"),
    ("wuve_lane", ".STAGES(DEPTH)", ".STAGES(DEPTH + 1)", "cycles of a lane operation"),
    (
        "wuve",
        "i < LANES; i = i + 1) begin : g_lane",
        "i < 1; i = i + 1) begin : g_lane",
        "WUVE lanes",
    ),
    ("function_table", "output reg  [72:0] row", "output reg  [71:0] row", "coefficients"),
]


@pytest.mark.parametrize(("module", "old", "new", "name"), CHANGES)
def test_a_change_in_the_verilog_is_seen(
    tmp_path: Path, module: str, old: str, new: str, name: str
) -> None:
    for path in VERILOG.glob("*.v"):
        shutil.copy(path, tmp_path)
    text = (tmp_path / f"{module}.v").read_text("utf-8")
    assert old in text
    (tmp_path / f"{module}.v").write_text(text.replace(old, new), encoding="utf-8")
    found = differences(array_assumptions(SMALL, tmp_path) + unit_assumptions(tmp_path))
    assert any(name in line for line in found), found


def test_a_change_in_the_simulator_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assumptions_module, "MAX_M", 8)
    found = "\n".join(differences(array_assumptions(SMALL) + unit_assumptions()))
    for name in ("activation word", "an index", "weight banks", "largest N"):
        assert name in found
