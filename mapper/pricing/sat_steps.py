"""A plan timed by the engine and counted by its actions becomes a result."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from weft.mapper.planning.plan import Plan, Planned
from weft.mapper.pricing.machine import Header, uncosted_ops
from weft.mapper.scheduling.limits import limits_of
from weft.sim.energy import Energy, EnergyTable, energy_of, load_energy_table
from weft.sim.energy.actions import ActionCounter, Actions
from weft.sim.engine import Cause, Engine, SegmentTiming, Timing
from weft.sim.machine import Machine
from weft.sim.program import Queue
from weft.sim.results import STAGES, Costs, LayerCost, RunResult, UnitCost
from weft.sim.workload import MaskWork, Product, UpdateOp, VectorOp

__all__ = ["price_steps"]

_NO_ACTIONS = Actions()


@dataclass(frozen=True)
class _Row:
    """A layer's cost with the actions behind it."""

    layer: LayerCost
    actions: Actions


@dataclass(frozen=True)
class _Step:
    """One priced step."""

    rows: tuple[_Row, ...]
    timing: Timing
    actions: Actions


def price_steps(plans: Sequence[tuple[Plan, int]], engine: Engine, header: Header) -> RunResult:
    """Price each distinct step once and add them up as often as they occur."""
    machine = plans[0][0].machine
    table = load_energy_table(machine.technology)
    counter = ActionCounter(machine)
    steps = [(_price(plan, engine, counter, table), count) for plan, count in plans]
    total = sum((step.actions.times(count) for step, count in steps), _NO_ACTIONS)
    cycles = sum(step.timing.cycles * count for step, count in steps)
    energy = energy_of(total, cycles / machine.clock_hz, table)
    rows = _merge(steps, machine)
    workload = plans[0][0].workload
    count = sum(count for _, count in plans)
    return RunResult(
        weft_version=header.weft_version,
        model=header.model,
        recipe=header.recipe,
        pattern=header.pattern,
        hardware=machine.name,
        batch=workload.batch,
        steps=count,
        total=_costs(rows, total, cycles, energy, machine, workload.batch * count),
        stages=_stages(rows, machine, workload.batch * count, table),
        layers=tuple(row.layer for row in rows),
        uncosted=uncosted_ops(workload),
        units=_units(steps),
        energy_by_component_j=dataclasses.asdict(energy),
        actions=dataclasses.asdict(total),
        notes=header.notes,
        provenance=header.provenance,
        machine=dataclasses.asdict(machine),
    )


def _price(plan: Plan, engine: Engine, counter: ActionCounter, table: EnergyTable) -> _Step:
    timing = engine.run(plan.program)
    rows: list[_Row] = []
    total = _NO_ACTIONS
    for planned, time in zip(plan.segments, timing.segments, strict=True):
        actions = counter.body(planned.segment.body)
        total += actions
        rows += _rows(planned, time, actions, counter, plan.machine, table)
    return _Step(tuple(rows), timing, total)


def _rows(
    planned: Planned,
    time: SegmentTiming,
    actions: Actions,
    counter: ActionCounter,
    machine: Machine,
    table: EnergyTable,
) -> list[_Row]:
    """One row for a segment; an update's layouts and a hidden stream have rows of their own."""
    head = planned.items[0]
    if planned.hidden:
        return _shadowed(planned, time, actions, counter, machine, table)
    if not isinstance(head, UpdateOp) or planned.alone is None:
        return [_row(planned, time, time.span_cycles, actions, machine, table)]
    alone = counter.body(planned.alone)
    sore = actions + alone.times(-1)
    exposed = max(0, _bound(actions) - _bound(alone))
    shown = min(exposed, max(0, time.span_cycles))
    masks = [item for item in planned.items if isinstance(item, MaskWork)]
    layouts = dataclasses.replace(planned, items=tuple(masks), pick=None)
    return [
        _row(planned, time, time.span_cycles - shown, alone, machine, table),
        _row(layouts, time, shown, sore, machine, table),
    ]


