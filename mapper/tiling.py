"""The map space of one product: how it may be tiled, and a lower bound for each way, vectorised.

Declared space: dataflow (OS, WS) x which operand sits on the array's columns x which operand
stays on chip while the other streams (loop order) x image cuts x tile sizes along batch, m, n, k.
The reduction is always innermost: partial sums never leave the chip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product as cross
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from weft.mapper.geometry import Problem, Region
from weft.mapper.switches import Switches
from weft.sim.machine import Machine
from weft.sim.program import Dataflow, Matmul
from weft.sim.timing import ceil_div, matmul_cycles

__all__ = ["Tiling", "TilingTable", "enumerate_tilings", "matmul_of", "tile_runs"]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Tiling:
    """One point of the map space; tile sizes in units of the problem's axes.

    ``swapped``: the left operand sits on the columns. ``outer`` is the axis ("m" or "n") whose
    operand stays on chip while the other axis runs, where the reduction is one tile.
    """

    dataflow: Dataflow
    swapped: bool
    outer: str
    batch: int
    m: int
    n: int
    k: int

    def size(self, axis: str) -> int:
        return {"m": self.m, "n": self.n, "k": self.k}[axis]


@dataclass(frozen=True)
class TilingTable:
    """Tilings of one problem variant that fit the buffers, with their lower bounds in cycles."""

    problem: Problem
    tilings: tuple[Tiling, ...]
    bound_cycles: Ints
    compute_cycles: Ints
    load_cycles: Ints


def _sizes(size: int, unit: int, quantum: int, multiple: int = 1) -> list[int]:
    """Tile sizes to try along one axis: doublings of the array's extent, evened out, and all."""
    found = {size}
    elements = quantum
    while elements < size * unit:
        units = max(1, elements // unit)
        parts = ceil_div(size, units)
        for candidate in (units, ceil_div(size, parts)):
            found.add(min(size, ceil_div(candidate, multiple) * multiple))
        elements *= 2
    return sorted(found)


def _batch_sizes(batch: int) -> list[int]:
    divisors = [d for d in range(1, min(batch, 4096) + 1) if batch % d == 0]
    return divisors if len(divisors) <= 4 else sorted({1, *divisors[1:-1:3], divisors[-1]})


def matmul_of(
    problem: Problem, tiling: Any, switches: Switches, batch: Any, m: Any, n: Any, k: Any, taps: int
) -> Matmul:
    """The STCE instruction of one tile and phase; sizes in units, integers or integer arrays."""
    rows, columns = m * problem.m.unit, n * problem.n.unit
    if tiling.swapped:
        rows, columns = columns, rows
    return Matmul(
        tiling.dataflow,
        rows,
        k * taps,
        columns,
        problem.pattern,
        ceil_div(k, problem.pattern.m) * taps,
        batch,
        tiling.swapped,
        interleaved=switches.interleave,
    )


def tile_runs(
    problem: Problem, region: Region, batch: Any, sizes: dict[str, Any]
) -> list[tuple[Any, Any]]:
    """Runs of a region's tile; ``sizes`` are the tile's units along m, n, k."""
    channels = sizes[region.channels]
    whole = (channels == getattr(problem, region.channels).size) * 1
    return region.runs(batch, sizes[region.pixels], channels, whole)


def _bytes(runs: Sequence[tuple[Any, Any]]) -> Any:
    return sum(count * size for count, size in runs)


def _beats(runs: Sequence[tuple[Any, Any]], bytes_per_cycle: int) -> Any:
    return sum(count * ceil_div(size, bytes_per_cycle) for count, size in runs)


@dataclass(frozen=True)
class _Grid:
    """All tile sizes of one variant as flat arrays."""

    batch: Ints
    m: Ints
    n: Ints
    k: Ints

    def at(self, keep: NDArray[np.bool_]) -> _Grid:
        return _Grid(self.batch[keep], self.m[keep], self.n[keep], self.k[keep])

    @property
    def sizes(self) -> dict[str, Ints]:
        return {"m": self.m, "n": self.n, "k": self.k}


def _grid(problem: Problem, machine: Machine) -> _Grid:
    array = machine.array
    axes = (
        _batch_sizes(problem.batch),
        _sizes(problem.m.size, problem.m.unit, array.rows * 4),
        _sizes(problem.n.size, problem.n.unit, array.cols),
        _sizes(problem.k.size, problem.k.unit, 64 * problem.k.unit, max(problem.pattern.m, 16)),
    )
    mesh = np.meshgrid(*(np.array(axis, dtype=np.int64) for axis in axes), indexing="ij")
    return _Grid(*(part.reshape(-1) for part in mesh))


def _fits(problem: Problem, machine: Machine, grid: _Grid, swapped: bool) -> NDArray[np.bool_]:
    buffers = machine.buffers
    left = _bytes(tile_runs(problem, problem.left, grid.batch, grid.sizes))
    right = _bytes(tile_runs(problem, problem.right, grid.batch, grid.sizes))
    if swapped:
        left, right = right, left
    phases = len(problem.phases)
    outputs = grid.batch * grid.m * problem.m.unit * grid.n * problem.n.unit * phases * 4
    return cast(
        "NDArray[np.bool_]",
        (left <= buffers.left_bytes)
        & (right <= buffers.right_bytes)
        & (outputs <= buffers.output_bytes),
    )


def _parts(size: int, tile: Ints) -> list[tuple[Ints, Ints]]:
    """(how many, units) of the full tiles and of the last, smaller one along an axis."""
    rest = size % tile
    return [(size // tile, tile), ((rest > 0).astype(np.int64), rest)]


@dataclass(frozen=True)
class _Costs:
    compute: Ints
    load: Ints
    store: Ints
    first_load: Ints
    last_store: Ints


def _costs(
    problem: Problem, machine: Machine, switches: Switches, grid: _Grid, choice: Tiling
) -> _Costs:
    """Cycles of all work per unit, and what comes before the first and after the last product."""
    read, write = machine.memory.read_bytes_per_cycle, machine.memory.write_bytes_per_cycle
    parts = {
        "m": _parts(problem.m.size, grid.m),
        "n": _parts(problem.n.size, grid.n),
        "k": _parts(problem.k.size, grid.k),
    }
    repeats = problem.batch // grid.batch
    compute = np.zeros_like(grid.m)
    store = np.zeros_like(grid.m)
    for (cm, m), (cn, n) in cross(parts["m"], parts["n"]):
        sizes = {"m": m, "n": n, "k": grid.k}
        runs = tile_runs(problem, problem.output, grid.batch, sizes)
        store += cm * cn * repeats * _beats(runs, write)
        for ck, k in parts["k"]:
            for taps in problem.phases:
                work = matmul_of(problem, choice, switches, grid.batch, m, n, k, taps)
                cycles = matmul_cycles(machine.array, work)
                compute += cm * cn * ck * repeats * cycles
    single = grid.k >= problem.k.size
    load = np.zeros_like(grid.m)
    for region, other in ((problem.left, "n"), (problem.right, "m")):
        own = "m" if other == "n" else "n"
        times = ceil_div(getattr(problem, other).size, getattr(grid, other))
        if own == choice.outer:
            times = np.where(single, 1, times)
        for (ca, a), (ck, k) in cross(parts[own], parts["k"]):
            runs = tile_runs(problem, region, grid.batch, {own: a, other: a, "k": k})
            load += ca * ck * repeats * times * _beats(runs, read)
    first = _first_load(problem, machine, grid)
    last = _last_store(problem, machine, grid, parts)
    return _Costs(compute, load, store, first, last)


def _first_load(problem: Problem, machine: Machine, grid: _Grid) -> Ints:
    read = machine.memory.read_bytes_per_cycle
    both = (problem.left, problem.right)
    beats = sum(_beats(tile_runs(problem, r, grid.batch, grid.sizes), read) for r in both)
    return cast("Ints", beats + machine.memory.read_latency_cycles)


def _last_store(
    problem: Problem, machine: Machine, grid: _Grid, parts: dict[str, list[tuple[Ints, Ints]]]
) -> Ints:
    last = {axis: np.where(edge > 0, edge, full) for axis, ((_, full), (_, edge)) in parts.items()}
    runs = tile_runs(problem, problem.output, grid.batch, last)
    beats = _beats(runs, machine.memory.write_bytes_per_cycle)
    return cast("Ints", beats + machine.memory.write_latency_cycles)


def _swaps(problem: Problem) -> tuple[bool, ...]:
    if problem.compressed:
        return (problem.compressed == "left",)
    return (False, True)


def enumerate_tilings(problem: Problem, machine: Machine, switches: Switches) -> TilingTable | None:
    """All tilings of one variant that fit, with admissible lower bounds; None where none fits.

    The bound of a tiling: its compute after the first tile's loads and before the last tile's
    store, or all its loads, or all its stores, whichever is longest.
    """
    base = _grid(problem, machine)
    tilings: list[Tiling] = []
    bounds: list[Ints] = []
    computes: list[Ints] = []
    loads: list[Ints] = []
    dataflows = (Dataflow.OS, Dataflow.WS) if switches.offline_scheduling else (Dataflow.OS,)
    for swapped in _swaps(problem):
        grid = base.at(_fits(problem, machine, base, swapped))
        if grid.m.size == 0:
            continue
        for dataflow, outer in cross(dataflows, ("m", "n")):
            choice = Tiling(dataflow, swapped, outer, 0, 0, 0, 0)
            cost = _costs(problem, machine, switches, grid, choice)
            serial = cost.first_load + cost.compute + cost.last_store
            bound = np.maximum(serial, np.maximum(cost.load, cost.store))
            bounds.append(bound)
            computes.append(cost.compute)
            loads.append(cost.load)
            tilings += [
                Tiling(dataflow, swapped, outer, *sizes)
                for sizes in zip(
                    grid.batch.tolist(),
                    grid.m.tolist(),
                    grid.n.tolist(),
                    grid.k.tolist(),
                    strict=True,
                )
            ]
    if not tilings:
        return None
    return TilingTable(
        problem,
        tuple(tilings),
        np.concatenate(bounds),
        np.concatenate(computes),
        np.concatenate(loads),
    )
