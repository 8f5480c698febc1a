"""Ops that work by places in rows: running sums, arguments of extremes, lookups, sorting.

Rows lie apart (a row in a lane of a slot) or over all lanes and slots; places count from 0 in FP32.
Where a place comes in as an operand it is two FP16, 2048 times the first plus the second.
Programs with several results per row or round are for windows, whose results follow each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from weft.sim.lanes import Kernel, Over, Value
from weft.sim.lanes.programs.formula import Formula
from weft.sim.lanes.programs.rows import leave

__all__ = ["PLACES", "SPLIT"]

SPLIT = 2048
"""FP16 holds whole numbers up to here."""


def _first_place(k: Kernel) -> tuple[Value, float]:
    """The place of a lane's first element in its row, in a register, and the way to its next."""
    if k.over is Over.ALL:
        return k.number(), float(k.lanes * k.slots)
    return k.copy(0.0), 1.0


def _advance(k: Kernel, place: Value, step: float) -> None:
    k.mad(place, 1.0, step, place)


def _running(k: Kernel, how: str) -> None:
    """Sum, product, maximum or minimum of all up to each element."""
    x = k.input(0)
    start = {"sum": 0.0, "product": 1.0, "max": -math.inf, "min": math.inf}[how]
    held = k.copy(start)
    with k.sweep():
        if how == "sum":
            k.emit(k.mad(x, 1.0, held, held))
        elif how == "product":
            k.emit(k.mad(x, held, -0.0, held))
        elif how == "max":
            k.emit(k.max(x, held, held))
        else:
            k.emit(k.min(x, held, held))


def _running_places(k: Kernel, sign: float) -> None:
    """Where the maximum of all up to each element is, the last one of equals."""
    x = k.input(0) if sign > 0 else -k.input(0)
    held, best = k.copy(-math.inf), k.copy(0.0)
    place, step = _first_place(k)
    with k.sweep():
        smaller = k.less(x, held)
        k.emit(k.pick(smaller, best, place, best))
        k.max(x, held, held)
        _advance(k, place, step)


def _arg_largest(k: Kernel, sign: float) -> None:
    """The place of the largest, the first one of equals; NaN has no place."""
    x = k.input(0) if sign > 0 else -k.input(0)
    held = k.copy(-math.inf)
    place, step = _first_place(k)
    best = k.copy(place)
    with k.sweep():
        larger = k.less(held, x)
        k.pick(larger, place, best, best)
        k.max(x, held, held)
        _advance(k, place, step)
    for lane, slot in k.exchanges():
        other = k.exchanged(held, lane, slot)
        other_best = k.exchanged(best, lane, slot)
        earlier = k.equal(held, other) * k.less(other_best, best)
        takes = k.less(held, other) + earlier
        best = k.pick(takes, other_best, best)
        held = k.max(held, other)
    leave(k, best)


def _selection(k: Kernel, count: float, sign: float) -> None:
    """The ``count`` largest and their places in order, the first of equals first; k sweeps."""
    x = k.input(0) if sign > 0 else -k.input(0)
    last, last_place = k.copy(math.inf), k.copy(-1.0)
    for _ in range(int(count)):
        held, best, place = k.copy(-math.inf), k.copy(0.0), k.copy(0.0)
        with k.sweep():
            after = k.equal(x, last) * k.less(last_place, place)
            after = after + k.less(x, last)
            candidate = k.pick(after, x, -math.inf)
            larger = k.less(held, candidate)
            k.pick(larger, place, best, best)
            k.max(candidate, held, held)
            _advance(k, place, 1.0)
        k.emit(k.copy(held if sign > 0 else -held))
        k.emit(best)
        last, last_place = held, best