def _shadowed(
    planned: Planned,
    time: SegmentTiming,
    actions: Actions,
    counter: ActionCounter,
    machine: Machine,
    table: EnergyTable,
) -> list[_Row]:
    """A product and the stream in its shadow, which takes only what the product alone would not."""
    product = counter.body(planned.body)
    alone = planned.pick.cycles if planned.pick else 0
    exposed = max(0, time.span_cycles - alone)
    stream = dataclasses.replace(planned, items=planned.hidden, pick=None)
    return [
        _row(planned, time, time.span_cycles - exposed, product, machine, table),
        _row(stream, time, exposed, actions + product.times(-1), machine, table),
    ]


def _bound(actions: Actions) -> int:
    return max(
        actions.load_busy_cycles,
        actions.store_busy_cycles,
        actions.sore_busy_cycles,
        actions.wuve_busy_cycles,
    )


@dataclass(frozen=True)
class _Unit:
    """The unit that a row's stalls are told for."""

    stage: str
    op: str
    queue: Queue
    busy: int


def _unit(planned: Planned, actions: Actions) -> _Unit:
    head = planned.items[0]
    if isinstance(head, Product):
        fused = "".join(f"+{item.op}" for item in planned.items[1:] if isinstance(item, VectorOp))
        return _Unit(str(head.stage), head.op + fused, Queue.STCE, actions.stce_issue_cycles)
    if isinstance(head, VectorOp):
        op = "+".join(item.op for item in planned.items if isinstance(item, VectorOp))
        return _Unit("vector", op, Queue.WUVE, actions.wuve_busy_cycles)
    if isinstance(head, MaskWork):
        return _Unit("sore", f"prune-{head.source}", Queue.SORE, actions.sore_busy_cycles)
    return _Unit("optimizer", head.optimizer, Queue.WUVE, actions.wuve_busy_cycles)


def _row(
    planned: Planned,
    time: SegmentTiming,
    span: int,
    actions: Actions,
    machine: Machine,
    table: EnergyTable,
) -> _Row:
    head = planned.items[0]
    unit = _unit(planned, actions)
    product = head if isinstance(head, Product) else None
    pick = planned.pick
    limits = limits_of(product, machine) if product else None
    seconds = span / machine.clock_hz
    stall = max(0, span - unit.busy)
    fill = min(actions.fill_drain_cycles, stall) if product else 0
    memory = min(time.stall_cycles[unit.queue][Cause.MEMORY], stall - fill)
    layer = LayerCost(
        name=head.name,
        stage=unit.stage,
        op=unit.op,
        m=product.m if product else None,
        k=product.k if product else None,
        n=product.n if product else None,
        batch=product.batch if product else 1,
        pattern=_pattern(head),
        dataflow=pick.tiling.dataflow.name if pick else None,
        cycles=span,
        time_s=seconds,
        stall_cycles=stall,
        busy_cycles=unit.busy,
        dram_bytes=actions.dram_bytes,
        energy_j=energy_of(actions, seconds, table).total_j,
        macs_dense=product.macs_dense if product else 0,
        macs_done=product.macs_done if product else 0,
        memory_stall_cycles=memory,
        dependency_stall_cycles=stall - fill - memory,
        fill_drain_cycles=fill,
        bound_cycles=pick.bound_cycles if pick else None,
        scheduled_cycles=pick.cycles if pick else None,
        candidates=pick.candidates if pick else None,
        proven=pick.proven if pick else None,
        limit_compute_cycles=limits.compute_cycles if limits else None,
        limit_dram_cycles=limits.dram_cycles if limits else None,
        limit_fill_cycles=limits.fill_cycles if limits else None,
        tile=_tile(planned),
    )
    return _Row(layer, actions)


def _pattern(item: Product | VectorOp | UpdateOp | MaskWork) -> str:
    return str(item.pattern) if isinstance(item, Product | MaskWork) else "dense"


def _tile(planned: Planned) -> str:
    """The tile as batch x m x k x n elements, with the operand that stays on chip."""
    if planned.pick is None:
        return ""
    tiling, problem = planned.pick.tiling, planned.pick.problem
    m, k, n = (getattr(tiling, axis) * getattr(problem, axis).unit for axis in ("m", "k", "n"))
    swapped = ", swapped" if tiling.swapped else ""
    return f"{tiling.batch}x{m}x{k}x{n}, outer {tiling.outer}{swapped}"


