"""Tilings and vector work become tile instructions in loops.

Loops are written with their first iteration apart where a gate (the wait for a tensor that an
earlier item stores) must stand between the loads that may run ahead and those that may not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from weft.mapper.scheduling.geometry import Problem, Region
from weft.mapper.scheduling.switches import Switches
from weft.mapper.scheduling.tiling import Fused, Tiling, matmul_of, tile_runs
from weft.sim.program import (
    Channel,
    Instruction,
    Loop,
    Node,
    Queue,
    Sync,
    Transfer,
    Vector,
    Work,
)

__all__ = [
    "Gate",
    "emit_fence",
    "emit_product",
    "emit_stream",
    "gate_load",
    "tile_loop",
    "tiles_along",
]


class Make(Protocol):
    """One iteration; the ``first`` one may differ."""

    def __call__(self, *, first: bool) -> list[Node]: ...


class MakeTile(Protocol):
    """The nodes of a tile of ``units`` along an axis; the ``first`` one may differ."""

    def __call__(self, units: int, /, *, first: bool) -> list[Node]: ...


@dataclass(frozen=True)
class Gate:
    """Whether an item waits for a stored tensor, and which of its operands may load before."""

    needed: bool = False
    ahead: str = ""


def gate_load(nodes: Sequence[Node], ahead: int = 0) -> list[Node]:
    """The same nodes, a load waiting for the STORED token of an earlier item.

    ``ahead`` loads go before the one that waits; they all stand outside loops.
    """
    loads = [
        position
        for position, node in enumerate(nodes)
        if isinstance(node, Instruction) and node.queue is Queue.LOAD
    ]
    gated = list(nodes)
    load = gated[loads[ahead]]
    assert isinstance(load, Instruction)
    gated[loads[ahead]] = replace(load, waits=(*load.waits, Channel.STORED))
    return gated


def emit_fence() -> Node:
    """Tell later loads that everything before is stored."""
    return Instruction(Queue.STORE, Sync(), (), (Channel.STORED,))


def repeat(count: int, make: Make, *, first: bool) -> list[Node]:
    """``count`` iterations of ``make(first)``, the first one apart if it is special."""
    if count == 1:
        return make(first=first)
    if first:
        return [*make(first=True), *repeat(count - 1, make, first=False)]
    return [Loop(count, tuple(make(first=False)))]


def tiles_along(size: int, tile: int) -> list[tuple[int, int]]:
    """(how many, units): full tiles, then the rest."""
    full = [(size // tile, tile)] if size >= tile else []
    return full + ([(1, size % tile)] if size % tile else [])


def tile_loop(size: int, tile: int, make: MakeTile, *, first: bool) -> list[Node]:
    """All tiles along an axis in order."""
    nodes: list[Node] = []
    for count, units in tiles_along(size, tile):
        nodes += repeat(count, partial(make, units), first=first)
        first = False
    return nodes


@dataclass(frozen=True)
class _Emitter:
    problem: Problem
    tiling: Tiling
    switches: Switches
    fused: Fused
    gate: Gate

    def product(self) -> list[Node]:
        batches = self.problem.batch // self.tiling.batch
        nodes = repeat(batches, self._outer_loop, first=self.gate.needed)
        # The operand that may run ahead is loaded first; the gate is on what follows it.
        return gate_load(nodes, 1 if self.gate.ahead else 0) if self.gate.needed else nodes

    @property
    def _inner(self) -> str:
        return "n" if self.tiling.outer == "m" else "m"

    @property
    def _resident(self) -> bool:
        """The outer axis' operand stays on chip: its whole reduction is one tile."""
        return self.tiling.k >= self.problem.k.size

    def _side(self, axis: str) -> tuple[Region, Channel, Channel]:
        """The operand that carries ``axis`` and the buffer it goes to."""
        region = self.problem.left if axis == "m" else self.problem.right
        if (axis == "m") != self.tiling.swapped:
            return region, Channel.LEFT_FULL, Channel.LEFT_FREE
        return region, Channel.RIGHT_FULL, Channel.RIGHT_FREE

    def _load(self, axis: str, sizes: dict[str, int]) -> Node:
        region, full, free = self._side(axis)
        buffer = "left" if full is Channel.LEFT_FULL else "right"
        work = Transfer(_whole_runs(self.problem, region, self.tiling.batch, sizes), buffer)
        return Instruction(Queue.LOAD, work, (free,), (full,))

    @property
    def _leader(self) -> str:
        """The axis whose operand is loaded first: the one that may run ahead of the gate."""
        return "m" if self.gate.ahead == "left" else "n"

    def _outer_loop(self, *, first: bool) -> list[Node]:
        axis = self.tiling.outer
        size: int = getattr(self.problem, axis).size
        return tile_loop(size, self.tiling.size(axis), self._outer, first=first)

    def _outer(self, units: int, *, first: bool) -> list[Node]:
        axis, inner = self.tiling.outer, self._inner
        size: int = getattr(self.problem, inner).size
        tile = self.tiling.size(inner)
        if not self._resident:
            return tile_loop(
                size,
                tile,
                lambda u, *, first: self._tile({axis: units, inner: u}, first=first),
                first=first,
            )
        k = self.problem.k.size
        _, full, free = self._side(axis)
        leads = not first or not self.gate.ahead or axis == self._leader
        own = {axis: units, inner: 0, "k": k}
        wait = Instruction(Queue.STCE, Sync(), (full,), ())
        release = Instruction(Queue.STCE, Sync(), (), (free,))
        head = [self._load(axis, own), wait] if leads else []

        def tile_of(u: int, *, first: bool) -> list[Node]:
            sizes = {axis: units, inner: u, "k": k}
            if leads or not first:
                return self._tile(sizes, first=first)
            loads = [self._load(inner, sizes), self._load(axis, own)]
            return [*loads, wait, *self._compute(sizes), *self._finish(sizes)]

        return [*head, *tile_loop(size, tile, tile_of, first=first), release]

    def _tile(self, sizes: dict[str, int], *, first: bool) -> list[Node]:
        """One output tile: its reduction, then what happens to it."""
        if self._resident:
            inner = self._inner
            sizes = {**sizes, "k": self.problem.k.size}
            return [self._load(inner, sizes), *self._compute(sizes), *self._finish(sizes)]

        def step(k: int, *, first: bool) -> list[Node]:
            at = {**sizes, "k": k}
            matmuls = self._matmuls(at, ["m", "n"], [], [], accumulate=not first)
            follower = "n" if self._leader == "m" else "m"
            return [self._load(self._leader, at), self._load(follower, at), *matmuls]

        return [
            Instruction(Queue.STCE, Sync(), (Channel.OUT_FREE,), ()),
            *tile_loop(self.problem.k.size, self.tiling.k, step, first=True),
            Instruction(Queue.STCE, Sync(), (), (self._out_channel,)),
            *self._finish(sizes),
        ]

    def _compute(self, sizes: dict[str, int]) -> list[Node]:
        """The matmuls of a tile whose outer operand is on chip."""
        return self._matmuls(sizes, [self._inner], [Channel.OUT_FREE], [self._out_channel])

    def _matmuls(
        self,
        sizes: dict[str, int],
        streams: list[str],
        waits: list[Channel],
        signals: list[Channel],
        *,
        accumulate: bool = False,
    ) -> list[Node]:
        """One matmul per phase; the first takes the banks of ``streams``, the last frees them."""
        m, n, k = sizes["m"], sizes["n"], sizes["k"]
        batch = self.tiling.batch
        works = [
            replace(
                matmul_of(self.problem, self.tiling, self.switches, batch, m, n, k, taps),
                accumulate=accumulate,
            )
            for taps in self.problem.phases
        ]
        fulls = [self._side(axis)[1] for axis in streams]
        frees = [self._side(axis)[2] for axis in streams]
        last = len(works) - 1
        return [
            Instruction(
                Queue.STCE,
                work,
                (*fulls, *waits) if index == 0 else (),
                (*frees, *signals) if index == last else (),
            )
            for index, work in enumerate(works)
        ]

    @property
    def _out_channel(self) -> Channel:
        return Channel.OUT_TO_WUVE if self.fused.passes else Channel.OUT_FULL

    def _finish(self, sizes: dict[str, int]) -> list[Node]:
        """Fused vector work, then the stores of an output tile."""
        nodes: list[Node] = []
        ready = Channel.OUT_FULL
        if self.fused.passes:
            elements = sizes["m"] * self.problem.m.unit * sizes["n"] * self.problem.n.unit
            work = Vector(
                elements * len(self.problem.phases) * self.tiling.batch,
                self.fused.passes,
                fused=True,
            )
            ready = Channel.OUT_FROM_WUVE
            nodes.append(Instruction(Queue.WUVE, work, (Channel.OUT_TO_WUVE,), (ready,)))
        runs = _whole_runs(self.problem, self.problem.output, self.tiling.batch, sizes)
        work = Transfer(tuple((count * self.fused.stores, size) for count, size in runs), "output")
        nodes.append(Instruction(Queue.STORE, work, (ready,), (Channel.OUT_FREE,)))
        return nodes