def _head(k: Kernel, ahead: float) -> Iterator[Value]:
    """What a row is asked for: a place, then a number.

    In a row over everything they are words of its strip; else they lie ``ahead`` rounds beyond the
    row's first one, the place's two parts before the number.
    """
    if k.over is Over.ALL:
        yield k.word(0)
        yield k.word(1)
        return
    at = int(ahead)
    coarse = k.copy(k.input(0).ahead(at))
    fine = k.copy(k.input(0).ahead(at + k.slots))
    yield k.mad(coarse, float(SPLIT), fine)
    yield k.copy(k.input(0).ahead(at + 2 * k.slots))


def _lookup(k: Kernel, ahead: float = 0.0) -> None:
    """The element at a place, 0 where there is none."""
    asked = next(_head(k, ahead))
    held = k.copy(0.0)
    place, step = _first_place(k)
    with k.sweep():
        here = k.equal(place, asked)
        k.pick(here, k.input(0), held, held)
        _advance(k, place, step)
    leave(k, k.reduced(held))


def _one_hot(k: Kernel, ahead: float = 0.0) -> None:
    """A number at a place, 0 everywhere else."""
    asked, number = _head(k, ahead)
    place, step = _first_place(k)
    with k.sweep():
        k.emit(k.equal(place, asked) * number)
        _advance(k, place, step)


def _put(k: Kernel, ahead: float, *, adds: bool) -> None:
    """The row with a number put at a place, or added there."""
    asked, number = _head(k, ahead)
    place, step = _first_place(k)
    with k.sweep():
        here = k.equal(place, asked)
        if adds:
            k.emit(k.mad(here, number, k.input(0)))
        else:
            k.emit(k.pick(here, number, k.input(0)))
        _advance(k, place, step)


def _sort_step(k: Kernel) -> None:
    """Two operands in order, and whether they were not: a comparator of a sorting network."""
    a, b = k.input(0), k.input(1)
    k.emit(k.min(a, b))
    k.emit(k.max(a, b))
    k.emit(k.less(b, a))


def _sort_move(k: Kernel) -> None:
    """What goes with two sorted operands: exchanged where the third says so."""
    exchanged = k.copy(k.input(2))
    k.emit(k.pick(exchanged, k.input(1), k.input(0)))
    k.emit(k.pick(exchanged, k.input(0), k.input(1)))


_SPREAD = (Over.ALL, Over.APART)
_ALONE = (Over.APART,)


PLACES: dict[str, Formula] = {
    "cumsum": Formula(lambda k: _running(k, "sum"), 1, _ALONE),
    "cumprod": Formula(lambda k: _running(k, "product"), 1, _ALONE),
    "cummax": Formula(lambda k: _running(k, "max"), 1, _ALONE),
    "cummin": Formula(lambda k: _running(k, "min"), 1, _ALONE),
    "cummax_places": Formula(lambda k: _running_places(k, 1.0), 1, _ALONE),
    "cummin_places": Formula(lambda k: _running_places(k, -1.0), 1, _ALONE),
    "argmax": Formula(lambda k: _arg_largest(k, 1.0), 1, _SPREAD),
    "argmin": Formula(lambda k: _arg_largest(k, -1.0), 1, _SPREAD),
    "largest": Formula(lambda k, count=1.0: _selection(k, count, 1.0), 1, _ALONE),
    "smallest": Formula(lambda k, count=1.0: _selection(k, count, -1.0), 1, _ALONE),
    "lookup": Formula(_lookup, 1, _SPREAD, words=1, by_strip=True),
    "one_hot": Formula(_one_hot, 1, _SPREAD, words=2, by_strip=True),
    "scatter": Formula(
        lambda k, ahead=0.0: _put(k, ahead, adds=False), 1, _SPREAD, 2, by_strip=True
    ),
    "scatter_add": Formula(
        lambda k, ahead=0.0: _put(k, ahead, adds=True), 1, _SPREAD, 2, by_strip=True
    ),
    "sort_step": Formula(_sort_step, 2),
    "sort_move": Formula(_sort_move, 3),
}
"""Ops by places, and how their rows may lie."""