def _merge(steps: Sequence[tuple[_Step, int]], machine: Machine) -> list[_Row]:
    """Rows of several distinct steps, the same layer's added up."""
    if len(steps) == 1 and steps[0][1] == 1:
        return list(steps[0][0].rows)
    merged: dict[tuple[object, ...], _Row] = {}
    for step, count in steps:
        seen: Counter[tuple[object, ...]] = Counter()
        for row in step.rows:
            layer = row.layer
            kind = (layer.name, layer.stage, layer.op, layer.pattern, layer.tile)
            key = (*kind, seen[kind])
            seen[kind] += 1
            scaled = _scaled(row, count)
            known = merged.get(key)
            merged[key] = _added(known, scaled, machine) if known else scaled
    return list(merged.values())


_SUMMED = (
    "cycles",
    "stall_cycles",
    "busy_cycles",
    "dram_bytes",
    "macs_dense",
    "macs_done",
    "memory_stall_cycles",
    "dependency_stall_cycles",
    "fill_drain_cycles",
)


def _scaled(row: _Row, count: int) -> _Row:
    layer = row.layer
    changes = {name: getattr(layer, name) * count for name in _SUMMED}
    energy = None if layer.energy_j is None else layer.energy_j * count
    return _Row(
        dataclasses.replace(layer, **changes, time_s=layer.time_s * count, energy_j=energy),
        row.actions.times(count),
    )


def _added(a: _Row, b: _Row, machine: Machine) -> _Row:
    changes = {name: getattr(a.layer, name) + getattr(b.layer, name) for name in _SUMMED}
    energy = (a.layer.energy_j or 0.0) + (b.layer.energy_j or 0.0)
    seconds = changes["cycles"] / machine.clock_hz
    layer = dataclasses.replace(a.layer, **changes, time_s=seconds, energy_j=energy)
    return _Row(layer, a.actions + b.actions)


def _costs(
    rows: Sequence[_Row],
    actions: Actions,
    cycles: int,
    energy: Energy,
    machine: Machine,
    samples: int,
) -> Costs:
    seconds = cycles / machine.clock_hz
    dense = sum(row.layer.macs_dense for row in rows)
    done = sum(row.layer.macs_done for row in rows)
    peak = machine.peak_macs_per_cycle * cycles
    return Costs(
        cycles=cycles,
        time_s=seconds,
        energy_j=energy.total_j,
        macs_dense=dense,
        macs_done=done,
        dram_bytes=actions.dram_bytes,
        stce_utilization=done / peak if peak else 0.0,
        throughput_gops_effective=2 * dense / seconds / 1e9 if seconds else 0.0,
        samples_per_s=samples / seconds if seconds else 0.0,
    )


def _stages(
    rows: Sequence[_Row], machine: Machine, samples: int, table: EnergyTable
) -> dict[str, Costs]:
    stages: dict[str, Costs] = {}
    for stage in STAGES:
        own = [row for row in rows if row.layer.stage == stage]
        cycles = sum(row.layer.cycles or 0 for row in own)
        actions = sum((row.actions for row in own), _NO_ACTIONS)
        energy = energy_of(actions, cycles / machine.clock_hz, table)
        stages[stage] = _costs(own, actions, cycles, energy, machine, samples)
    return stages


def _units(steps: Sequence[tuple[_Step, int]]) -> tuple[UnitCost, ...]:
    units: list[UnitCost] = []
    for queue in Queue:
        stalls = [0] * len(Cause)
        busy = 0
        for step, count in steps:
            busy += count * getattr(step.actions, f"{queue.name.lower()}_busy_cycles")
            for segment in step.timing.segments:
                for cause in Cause:
                    stalls[cause] += count * segment.stall_cycles[queue][cause]
        units.append(
            UnitCost(
                queue.name.lower(),
                busy,
                stalls[Cause.MEMORY],
                stalls[Cause.DEPENDENCY],
                stalls[Cause.BUFFER],
            )
        )
    return tuple(units)