def _whole_runs(
    problem: Problem, region: Region, batch: int, sizes: dict[str, int]
) -> tuple[tuple[int, int], ...]:
    runs = tile_runs(problem, region, batch, sizes)
    return tuple((int(count), int(size)) for count, size in runs if count and size)


def emit_product(
    problem: Problem, tiling: Tiling, switches: Switches, fused: Fused, gate: Gate
) -> tuple[Node, ...]:
    """The loops of one product under one tiling."""
    return tuple(_Emitter(problem, tiling, switches, fused, gate).product())


def emit_stream(
    elements: int,
    chunk: int,
    read_bytes: int,
    write_bytes: int,
    work: Callable[[int], Work],
    queue: Queue,
    gate: Gate,
) -> tuple[Node, ...]:
    """Load, work and store ``elements`` in chunks through the banks of WUVE or SORE.

    ``read_bytes`` and ``write_bytes`` are for all elements; chunks take their share, rounded up.
    """
    channels = _STREAM[queue]

    def one(size: int, *, first: bool) -> list[Node]:
        nodes: list[Node] = []
        waits: list[Channel] = []
        signals: list[Channel] = []
        share_in, share_out = (
            _share(read_bytes, size, elements),
            _share(write_bytes, size, elements),
        )
        if share_in:
            transfer = Transfer(((1, share_in),), channels.name)
            nodes.append(
                Instruction(Queue.LOAD, transfer, (channels.in_free,), (channels.in_full,))
            )
            waits.append(channels.in_full)
            signals.append(channels.in_free)
        if share_out:
            waits.append(channels.out_free)
            signals.append(channels.out_full)
        nodes.append(Instruction(queue, work(size), tuple(waits), tuple(signals)))
        if share_out:
            transfer = Transfer(((1, share_out),), channels.name)
            nodes.append(
                Instruction(Queue.STORE, transfer, (channels.out_full,), (channels.out_free,))
            )
        return nodes

    nodes = tile_loop(elements, chunk, one, first=gate.needed)
    return tuple(gate_load(nodes) if gate.needed else nodes)


def _share(total: int, part: int, whole: int) -> int:
    return -(-total * part // whole)


@dataclass(frozen=True)
class _Stream:
    name: str
    in_full: Channel
    in_free: Channel
    out_full: Channel
    out_free: Channel


_STREAM = {
    Queue.WUVE: _Stream(
        "vector", Channel.VIN_FULL, Channel.VIN_FREE, Channel.VOUT_FULL, Channel.VOUT_FREE
    ),
    Queue.SORE: _Stream(
        "mask",
        Channel.MASK_IN_FULL,
        Channel.MASK_IN_FREE,
        Channel.MASK_OUT_FULL,
        Channel.MASK_OUT_FREE,
    ),
}
