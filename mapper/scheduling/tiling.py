"""The map space of one product: how it may be tiled, and a lower bound for each way, vectorised.

Declared space: dataflow (OS, WS) x which operand sits on the array's columns x which operand
stays on chip while the other streams (loop order) x image cuts x tile sizes along batch, m, n, k.
The reduction is always innermost: partial sums never leave the chip.

Not chosen, since the machine has them in silicon: the buffer split (operands and outputs have banks
of their own), the prefetch depth (as many tiles as a buffer has banks) and the interleave (slots of
a PE that are left empty take their cycles all the same, so filling them never loses). Machine files
and ``--without`` change them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product as cross
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from weft.mapper.scheduling.geometry import Problem, Region
from weft.mapper.scheduling.switches import Switches
from weft.mapper.scheduling.words import words_fit
from weft.sim.machine import Machine
from weft.sim.program import Dataflow, Matmul
from weft.sim.program.strips import whole_rounds
from weft.sim.program.timing import ceil_div, matmul_cycles

__all__ = [
    "Choice",
    "Fused",
    "Tiling",
    "TilingTable",
    "enumerate_tilings",
    "matmul_of",
    "tile_runs",
]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Fused:
    """Vector work done on a product's output bank before it is stored.

    ``passes`` lane operations per element; ``stores`` tensors of the output's size are written
    (the raw output too, where somebody else still needs it).
    """

    passes: int = 0
    stores: int = 1


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
class Choice:
    """The part of a tiling that is no size."""

    dataflow: Dataflow
    swapped: bool
    outer: str


@dataclass(frozen=True)
class TilingTable:
    """Tilings of one problem variant that fit the buffers, with their lower bounds in cycles.

    Row i is ``choices[choice[i]]`` with the tile sizes ``sizes[:, i]`` (batch, m, n, k).
    """

    problem: Problem
    choices: tuple[Choice, ...]
    choice: Ints
    sizes: Ints
    bound_cycles: Ints

    def tiling(self, row: int) -> Tiling:
        choice = self.choices[self.choice[row]]
        batch, m, n, k = (int(size) for size in self.sizes[:, row])
        return Tiling(choice.dataflow, choice.swapped, choice.outer, batch, m, n, k)


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


def _reduction_sizes(problem: Problem, rows: int) -> list[int]:
    """Channels in whole groups and with all their taps, or any number of pixel units."""
    if problem.only is Dataflow.OS:
        return [problem.k.size]
    if problem.only is Dataflow.WS:
        return _sizes(problem.k.size, problem.k.unit, 64, rows)
    if problem.left.channels == "k":
        whole = max(problem.pattern.m, 16)
        return _sizes(problem.k.size, problem.k.unit, 64 * problem.k.unit, whole)
    return _sizes(problem.k.size, problem.k.unit, 64)


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
        problem.groups(k, taps),
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

    @property
    def sizes(self) -> dict[str, Ints]:
        return {"m": self.m, "n": self.n, "k": self.k}


def _grid(problem: Problem, machine: Machine) -> _Grid:
    array = machine.array
    axes = (
        _batch_sizes(problem.batch),
        _sizes(problem.m.size, problem.m.unit, array.rows * 4),
        _sizes(problem.n.size, problem.n.unit, array.cols),
        _reduction_sizes(problem, array.rows),
    )
    mesh = np.meshgrid(*(np.array(axis, dtype=np.int64) for axis in axes), indexing="ij")
    return _Grid(*(part.reshape(-1) for part in mesh))


def _parts(size: int, tile: Ints) -> list[tuple[Ints, Ints]]:
    """(how many, units) of the full tiles and of the last, smaller one along an axis."""
    rest = size % tile
    return [(size // tile, tile), ((rest > 0).astype(np.int64), rest)]


class _Costs:
    """Cycles of all tilings of one variant, part by part, each worked out once."""

    def __init__(
        self, problem: Problem, machine: Machine, switches: Switches, fused: Fused
    ) -> None:
        self.problem = problem
        self.fused = fused
        self.machine = machine
        self.switches = switches
        self.grid = _grid(problem, machine)
        self.parts = {
            axis: _parts(getattr(problem, axis).size, tile)
            for axis, tile in self.grid.sizes.items()
        }
        self.repeats = problem.batch // self.grid.batch

    def fits(self, *, swapped: bool) -> NDArray[np.bool_]:
        """Whether a tile's operands and outputs each fit one bank."""
        problem, grid, buffers = self.problem, self.grid, self.machine.buffers
        if problem.only is not None:
            return words_fit(problem, dict(grid.sizes), self.machine)
        west, north = problem.left, problem.right
        if swapped:
            west, north = north, west
        outputs = grid.batch * grid.m * problem.m.unit * grid.n * problem.n.unit
        return cast(
            "NDArray[np.bool_]",
            (_bytes(tile_runs(problem, west, grid.batch, grid.sizes)) <= buffers.left_bytes)
            & (_bytes(tile_runs(problem, north, grid.batch, grid.sizes)) <= buffers.right_bytes)
            & (outputs * len(problem.phases) * 4 <= buffers.output_bytes),
        )

    def compute(self, choice: Choice) -> Ints:
        """STCE cycles of all tiles."""
        total = np.zeros_like(self.grid.m)
        for (cm, m), (cn, n), (ck, k) in cross(*(self.parts[axis] for axis in "mnk")):
            times = cm * cn * ck
            if not times.any():
                continue
            total += times * self.one_tile(choice, {"m": m, "n": n, "k": k})
        return total * self.repeats

    def load(self, outer: str) -> Ints:
        """Beats of all loads; the outer operand is loaded once if its reduction is one tile."""
        read = self.machine.memory.read_bytes_per_cycle
        single = self.grid.k >= self.problem.k.size
        total = np.zeros_like(self.grid.m)
        for region, own, other in ((self.problem.left, "m", "n"), (self.problem.right, "n", "m")):
            times = ceil_div(getattr(self.problem, other).size, getattr(self.grid, other))
            if own == outer:
                times = np.where(single, 1, times)
            for (ca, a), (ck, k) in cross(self.parts[own], self.parts["k"]):
                runs = tile_runs(self.problem, region, self.grid.batch, {own: a, other: a, "k": k})
                total += ca * ck * times * _beats(runs, read)
        return total * self.repeats

    def store(self) -> Ints:
        """Beats of all stores."""
        write = self.machine.memory.write_bytes_per_cycle
        total = np.zeros_like(self.grid.m)
        for (cm, m), (cn, n) in cross(self.parts["m"], self.parts["n"]):
            sizes = {"m": m, "n": n, "k": self.grid.k}
            runs = tile_runs(self.problem, self.problem.output, self.grid.batch, sizes)
            total += cm * cn * _beats(runs, write)
        return total * self.repeats * self.fused.stores

    def first_load(self) -> Ints:
        """Loads before the first product can start."""
        problem, grid, memory = self.problem, self.grid, self.machine.memory
        total: Any = memory.read_latency_cycles
        for region in (problem.left, problem.right):
            runs = tile_runs(problem, region, grid.batch, grid.sizes)
            total = total + _beats(runs, memory.read_bytes_per_cycle)
        return cast("Ints", total)

    @property
    def _last(self) -> dict[str, Ints]:
        """Sizes of the very last tile."""
        return {
            axis: np.where(edge > 0, edge, full)
            for axis, ((_, full), (_, edge)) in self.parts.items()
        }

    def last_store(self) -> Ints:
        """The store after the last product."""
        memory = self.machine.memory
        runs = tile_runs(self.problem, self.problem.output, self.grid.batch, self._last)
        beats = _beats(runs, memory.write_bytes_per_cycle) * self.fused.stores
        return cast("Ints", beats + memory.write_latency_cycles)

    def one_vector(self, m: Ints, n: Ints) -> Ints:
        """WUVE cycles of the work fused behind one output tile."""
        if not self.fused.passes:
            return np.zeros_like(m)
        unit = self.problem.m.unit * self.problem.n.unit * len(self.problem.phases)
        elements: Any = self.grid.batch * m * n * unit
        wuve = self.machine.wuve
        return cast("Ints", whole_rounds(elements, wuve) * self.fused.passes + wuve.pipeline_cycles)

    def vector(self) -> Ints:
        """WUVE cycles of all fused work."""
        total = np.zeros_like(self.grid.m)
        for (cm, m), (cn, n) in cross(self.parts["m"], self.parts["n"]):
            total += cm * cn * self.one_vector(m, n)
        return total * self.repeats

    def one_tile(self, choice: Choice, sizes: dict[str, Ints]) -> Ints:
        """STCE cycles of one tile's products, one for each phase."""
        m, n, k = sizes["m"], sizes["n"], sizes["k"]
        total = np.zeros_like(m)
        for taps in self.problem.phases:
            work = matmul_of(self.problem, choice, self.switches, self.grid.batch, m, n, k, taps)
            total += matmul_cycles(self.machine.array, work)
        return total

    def bounds(self, choice: Choice, loads: Sequence[Ints], store: Ints) -> list[Ints]:
        """No schedule is faster: all work of one unit, with what comes before and after it.

        One bound for each of ``loads``, the beats of all loads; ``store`` are those of all stores.
        """
        memory, first, final = self.machine.memory, self.first_load(), self._last
        last_vector = self.one_vector(final["m"], final["n"])
        last = self.last_store()
        whole_reductions = self.problem.k.size // self.grid.k
        before_store = first + whole_reductions * self.one_tile(choice, self.grid.sizes)
        computed = first + self.compute(choice) + last_vector + last
        worked = before_store + self.vector() + last
        first_vector = self.one_vector(self.grid.m, self.grid.n)
        stored = before_store + first_vector + store + memory.write_latency_cycles
        fixed = np.maximum.reduce((computed, worked, stored))
        after_load = memory.read_latency_cycles + self.one_tile(choice, final) + last_vector + last
        return [np.maximum(fixed, load + after_load) for load in loads]


