"""Building and running Verilog: what is cached, what makes a new build, how failures show."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from weft.rtl.cosimulation.build import (
    BuildError,
    Design,
    TestsFailedError,
    build_cocotb,
    build_cpp,
    cache_folder,
    run_cocotb,
)

COUNTER = """
module counter #(parameter STEP = 1) (input wire clk, output wire [7:0] total);
    reg [7:0] value = 0;
    reg [7:0] twice = 0;
    always @(posedge clk) begin
        value <= value + STEP;
        twice <= value << 1;
    end
    assign total = value;
endmodule
"""
MAIN = """
#include <cstdio>
#include "Vtop.h"
int main() {
    Vtop top;
    for (int i = 0; i < 3; ++i) { top.clk = 0; top.eval(); top.clk = 1; top.eval(); }
    std::printf("%d", top.total);
}
"""
TESTS = """
import os
import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge

@cocotb.test()
async def counts(dut):
    Clock(dut.clk, 2, unit="step", impl="gpi").start()
    await ClockCycles(dut.clk, 10)
    await FallingEdge(dut.clk)
    assert int(dut.total.value) == 10 * int(os.environ["STEP"])
    assert hasattr(dut, "twice") == ("SEEN" in os.environ)
"""


@pytest.fixture
def design(tmp_path: Path) -> Design:
    (tmp_path / "counter.v").write_text(COUNTER)
    (tmp_path / "main.cpp").write_text(MAIN)
    (tmp_path / "counter_tests.py").write_text(TESTS)
    return Design("counter", (tmp_path / "counter.v",), {"STEP": 2})


def run_cpp(design: Design, folder: Path) -> str:
    program = build_cpp(design, folder / "main.cpp")
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout


def test_builds_are_made_once_and_anew_when_anything_changes(
    design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_cpp(design, tmp_path) == "6"
    first = build_cpp(design, tmp_path / "main.cpp")
    made = first.stat().st_mtime_ns
    assert build_cpp(design, tmp_path / "main.cpp").stat().st_mtime_ns == made
    assert run_cpp(replace(design, parameters={"STEP": 5}), tmp_path) == "15"
    (tmp_path / "counter.v").write_text(COUNTER.replace("value + STEP", "value + STEP + 1"))
    assert run_cpp(design, tmp_path) == "9"
    assert first.is_file()
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere"


def test_broken_verilog_leaves_nothing_and_says_why(design: Design, tmp_path: Path) -> None:
    (tmp_path / "counter.v").write_text(COUNTER.replace("assign total", "assing total"))
    with pytest.raises(BuildError, match=r"counter\.v:9"):
        build_cpp(design, tmp_path / "main.cpp")
    assert not list((cache_folder() / "builds").glob(".counter-*"))


def test_cocotb_runs_and_failures_are_errors(
    design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    ports = ("counter.clk", "counter.total")
    hidden = build_cocotb(replace(design, visible=ports))
    assert "PASS" in run_cocotb(hidden, "counter_tests", environment={"STEP": "2"})
    with pytest.raises(TestsFailedError, match="1 of 1 tests failed"):
        run_cocotb(hidden, "counter_tests", environment={"STEP": "3"})
    with pytest.raises(TestsFailedError, match="no_such_tests: no results"):
        run_cocotb(hidden, "no_such_tests")
    with pytest.raises(TestsFailedError, match="0 of 0 tests failed"):
        run_cocotb(hidden, "counter_tests", environment={"STEP": "2", "COCOTB_TEST_FILTER": "none"})
    # Only what is named is visible: everything else is optimised.
    seen = build_cocotb(replace(design, visible=(*ports, "counter.twice")))
    assert seen != hidden
    run_cocotb(seen, "counter_tests", environment={"STEP": "2", "SEEN": "1"})
