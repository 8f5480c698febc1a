"""Two segments as one: a stream of the vector or sorting unit dealt out over a product's tiles.

Units run in parallel, but each queue is in order: what shall overlap must be interleaved in the
program. The stream's chunks are spread over the product in proportion to the array's work.
"""

from __future__ import annotations

from collections.abc import Sequence

from weft.sim.machine import Array
from weft.sim.program import Instruction, Loop, Matmul, Node
from weft.sim.program.timing import matmul_cycles

__all__ = ["interleave"]


def interleave(product: Sequence[Node], stream: Sequence[Node], array: Array) -> tuple[Node, ...]:
    """``product`` with the chunks of ``stream`` between its tiles.

    ``stream`` is a loop of equal chunks, or none, and what is left over; that comes last.
    """
    chunks, rest = _chunks(stream)
    spread = _Spread(tuple(chunks.body), array) if chunks is not None else None
    nodes = spread.over(product, chunks.count) if spread and chunks else list(product)
    return (*nodes, *rest)


def _chunks(stream: Sequence[Node]) -> tuple[Loop | None, tuple[Node, ...]]:
    first = stream[0]
    return (first, tuple(stream[1:])) if isinstance(first, Loop) else (None, tuple(stream))


class _Spread:
    """Deals out copies of one chunk."""

    def __init__(self, chunk: tuple[Node, ...], array: Array) -> None:
        self.chunk = chunk
        self.array = array

    def over(self, nodes: Sequence[Node], copies: int) -> list[Node]:
        """``nodes`` with ``copies`` of the chunk behind their work, as evenly as it goes."""
        work = [self._work(node) for node in nodes]
        total = sum(work)
        if not total:
            return [*nodes, *self._times(copies)]
        spread: list[Node] = []
        done = placed = 0
        for node, cycles in zip(nodes, work, strict=True):
            done += cycles
            share = copies * done // total - placed
            placed += share
            spread += self._around(node, share) if share else [node]
        return spread

    def _around(self, node: Node, copies: int) -> list[Node]:
        if isinstance(node, Instruction):
            return [node, *self._times(copies)]
        if copies < node.count:
            return self._some(node, copies)
        each, more = divmod(copies, node.count)
        return [
            *_loop(more, self.over(node.body, each + 1)),
            *_loop(node.count - more, self.over(node.body, each)),
        ]

    def _some(self, node: Loop, copies: int) -> list[Node]:
        """Fewer copies than iterations: several iterations to a copy."""
        each, more = divmod(node.count, copies)
        return [
            *_loop(more, [*_loop(each + 1, node.body), *self.chunk]),
            *_loop(copies - more, [*_loop(each, node.body), *self.chunk]),
        ]

    def _times(self, copies: int) -> list[Node]:
        return _loop(copies, self.chunk)

    def _work(self, node: Node) -> int:
        """Cycles of the array."""
        if isinstance(node, Loop):
            return node.count * sum(self._work(inner) for inner in node.body)
        return matmul_cycles(self.array, node.work) if isinstance(node.work, Matmul) else 0


def _loop(count: int, body: Sequence[Node]) -> list[Node]:
    if count == 0:
        return []
    return list(body) if count == 1 else [Loop(count, tuple(body))]
