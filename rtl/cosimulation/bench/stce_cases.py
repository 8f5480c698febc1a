"""cocotb side of the STCE bench: run the instructions that a JSON file describes, one by one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

IMAGES = ("left.hex", "right.hex", "seeds.hex")


@cocotb.test()
async def run_cases(dut: Any) -> None:
    """For each case: load its images, run its instruction, save the outputs and the cycles.

    The file that WEFT_CASES names holds a list of {"folder": where the images lie and the result
    goes, "fields": the instruction}; the bench itself reads and writes in the file's own folder.
    """
    listing = Path(os.environ["WEFT_CASES"])
    Clock(dut.clk, 2, unit="step", impl="gpi").start()
    for name in ("start", "load", "save"):
        getattr(dut, name).value = 0
    for case in json.loads(listing.read_text(encoding="utf-8")):
        place = Path(case["folder"])
        for name in IMAGES:
            shutil.copy(place / name, listing.parent / name)
        await _run(dut, case["fields"])
        shutil.move(listing.parent / "result.hex", place / "result.hex")
        (place / "cycles.json").write_text(json.dumps(int(dut.cycles.value)), "utf-8")


async def _run(dut: Any, fields: dict[str, int]) -> None:
    for name, value in fields.items():
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
    dut.save.value = 0
    await ClockCycles(dut.clk, 1)
