"""What every kind of machine does for weft: check its settings, price steps, say what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from weft.mapper.planning.plan import Plan
from weft.mapper.scheduling.switches import Switches
from weft.mapper.sparsity.sparsify import Applied
from weft.sim.engine import Engine
from weft.sim.results import RunResult, UncostedOp
from weft.sim.workload import Workload

__all__ = ["Header", "Priced", "PricedMachine", "Schedules", "uncosted_ops"]


@dataclass(frozen=True)
class Header:
    """What a result says of itself."""

    weft_version: str
    model: str
    recipe: str
    pattern: str
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Schedules:
    """What a SAT machine's price rests on: the plans of the distinct steps, each with its count."""

    plans: tuple[Plan, ...]
    counts: tuple[int, ...]
    engine: Engine
    switches: Switches


@dataclass(frozen=True)
class Priced:
    """A result; ``schedules`` where the machine runs programs."""

    result: RunResult
    schedules: Schedules | None = field(default=None, repr=False)


class PricedMachine(Protocol):
    """A machine with its settings: SAT-like, GPUs, or the ideal array."""

    @property
    def hardware(self) -> str:
        """Its name, or the path of its file."""
        ...

    @property
    def pregenerates(self) -> bool:
        """Whether masks are made behind the update rather than at each use."""
        ...

    @property
    def evidence(self) -> Mapping[str, str]:
        """What its numbers rest on; keys begin with ``validated``."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the settings change that a reader of the result should know."""
        ...

    def check(self) -> None:
        """Find what is wrong with the settings before anything is traced.

        Raises:
            ValueError: one line that names the field, its value and what is allowed.
        """
        ...

    def price(self, steps: Sequence[tuple[Applied, int]], header: Header) -> Priced:
        """The cost of distinct steps, each as often as it occurs.

        Raises:
            ValueError: a machine that runs no steps, or a step that it cannot run.
        """
        ...


def uncosted_ops(workload: Workload) -> tuple[UncostedOp, ...]:
    """The ops that are not in the totals, as a result lists them."""
    return tuple(
        UncostedOp(op.name, op.op, str(op.stage), op.elements, op.count) for op in workload.uncosted
    )
