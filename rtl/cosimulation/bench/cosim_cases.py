"""cocotb side of co-simulation: start each case, sleep until it is done."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge


@cocotb.test()
async def run_cases(dut: Any) -> None:
    """Run all cases of the folder; files and answers: ``weft.rtl.cosimulation.cosim``."""
    folder = Path(os.environ["WEFT_CASES"])
    cases = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    Clock(dut.clk, 2, unit="step", impl="gpi").start()
    dut.load.value = 0
    await ClockCycles(dut.clk, 2)
    answers: list[dict[str, int]] = []
    for case in cases:
        for name, value in case.items():
            getattr(dut, name).value = value
        dut.load.value = 1
        await ClockCycles(dut.clk, 1)
        dut.load.value = 0
        await RisingEdge(dut.done)
        answer = {name: int(getattr(dut, name).value) for name in ("cycles", "hung", "faults")}
        answers.append(answer)
        await ClockCycles(dut.clk, 2)
    (folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
