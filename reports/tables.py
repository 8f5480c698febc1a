"""Tables of a run for the page: what is shown, and the number that sorting goes by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from weft.reports.charts import Cell, csv_text
from weft.reports.units import count, data, joules, ratio, seconds, share
from weft.sim.results import Costs, LayerCost, RunResult

__all__ = [
    "Shown",
    "Table",
    "layer_table",
    "other_tables",
    "stage_table",
    "uncosted_table",
    "why",
    "without_empty",
]


@dataclass(frozen=True)
class Shown:
    """One cell: its text, and the value it is sorted by and exported as."""

    text: str
    value: Cell

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, int | float) and not isinstance(self.value, bool)


@dataclass(frozen=True)
class Table:
    """A titled table; ``header`` is (key, heading) per column, the key being the CSV's."""

    name: str
    title: str
    header: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Shown, ...], ...]
    caption: str = ""

    @property
    def columns(self) -> list[tuple[str, str, bool]]:
        """(key, heading, whether it holds numbers) per column."""
        numeric = [
            any(cell.is_number for cell in column) for column in zip(*self.rows, strict=True)
        ]
        numeric = numeric or [False] * len(self.header)
        return [(*names, number) for names, number in zip(self.header, numeric, strict=True)]

    @property
    def csv(self) -> str:
        keys = [key for key, _ in self.header]
        return csv_text(keys, [[cell.value for cell in row] for row in self.rows])


def without_empty(table: Table, kept: Sequence[str]) -> Table:
    """The table without columns in which nothing is known, but with those of ``kept``."""
    told = [
        place
        for place, (key, _) in enumerate(table.header)
        if key in kept or any(row[place].value is not None for row in table.rows)
    ]
    return replace(
        table,
        header=tuple(table.header[place] for place in told),
        rows=tuple(tuple(row[place] for place in told) for row in table.rows),
    )


def _text(value: str | None) -> Shown:
    return Shown("-" if value is None else value, value)


def _count(value: int | None) -> Shown:
    return Shown(count(value), value)


def why(layer: LayerCost) -> str | None:
    """What the layer's time went to most; None where that is not known (GPUs)."""
    return None if layer.cycles is None else layer.why


_STAGES = (
    ("stage", "stage"),
    ("time_s", "time"),
    ("share", "share"),
    ("cycles", "cycles"),
    ("energy_j", "energy"),
    ("dram_bytes", "DRAM"),
    ("macs_done", "MACs done"),
    ("macs_dense", "dense MACs"),
    ("stce_utilization", "utilization"),
    ("throughput_gops_effective", "effective GOP/s"),
)


def stage_table(run: RunResult) -> Table:
    """Costs by stage; their sum is in the summary."""
    rows = [
        _stage_row(stage, cost, run.total)
        for stage, cost in run.stages.items()
        if cost.time_s or cost.dram_bytes
    ]
    return Table("stage-table", "By stage", _STAGES, tuple(rows))


def _stage_row(stage: str, cost: Costs, total: Costs) -> tuple[Shown, ...]:
    part = cost.time_s / total.time_s if total.time_s else None
    gops = cost.throughput_gops_effective or None
    used = cost.stce_utilization or None
    return (
        _text(stage),
        Shown(seconds(cost.time_s), cost.time_s),
        Shown(share(part), part),
        _count(cost.cycles),
        Shown(joules(cost.energy_j), cost.energy_j),
        Shown(data(cost.dram_bytes), cost.dram_bytes),
        _count(cost.macs_done),
        _count(cost.macs_dense),
        Shown(share(used), used),
        Shown("-" if gops is None else f"{gops:,.4g}", gops),
    )


_LAYERS = (
    ("name", "layer"),
    ("stage", "stage"),
    ("op", "op"),
    ("why", "why"),
    ("time_s", "time"),
    ("share", "share"),
    ("cycles", "cycles"),
    ("busy", "busy"),
    ("memory_stall_cycles", "memory"),
    ("dependency_stall_cycles", "dependency"),
    ("fill_drain_cycles", "fill/drain"),
    ("dram_bytes", "DRAM"),
    ("energy_j", "energy"),
    ("pattern", "pattern"),
    ("dataflow", "dataflow"),
    ("size", "batch×M×K×N"),
    ("over_bound", "over bound"),
    ("over_limit", "over limit"),
    ("tile", "tile"),
)


def layer_table(run: RunResult) -> Table:
    """Every row of the run, the costliest first."""
    layers = sorted(run.layers, key=lambda layer: layer.time_s, reverse=True)
    return Table(
        "layer-table",
        "Layers",
        _LAYERS,
        tuple(_layer_row(layer, run.total) for layer in layers),
        "memory, dependency and fill/drain are stall cycles; over bound is how far the schedule "
        "is above what no tiling of the declared map space can beat for the product alone, over "
        "limit above what no schedule at all can: a full array, the least traffic, the latencies.",
    )


