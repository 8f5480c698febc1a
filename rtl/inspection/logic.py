"""The logic between a machine's registers, unit by unit, as ``weft hardware --area`` shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from weft.rtl.inspection.area import depth_jobs
from weft.rtl.inspection.depth import Stage
from weft.rtl.inspection.synthesis import Job, logic_stages
from weft.sim.machine import Machine

__all__ = ["NODES", "UnitStage", "logic_depths"]

NODES = (
    "Nodes: tables, blocks of four carry bits, wide multiplexers, reads of distributed RAM and "
    "uncut DSP multiplications on the\nlongest path into those registers, in yosys' netlist. No "
    "delays are known before placement, so no clock follows from them."
)

_SHOWN = 6
"""Stages of a unit that are shown, the deepest; arithmetic is shown whole."""


@dataclass(frozen=True)
class UnitStage:
    """A pipeline stage of a unit."""

    unit: str
    stage: Stage


def logic_depths(machine: Machine) -> tuple[UnitStage, ...]:
    """Every stage of the arithmetic, and the deepest of each unit that holds it.

    Units are synthesised at small sizes, where every kind of path is; copies of a stage count once.

    Raises:
        AreaError: yosys is not installed, or failed.
    """
    array = machine.array
    arithmetic: tuple[Job, ...] = (
        ("fp16_multiplier", {"STAGES": array.multiplier_stages}, ()),
        ("fp32_adder", {"STAGES": array.adder_stages}, ()),
        ("fp32_multiplier", {"STAGES": array.multiplier_stages}, ()),
        ("function_unit", {}, ()),
    )
    rows = [UnitStage(job[0], stage) for job in arithmetic for stage in _stages(job)]
    for job in depth_jobs(machine):
        rows += [UnitStage(job[0], stage) for stage in _stages(job)[:_SHOWN]]
    return tuple(rows)


def _stages(job: Job) -> list[Stage]:
    """Stages of one synthesis, copies of the same registers as one, deepest first."""
    return _merged(logic_stages(*job))


def _merged(stages: Iterable[Stage]) -> list[Stage]:
    found: dict[str, Stage] = {}
    for stage in stages:
        plain = re.sub(r"\[\d+\]", "", stage.into)
        if plain.startswith("$"):  # a register of yosys' own making
            plain = "unnamed"
        if stage.depth > found.get(plain, Stage("", -1, "", "")).depth:
            found[plain] = replace(stage, into=plain)
    return sorted((stage for stage in found.values() if stage.depth), key=lambda s: -s.depth)
