"""A step on GPUs as Chakra execution traces, one per rank, for ASTRA-sim and its like.

The format is MLCommons Chakra's (``schema/protobuf/et_def.proto``): messages of protocol buffers,
each behind its length, first the metadata, then the nodes in an order that respects dependencies.
Written here field by field, so that no protocol-buffer compiler is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from weft.sim.gpu.parallel.layout import Layout
from weft.sim.gpu.parallel.shard import Share, share_of
from weft.sim.gpu.prediction.link import Cluster, collective_s
from weft.sim.gpu.prediction.machine import GpuMachine, load_gpu
from weft.sim.gpu.prediction.settings import GpuSettings
from weft.sim.gpu.prediction.step import GpuItem, StepContext, price_items
from weft.sim.workload import Product, Stage, UpdateOp, VectorOp, Workload

__all__ = ["VERSION", "Node", "encode", "step_nodes", "write_traces"]

VERSION = "0.0.4"
COMPUTE, LOAD, STORE, COLLECTIVE = 4, 2, 3, 7
"""Node types of the schema."""

COLLECTIVES = {"all-reduce": 0, "gather": 2, "reduce": 7}
"""Collective types of the schema: ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER."""

_COPIES = ("_to_copy", "clone", "cat", "copy_", "cast weights", "embedding")
"""Vector ops that move and do not compute: memory nodes."""


@dataclass(frozen=True)
class Node:
    """One node. ``collective`` names it for type 7; ``group`` are the ranks that take part."""

    number: int
    name: str
    kind: int
    needs: tuple[int, ...]
    start_us: int
    duration_us: int
    size_bytes: int
    operations: int = 0
    collective: str = ""
    group: str = ""


def _varint(value: int) -> bytes:
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value) if value else b""


def _text(field: int, value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _attribute(name: str, value: int | bool | str) -> bytes:
    """An ``AttributeProto``: bool_val 27, int64_val 9, uint64_val 13, string_val 29."""
    if isinstance(value, bool):
        body = _varint(27 << 3) + _varint(int(value))
    elif isinstance(value, str):
        body = _text(29, value)
    else:
        field = 9 if name == "comm_type" else 13
        body = _varint(field << 3) + _varint(value)
    return _text(10, _text(1, name) + body)


def encode(node: Node) -> bytes:
    """A node's message, without its length."""
    needs = b"".join(map(_varint, node.needs))
    body = _number(1, node.number) + _text(2, node.name) + _number(3, node.kind)
    body += _text(5, needs) if needs else b""
    body += _number(6, node.start_us) + _number(7, node.duration_us)
    body += _attribute("is_cpu_op", False)
    if node.collective:
        body += _attribute("comm_type", COLLECTIVES[node.collective])
        body += _attribute("comm_size", node.size_bytes)
        return body + _attribute("pg_name", node.group)
    body += _attribute("tensor_size", node.size_bytes)
    return body + (_attribute("num_ops", node.operations) if node.operations else b"")


def _framed(messages: Sequence[bytes]) -> bytes:
    return b"".join(_varint(len(message)) + message for message in messages)


def write_traces(nodes: Sequence[Node], ranks: int, out: Path) -> list[Path]:
    """Write ``out``.RANK.et for every rank; all ranks do the same, each its part.

    Each file is renamed into its place when whole.
    """
    data = _framed([_text(1, VERSION), *map(encode, nodes)])
    paths: list[Path] = []
    for rank in range(ranks):
        path = out.with_name(f"{out.name}.{rank}.et")
        partial = path.with_name(f".{path.name}.part")
        partial.write_bytes(data)
        partial.replace(path)
        paths.append(path)
    return paths


def step_nodes(
    workload: Workload, gpu: str | GpuMachine, layout: Layout, *,
    settings: GpuSettings | None = None,
) -> list[Node]:  # fmt: skip
    """A step of one rank: what it computes, moves and exchanges, in order, with durations.

    Raises:
        ValueError: a pipeline, whose ranks differ, or a layout that does not divide.
    """
    if layout.pipeline > 1:
        raise ValueError(f"pipeline {layout.pipeline}: traces are of ranks that are alike, so of 1")
    machine = load_gpu(gpu) if isinstance(gpu, str) else gpu
    micros = layout.micro_batches(workload.batch)
    share = share_of(workload, layout, micros)
    sharded = 1 if layout.strategy == "replicated" else layout.data * layout.context
    per_step = replace(settings or GpuSettings(), checkpoint=layout.checkpoint, accumulate=micros)
    items, context = price_items(share.workload, machine, per_step, {}, sharded)
    return list(_Writer(share, layout, context, machine).nodes(items, micros))


