"""The result of a simulation: what ran, what it cost, per layer and stage, and why.

Plain data with a stable JSON form; reading it back needs neither torch nor the engine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

__all__ = [
    "SCHEMA",
    "STAGES",
    "Costs",
    "LayerCost",
    "ResultError",
    "RunResult",
    "UncostedOp",
    "UnitCost",
    "WeightPattern",
    "WhatIf",
]

SCHEMA = "weft-run/1"
STAGES = ("ff", "bp", "wu", "optimizer", "sore", "vector")


class ResultError(ValueError):
    """A run that cannot be read: not weft's, of another version, or damaged."""


@dataclass(frozen=True)
class Costs:
    """Totals of the run or of one stage.

    ``cycles`` is None on a GPU. ``stce_utilization`` is multiply-accumulates done per PE and
    cycle; ``throughput_gops_effective`` counts two operations for each dense
    multiply-accumulate, skipped zeros included.
    """

    cycles: int | None
    time_s: float
    energy_j: float | None
    macs_dense: int
    macs_done: int
    dram_bytes: int
    stce_utilization: float | None
    throughput_gops_effective: float
    samples_per_s: float


@dataclass(frozen=True)
class LayerCost:
    """One segment: a product with what is fused to it, a chain of vector ops, an update.

    ``cycles`` is how much later the run ends because of it, so all layers add up to the total.
    ``busy_cycles`` gives work to the layer's own unit; ``stall_cycles`` is the rest, of which
    ``memory_stall_cycles``, ``dependency_stall_cycles`` and ``fill_drain_cycles`` say why.
    ``bound_cycles`` is what no schedule of the declared map space can beat for the product alone;
    ``limit_*`` are what none at all can: the array always full, memory traffic at its least, and
    the ends that nothing hides. ``candidates`` tilings were compared.
    """

    name: str
    stage: str
    op: str
    m: int | None
    k: int | None
    n: int | None
    batch: int
    pattern: str
    dataflow: str | None
    cycles: int | None
    time_s: float
    stall_cycles: int | None
    busy_cycles: int | None
    dram_bytes: int
    energy_j: float | None
    macs_dense: int = 0
    macs_done: int = 0
    memory_stall_cycles: int = 0
    dependency_stall_cycles: int = 0
    fill_drain_cycles: int = 0
    bound_cycles: int | None = None
    scheduled_cycles: int | None = None
    candidates: int | None = None
    proven: bool | None = None
    limit_compute_cycles: int | None = None
    limit_dram_cycles: int | None = None
    limit_fill_cycles: int | None = None
    tile: str = ""

    @property
    def limit_cycles(self) -> int | None:
        """What physics leaves to any schedule of the product alone."""
        if self.limit_compute_cycles is None:
            return None
        busiest = max(self.limit_compute_cycles, self.limit_dram_cycles or 0)
        return busiest + (self.limit_fill_cycles or 0)

    @property
    def why(self) -> str:
        """What most of the stall is, or "compute" when the unit is busy most of the time."""
        if not self.cycles or not self.stall_cycles or 2 * self.stall_cycles < self.cycles:
            return "compute"
        causes = {
            "memory": self.memory_stall_cycles,
            "dependency": self.dependency_stall_cycles,
            "fill/drain": self.fill_drain_cycles,
        }
        return max(causes, key=lambda cause: causes[cause])


@dataclass(frozen=True)
class UnitCost:
    """One queue over the whole run: cycles at work, and standing still by cause."""

    unit: str
    busy_cycles: int
    memory_stall_cycles: int
    dependency_stall_cycles: int
    buffer_stall_cycles: int


@dataclass(frozen=True)
class UncostedOp:
    """An op of the trace that is not in the totals."""

    name: str
    op: str
    stage: str
    elements: int
    count: int


@dataclass(frozen=True)
class WeightPattern:
    """The tightest N:M that a weight's zeros show along one axis, and how well it fits.

    ``axis``: "k" (reduction of FF) or "o" (reduction of BP). ``share`` of groups fit;
    ``zeros`` is the share of zero elements.
    """

    layer: str
    axis: str
    pattern: str
    share: float
    zeros: float


@dataclass(frozen=True)
class WhatIf:
    """What one change of the machine would save.

    ``saved_cycles`` is measured by simulating the changed machine, schedules chosen anew;
    ``same_schedule_cycles`` with the schedules as they are (None where they would not fit or say
    nothing). ``unit_cycles`` is the derivative, cycles saved per ``unit``: from the critical path
    for bandwidths and latencies, else the measured saving over the change.
    """

    knob: str
    old: int
    new: int
    saved_cycles: int
    same_schedule_cycles: int | None
    unit: str
    unit_cycles: float


@dataclass(frozen=True)
class RunResult:
    """One simulated training run.

    On GPUs ``parts_s`` says what a step's time is made of, and ``layout`` how the work lies over
    several: ranks of each kind, micro-batches, and bytes on the fullest one.
    """

    weft_version: str
    model: str
    recipe: str
    pattern: str
    hardware: str
    batch: int
    steps: int
    total: Costs
    stages: Mapping[str, Costs]
    layers: tuple[LayerCost, ...]
    uncosted: tuple[UncostedOp, ...] = ()
    units: tuple[UnitCost, ...] = ()
    energy_by_component_j: Mapping[str, float] = field(default_factory=dict[str, float])
    actions: Mapping[str, int] = field(default_factory=dict[str, int])
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict[str, str])
    machine: Mapping[str, Any] = field(default_factory=dict[str, Any])
    parts_s: Mapping[str, float] = field(default_factory=dict[str, float])
    layout: Mapping[str, Any] = field(default_factory=dict[str, Any])
    overlap_cycles: int = 0
    weights: tuple[WeightPattern, ...] = ()
    critical_path_cycles: Mapping[str, int] = field(default_factory=dict[str, int])
    what_if: tuple[WhatIf, ...] = ()
    schema: str = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """The JSON form (DESIGN: command line and API)."""
        return {"schema": self.schema, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, data: Any) -> RunResult:
        """Read the JSON form.

        Raises:
            ResultError: another schema, or a field that is missing or of the wrong kind.
        """
        if not isinstance(data, dict):
            raise ResultError("not a weft run: the JSON is no object")
        fields = cast("dict[str, Any]", data)
        schema = fields.get("schema")
        if schema != SCHEMA:
            raise ResultError(f"schema is {schema!r}; this weft reads {SCHEMA!r}")
        try:
            parsed: dict[str, Any] = {
                **fields,
                "total": Costs(**fields["total"]),
                "stages": {name: Costs(**cost) for name, cost in fields["stages"].items()},
                "layers": tuple(LayerCost(**layer) for layer in fields["layers"]),
                "uncosted": tuple(UncostedOp(**op) for op in fields["uncosted"]),
                "units": tuple(UnitCost(**unit) for unit in fields["units"]),
                "weights": tuple(WeightPattern(**row) for row in fields["weights"]),
                "what_if": tuple(WhatIf(**row) for row in fields["what_if"]),
                "notes": tuple(fields["notes"]),
            }
            return cls(**parsed)
        except (KeyError, TypeError, AttributeError) as error:
            raise ResultError(f"damaged run: {error}") from error