def _layer_row(layer: LayerCost, total: Costs) -> tuple[Shown, ...]:
    part = layer.time_s / total.time_s if total.time_s else None
    busy = None
    if layer.cycles and layer.busy_cycles is not None:
        busy = min(1.0, layer.busy_cycles / layer.cycles)
    stalls = (
        layer.memory_stall_cycles,
        layer.dependency_stall_cycles,
        layer.fill_drain_cycles,
    )
    size = None
    if layer.m is not None:
        size = "×".join(count(n) for n in (layer.batch, layer.m, layer.k, layer.n))
    return (
        _text(layer.name),
        _text(layer.stage),
        _text(layer.op),
        _text(why(layer)),
        Shown(seconds(layer.time_s), layer.time_s),
        Shown(share(part), part),
        _count(layer.cycles),
        Shown(share(busy), busy),
        *(_count(None if layer.cycles is None else stall) for stall in stalls),
        Shown(data(layer.dram_bytes), layer.dram_bytes),
        Shown(joules(layer.energy_j), layer.energy_j),
        _text(layer.pattern),
        _text(layer.dataflow),
        _text(size),
        _over_bound(layer),
        _over_limit(layer),
        _text(layer.tile),
    )


def _over_bound(layer: LayerCost) -> Shown:
    if not layer.bound_cycles or layer.scheduled_cycles is None:
        return _text(None)
    over = layer.scheduled_cycles / layer.bound_cycles - 1
    return Shown("optimal" if layer.proven else f"{over:.2%}", 0.0 if layer.proven else over)


def _over_limit(layer: LayerCost) -> Shown:
    if not layer.limit_cycles or layer.scheduled_cycles is None:
        return _text(None)
    over = layer.scheduled_cycles / layer.limit_cycles - 1
    return Shown(f"{over:.1%}", over)


def other_tables(run: RunResult) -> list[Table]:
    """Parts of a GPU's step, what-if and the weights' zeros, each only where the run has any."""
    tables = (_parts(run), _what_if(run), _weights(run))
    return [table for table in tables if table.rows]


def _parts(run: RunResult) -> Table:
    """What the time of a step on GPUs is made of."""
    header = (("part", "part"), ("time_s", "seconds"), ("share", "of the time"))
    whole = sum(run.parts_s.values()) or 1.0
    rows = [
        (
            _text(name.replace("_", " ")),
            Shown(f"{seconds:.4g}", seconds),
            Shown(share(seconds / whole), seconds / whole),
        )
        for name, seconds in run.parts_s.items()
    ]
    return Table("parts-table", "What the time is made of", header, tuple(rows))


def _what_if(run: RunResult) -> Table:
    header = (
        ("knob", "change"),
        ("old", "from"),
        ("new", "to"),
        ("saved_cycles", "saves"),
        ("speedup", "speed-up"),
        ("same_schedule_cycles", "with the same schedule"),
        ("cycles_per_unit", "cycles per unit"),
        ("unit", "unit"),
    )
    cycles = run.total.cycles or 0
    rows = [
        (
            _text(row.knob),
            _count(row.old),
            _count(row.new),
            _count(row.saved_cycles),
            _speedup(cycles, row.saved_cycles),
            _count(row.same_schedule_cycles),
            Shown(f"{row.unit_cycles:,.4g}", row.unit_cycles),
            _text(row.unit),
        )
        for row in run.what_if
    ]
    return Table("what-if-table", "What if, in numbers", header, tuple(rows))


def _speedup(cycles: int, saved: int) -> Shown:
    value = cycles / (cycles - saved) if cycles > saved else None
    return Shown(ratio(value, 3), value)


def _weights(run: RunResult) -> Table:
    header = (
        ("layer", "layer"),
        ("axis", "axis"),
        ("pattern", "pattern"),
        ("share", "groups that fit"),
        ("zeros", "zeros"),
    )
    rows = [
        (
            _text(row.layer),
            _text(row.axis),
            _text(row.pattern),
            Shown(share(row.share), row.share),
            Shown(share(row.zeros), row.zeros),
        )
        for row in run.weights
    ]
    return Table("weights-table", "What the weights' zeros show", header, tuple(rows))


def uncosted_table(run: RunResult) -> Table:
    """Ops of the trace that are not in the totals."""
    header = (
        ("op", "op"),
        ("name", "layer"),
        ("stage", "stage"),
        ("elements", "elements"),
        ("count", "times"),
    )
    rows: Sequence[tuple[Shown, ...]] = [
        (
            _text(op.op),
            _text(op.name),
            _text(op.stage),
            _count(op.elements),
            _count(op.count),
        )
        for op in run.uncosted
    ]
    return Table("uncosted-table", "Not costed", header, tuple(rows))
