"""cocotb side of the STCE bench: run the one instruction that a JSON file describes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge


@cocotb.test()
async def run_case(dut: Any) -> None:
    """Load the buffers, run one instruction, save the outputs and the cycle count."""
    case = json.loads(Path(os.environ["WEFT_CASE"]).read_text(encoding="utf-8"))
    Clock(dut.clk, 2, unit="step", impl="gpi").start()
    for name in ("start", "load", "save"):
        getattr(dut, name).value = 0
    for name, value in case["fields"].items():
        getattr(dut, name).value = value
    dut.reset.value = 1
    dut.load.value = 1
    await ClockCycles(dut.clk, 2)
    dut.reset.value = 0
    dut.load.value = 0
    await ClockCycles(dut.clk, 4)
    dut.start.value = 1
    await ClockCycles(dut.clk, 1)
    dut.start.value = 0
    await RisingEdge(dut.finished)
    await ClockCycles(dut.clk, 4)
    dut.save.value = 1
    await ClockCycles(dut.clk, 2)
    Path(case["answer"]).write_text(json.dumps({"cycles": int(dut.cycles.value)}), "utf-8")
