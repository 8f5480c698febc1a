"""The accelerator's Verilog as a whole: lint, and machines that it cannot be."""

from __future__ import annotations

import dataclasses

import pytest

from weft.rtl.cosimulation.build import Design, lint
from weft.rtl.cosimulation.parameters import UnsupportedMachineError, parameters
from weft.rtl.cosimulation.simulate import MODULES, cosim_design
from weft.sim.machine import Machine, load_machine


@pytest.mark.parametrize("array", ["4x4", "4x8", "8x8"])
def test_lints_clean_with_all_warnings_on(array: str) -> None:
    design = cosim_design(load_machine(f"sat-{array}"), 4096, 20)
    outside = ("READ_LATENCY", "WRITE_LATENCY", "MEMORY_LOG2")
    own = {name: value for name, value in design.parameters.items() if name not in outside}
    lint(Design("sat_top", design.sources[: len(MODULES)], own))


def change(machine: Machine, part: str, **fields: int) -> Machine:
    inner = dataclasses.replace(getattr(machine, part), **fields)
    return dataclasses.replace(machine, **{part: inner})


def test_refuses_machines_that_the_verilog_cannot_be() -> None:
    machine = load_machine("sat-4x4")
    cases = [
        (change(machine, "array", rows=3), "array.rows = 3; the Verilog needs a power of two"),
        (
            change(machine, "memory", write_bytes_per_cycle=16),
            "memory.write_bytes_per_cycle = 16; the Verilog needs 4 to 8",
        ),
        (change(machine, "memory", read_latency_cycles=2), "read_latency_cycles = 2"),
        (change(machine, "sore", pipeline_cycles=4), "sore.pipeline_cycles = 4"),
    ]
    for wrong, message in cases:
        with pytest.raises(UnsupportedMachineError, match=message):
            parameters(wrong)