def _swaps(problem: Problem) -> tuple[bool, ...]:
    if problem.only is not None:
        return (False,)
    if problem.compressed:
        return (problem.compressed == "left",)
    return (False, True)


def enumerate_tilings(
    problem: Problem, machine: Machine, switches: Switches, fused: Fused
) -> TilingTable | None:
    """All tilings of one variant that fit, with admissible lower bounds; None where none fits."""
    costs = _Costs(problem, machine, switches, fused)
    dataflows = (Dataflow.OS, Dataflow.WS) if switches.offline_scheduling else (Dataflow.OS,)
    if problem.only is not None:
        dataflows = (problem.only,)
    store = costs.store()
    loads = {outer: costs.load(outer) for outer in ("m", "n")}
    choices: list[Choice] = []
    bounds: list[Ints] = []
    rows: list[Ints] = []
    for swapped in _swaps(problem):
        fit = np.flatnonzero(costs.fits(swapped=swapped))
        if fit.size == 0:
            continue
        for dataflow in dataflows:
            choice = Choice(dataflow, swapped, "m")
            found = costs.bounds(choice, tuple(loads.values()), store)
            choices += [replace(choice, outer=outer) for outer in loads]
            bounds += [bound[fit] for bound in found]
            rows += [fit] * len(found)
    if not choices:
        return None
    grid = costs.grid
    everything = np.stack((grid.batch, grid.m, grid.n, grid.k))
    return TilingTable(
        problem,
        tuple(choices),
        np.repeat(np.arange(len(choices)), [row.size for row in rows]),
        everything[:, np.concatenate(rows)],
        np.concatenate(bounds),
    )
