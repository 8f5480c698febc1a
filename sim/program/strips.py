"""How a vector instruction is cut into strips of slots: what the sequencer of WUVE counts.

A strip is ``slots`` rounds in flight. Round addresses are strip x ``strip_stride`` + slot x
``slot_stride`` + step x ``stride``. A slot at or beyond ``used`` has no work: in the last strip, in
the last step of each strip, or in all, as ``limit`` says. Lanes at or beyond ``tail`` have none in
a row's last round.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from weft.sim.lanes import LaneError, Over
from weft.sim.machine import Wuve
from weft.sim.program import Vector

__all__ = [
    "Limit",
    "Strips",
    "ceil_div",
    "row_operations",
    "strips_of",
    "vector_cycles",
    "whole_rounds",
]


class Limit(IntEnum):
    """Where ``used`` holds, by its number in the Verilog."""

    LAST_STRIP = 0
    LAST_STEP = 1
    ALWAYS = 2


@dataclass(frozen=True)
class Strips:
    """The counts of one vector instruction."""

    count: int
    width: int
    used: int
    limit: Limit
    tail: int
    strip_stride: int
    slot_stride: int
    stride: int
    rounds: int
    """Rounds of operands that lie in the bank."""


def ceil_div(a: int, b: int) -> int:
    """a / b rounded up, for integers and integer arrays."""
    return -(-a // b)


def whole_rounds(elements: int, wuve: Wuve) -> int:
    """Rounds of ``elements`` without rows, in whole strips; for integers and integer arrays."""
    return ceil_div(ceil_div(elements, wuve.lanes), wuve.slots) * wuve.slots


def _last(count: int, size: int) -> int:
    """What of ``size`` the last of the parts of ``count`` uses."""
    return (count - 1) % size + 1


def strips_of(work: Vector, wuve: Wuve) -> Strips:
    """How ``work`` runs on ``wuve``.

    Raises:
        LaneError: elements that are no whole rows.
    """
    lanes, slots = wuve.lanes, wuve.slots
    if work.window is not None:
        window = work.window
        if window.outputs > slots:
            raise LaneError(f"{window.outputs} outputs of a strip; a machine of {slots} slots")
        rounds = window.strips * window.outputs * window.width
        return Strips(
            window.strips,
            window.width,
            window.outputs,
            Limit.ALWAYS,
            lanes,
            window.strip_stride,
            window.output_stride,
            window.stride,
            rounds,
        )
    if work.over is Over.EACH:
        rounds = ceil_div(work.elements, lanes)
        used = _last(rounds, slots)
        count = ceil_div(rounds, slots)
        return Strips(count, 1, used, Limit.LAST_STRIP, lanes, slots, 1, 1, rounds)
    if work.rows < 1 or work.elements % work.rows:
        raise LaneError(f"{work.elements} elements in {work.rows} rows")
    length = work.elements // work.rows
    if work.over is Over.SLOTS:
        wide = ceil_div(work.rows, lanes)
        used = _last(length, slots)
        return Strips(
            wide, ceil_div(length, slots), used, Limit.LAST_STEP, lanes, 1, wide, wide * slots,
            wide * length,
        )  # fmt: skip
    if work.over is Over.APART:
        wide = ceil_div(work.rows, lanes)
        count, used = ceil_div(wide, slots), _last(wide, slots)
        return Strips(
            count, length, used, Limit.LAST_STRIP, lanes, length * slots, 1, slots,
            count * slots * length,
        )  # fmt: skip
    width, tail = ceil_div(length, lanes), _last(length, lanes)
    if work.over is Over.LANES:
        count, used = ceil_div(work.rows, slots), _last(work.rows, slots)
        return Strips(
            count, width, used, Limit.LAST_STRIP, tail, width * slots, width, 1, width * work.rows
        )
    used = _last(width, slots)
    return Strips(
        work.rows, ceil_div(width, slots), used, Limit.LAST_STEP, tail, width, 1, slots,
        width * work.rows,
    )  # fmt: skip


def vector_cycles(work: Vector, wuve: Wuve) -> int:
    """Cycles in which the sequencer issues lane operations: every slot of every strip its turn."""
    strips = strips_of(work, wuve)
    return strips.count * wuve.slots * (work.row_passes + strips.width * work.passes)


def row_operations(work: Vector, wuve: Wuve) -> int:
    """Lane operations on rows: those of every lane in every slot of a strip."""
    if not work.row_passes:
        return 0
    return strips_of(work, wuve).count * wuve.slots * wuve.lanes * work.row_passes
