"""Timeline entries in words and numbers, as charts draw them and traces keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from weft.reports.work import describe, layer_and_stage

if TYPE_CHECKING:
    from weft.sim.engine import Slice

__all__ = ["Entry", "entry_of"]


@dataclass(frozen=True)
class Entry:
    """One instruction on its unit; times are cycles.

    It holds the unit from ``start`` to ``occupied_until``, its result is there at ``finish``, and
    the unit had waited ``stall_cycles`` for it because of ``cause``. ``work`` is what it works on
    (tile, bytes, elements) by name.
    """

    unit: str
    layer: str
    stage: str
    name: str
    start: int
    occupied_until: int
    finish: int
    stall_cycles: int = 0
    cause: str | None = None
    work: Mapping[str, int | str] = field(default_factory=dict[str, int | str])


def entry_of(part: Slice) -> Entry:
    """What the engine's timeline says of one instruction."""
    layer, stage = layer_and_stage(part.segment)
    name, work = describe(part)
    return Entry(
        part.instruction.queue.name.lower(),
        layer,
        stage,
        name,
        part.start,
        part.occupied_until,
        part.finish,
        part.stall_cycles,
        None if part.cause is None else part.cause.name.lower(),
        {key: value for key, value in work.items() if value != ""},
    )
