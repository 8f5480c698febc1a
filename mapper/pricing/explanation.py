"""Why a run takes its time: what the critical path is made of, and what each change would save."""

from __future__ import annotations

import dataclasses
from typing import Any

from weft.mapper.planning.plan import make_plan
from weft.mapper.pricing.machine import Priced, Schedules
from weft.mapper.scheduling.schedule import Scheduler
from weft.sim.engine import Engine
from weft.sim.engine.critical import Part, critical_path
from weft.sim.machine import Machine, with_memory
from weft.sim.results import RunResult, WhatIf

__all__ = ["explain"]

_KNOBS = (
    ("memory", "read_bytes_per_cycle", 2.0, Part.READ, "byte per cycle"),
    ("memory", "write_bytes_per_cycle", 2.0, Part.WRITE, "byte per cycle"),
    ("memory", "read_latency_cycles", 0.5, Part.READ_LATENCY, "cycle less"),
    ("memory", "write_latency_cycles", 0.5, Part.WRITE_LATENCY, "cycle less"),
    ("buffers", "left_bytes", 2.0, None, "KiB"),
    ("buffers", "right_bytes", 2.0, None, "KiB"),
    ("buffers", "output_bytes", 2.0, None, "KiB"),
    ("array", "rows", 2.0, None, "PE row"),
    ("array", "cols", 2.0, None, "PE column"),
    ("wuve", "lanes", 2.0, None, "lane"),
    ("sore", "lanes", 2.0, None, "lane"),
)
"""Machine part, field, factor of the change, its part of the critical path, unit of derivative."""

_PORTS = (Part.READ, Part.WRITE)


def explain(priced: Priced) -> RunResult:
    """The result with its critical path and what-if table filled in (SAT machines only)."""
    found = priced.schedules
    if found is None:
        return priced.result
    machine = found.engine.machine
    parts = dict.fromkeys(Part, 0)
    for plan, count in zip(found.plans, found.counts, strict=True):
        for part, cycles in critical_path(plan.program, machine).parts.items():
            parts[part] += count * cycles
    # What a detailed memory moves per cycle is not a field that can be turned.
    knobs = (knob for knob in _KNOBS if knob[3] not in _PORTS or not machine.memory.dram)
    now = priced.result.total.cycles or 0
    return dataclasses.replace(
        priced.result,
        critical_path_cycles={part.name.lower(): cycles for part, cycles in parts.items()},
        what_if=tuple(_what_if(found, now, knob, parts) for knob in knobs),
    )


def _changed(machine: Machine, part: str, field: str, value: int) -> Machine:
    changed = dataclasses.replace(getattr(machine, part), **{field: value})
    fields: dict[str, Any] = {part: changed}
    return dataclasses.replace(machine, **fields)


def _what_if(
    schedules: Schedules,
    now: int,
    knob: tuple[str, str, float, Part | None, str],
    parts: dict[Part, int],
) -> WhatIf:
    group, field, factor, part, unit = knob
    machine = schedules.engine.machine
    old = getattr(getattr(machine, group), field)
    new = max(1, round(old * factor))
    changed = _changed(machine, group, field, new)
    saved = now - _cycles(schedules, changed)
    same = None
    if group == "memory":
        same = now - sum(
            count * Engine(changed).run(plan.program).cycles
            for plan, count in zip(schedules.plans, schedules.counts, strict=True)
        )
    step = (new - old) / (1024 if unit == "KiB" else 1)
    slope = saved / abs(step) if part is None else parts[part] / old if old else 0.0
    return WhatIf(f"{group}.{field}", old, new, saved, same, unit, slope)


def _cycles(schedules: Schedules, machine: Machine) -> int:
    """Cycles of the run's workloads on another machine, scheduled for it."""
    scheduler = Scheduler(with_memory(machine, "simple"), schedules.switches)
    engine = Engine(machine)
    return sum(
        count * engine.run(make_plan(plan.workload, scheduler).program).cycles
        for plan, count in zip(schedules.plans, schedules.counts, strict=True)
    )