class _Writer:
    """Nodes in order; each waits for the one before, collectives of data ranks for their layer."""

    def __init__(
        self, share: Share, layout: Layout, context: StepContext, machine: GpuMachine
    ) -> None:
        self.share, self.layout, self.context = share, layout, context
        self.wires = Cluster.of(machine, layout.gpus)
        self.number, self.last = 0, ()
        self.clock_us = 0.0
        self.sums: list[int] = []
        sizes = [0.0] * share.count
        for block, item in zip(share.blocks, share.workload.items, strict=True):
            if isinstance(item, UpdateOp):
                sizes[block] += item.elements
        self.sizes = sizes

    def nodes(self, items: Sequence[GpuItem], micros: int) -> Iterator[Node]:
        """The micro-batches one after the other, then the update."""
        every = [i for i in items if not self._is_update(i)]
        for micro in range(micros):
            yield from self._pass(every, last=micro == micros - 1)
        waits = (*self.last, *self.sums)
        for item in items:
            if self._is_update(item):
                yield self._node(item.name, STORE, item.time_us * micros, item.memory_bytes, waits)
                waits = self.last

    def _is_update(self, item: GpuItem) -> bool:
        at = item.position
        return at < len(self.share.blocks) and isinstance(self.share.workload.items[at], UpdateOp)

    def _pass(self, items: Sequence[GpuItem], *, last: bool) -> Iterator[Node]:
        ends = self._last_of_blocks(items)
        gathers = self.layout.strategy not in ("replicated", "zero1")
        seen: set[tuple[int, bool]] = set()
        for item in items:
            block = self._block(item)
            forward = self._is_forward(item)
            if block is not None and gathers and (block, forward) not in seen:
                seen.add((block, forward))
                if forward or self.layout.strategy in ("zero3", "fsdp2", "sharded", "hsdp"):
                    yield self._collective(f"parameters of block {block}", "gather", block)
            yield from self._exchanges(item)
            copies = item.op in _COPIES
            yield self._node(item.name or item.op, LOAD if copies else COMPUTE, item.time_us,
                             item.memory_bytes, self.last, 2 * item.macs_done)  # fmt: skip
            if block is not None and ends.get(block) == item.position and (gathers or last):
                kind = "all-reduce" if self.layout.strategy == "replicated" else "reduce"
                if self.layout.data * self.layout.context > 1:
                    yield self._collective(f"gradients of block {block}", kind, block, aside=True)

    def _block(self, item: GpuItem) -> int | None:
        if item.position >= len(self.share.blocks) or self.layout.data * self.layout.context == 1:
            return None
        return self.share.blocks[item.position]

    def _is_forward(self, item: GpuItem) -> bool:
        source = self.share.workload.items[item.position] if self._inside(item) else None
        return isinstance(source, Product | VectorOp) and source.stage is Stage.FF

    def _inside(self, item: GpuItem) -> bool:
        return item.position < len(self.share.workload.items)

    def _last_of_blocks(self, items: Sequence[GpuItem]) -> dict[int, int]:
        return {
            self.share.blocks[item.position]: item.position
            for item in items
            if self._inside(item) and not self._is_forward(item)
        }

    def _exchanges(self, item: GpuItem) -> Iterator[Node]:
        tensor = self.wires.group(self.layout.tensor, 1)
        for found, kind in ((self.share.gathers, "gather"), (self.share.sums, "reduce")):
            elements = found.get(item.position)
            if elements and self.layout.tensor > 1:
                size = elements * self.context.vector_bytes
                seconds = collective_s(kind, size, tensor)
                yield self._node(f"{item.name} {kind}", COLLECTIVE, 1e6 * seconds, size, self.last,
                                 collective=kind, group="tensor")  # fmt: skip

    def _collective(self, name: str, kind: str, block: int, *, aside: bool = False) -> Node:
        ranks = self.layout.data * self.layout.context
        each = self.context.element_bytes if kind == "gather" else 4.0
        size = self.sizes[block] * each
        seconds = collective_s(kind, size, self.wires.group(ranks, self.layout.tensor))
        node = self._node(name, COLLECTIVE, 1e6 * seconds, size, self.last, collective=kind,
                          group="data", aside=aside)  # fmt: skip
        if aside:
            self.sums.append(node.number)
        return node

    def _node(
        self, name: str, kind: int, time_us: float, size: float, needs: tuple[int, ...],
        operations: int = 0, *, collective: str = "", group: str = "", aside: bool = False,
    ) -> Node:  # fmt: skip
        start, end = round(self.clock_us), round(self.clock_us + time_us)
        node = Node(self.number, name, kind, needs, start, end - start, round(size), operations,
                    collective, group)  # fmt: skip
        self.number += 1
        if not aside:
            self.last = (node.number,)
            self.clock_us += time_us
        return node
