"""What one GPU of a layout must hold, and what to say when it does not fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

from weft.sim.gpu.parallel.layout import Layout
from weft.sim.gpu.parallel.shard import Share
from weft.sim.gpu.prediction.machine import GpuMachine
from weft.sim.workload import Product, Stage, UpdateOp, VectorOp

__all__ = ["OVERHEAD_BYTES", "Memory", "memory_of", "refuse"]

OVERHEAD_BYTES = 1.5e9
"""CUDA context, libraries and NCCL buffers, assumed; fragmentation is not counted."""


@dataclass(frozen=True)
class Memory:
    """Bytes on the fullest GPU."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    overhead: float = OVERHEAD_BYTES

    @property
    def total(self) -> float:
        return sum(getattr(self, field.name) for field in fields(self))

    def to_json(self) -> Mapping[str, float]:
        """Bytes by what they hold."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "total": self.total}


def memory_of(
    share: Share, layout: Layout, micro_batches: int, shards: int, *, master_weights: bool,
    element_bytes: float, inside: Collection[int],
) -> Memory:  # fmt: skip
    """The fullest rank's memory; ``shards`` ranks hold what the strategy shards, each its part.

    ``inside`` are positions whose results attention kernels keep on chip.
    """
    ranks, chunks = layout.pipeline, layout.pipeline * layout.virtual
    parameters, states = [0.0] * ranks, [0.0] * ranks
    for block, item in zip(share.blocks, share.workload.items, strict=True):
        if isinstance(item, UpdateOp):
            rank = block * chunks // share.count % ranks
            parameters[rank] += item.elements
            states[rank] += 4.0 * item.state * item.elements
    rank = max(range(ranks), key=lambda r: parameters[r])
    most = parameters[rank] or share.workload.parameters / ranks
    optimizer, gradients = states[rank], (4.0 if master_weights else element_bytes) * most
    copy = min(element_bytes, 2.0) * most
    master = 4.0 * most if master_weights and element_bytes < 4 else 0.0
    level = _level(layout.strategy)
    if level >= 1:
        optimizer, master = optimizer / shards, master / shards
    if level >= 2:
        gradients /= shards
    if level >= 3:
        gathered = min(1.0, 2.0 * ranks / share.count)
        copy *= gathered if layout.pipeline == 1 else 1.0
    saved, kept = _activations(share, layout, inside)
    flying = _in_flight(layout, micro_batches)
    return Memory(copy + master, gradients, optimizer, flying * saved / ranks + kept)


def _level(strategy: str) -> int:
    """How much a strategy shards, as ZeRO counts."""
    levels = {"replicated": 0, "zero1": 1, "zero2": 2, "sharded-gradients": 2}
    return levels.get(strategy, 3)


def _in_flight(layout: Layout, micro_batches: int) -> float:
    """Micro-batches whose activations the first rank holds at once."""
    if layout.schedule == "gpipe":
        return micro_batches
    if layout.schedule == "interleaved" and layout.virtual > 1:
        warm = (layout.pipeline - 1) * 2 + (layout.virtual - 1) * layout.pipeline + 1
        return min(micro_batches, warm / layout.virtual)
    return min(layout.pipeline, micro_batches)


def _activations(share: Share, layout: Layout, inside: Collection[int]) -> tuple[float, float]:
    """Bytes that one micro-batch leaves for its backward pass through all blocks, and bytes of
    what is held once however many micro-batches fly: a block computed again, the head's."""
    items = share.workload.items
    read = {
        source
        for item in items
        if not (isinstance(item, Product | VectorOp) and item.stage is Stage.FF)
        for source in item.inputs
    }
    block_bytes, head_bytes = 0.0, 0.0
    last = max((at for at, item in enumerate(items) if isinstance(item, Product)
                and item.stage is Stage.FF and item.right.parameter), default=0)  # fmt: skip
    forward = [at for at, item in enumerate(items)
               if isinstance(item, Product | VectorOp) and item.stage is Stage.FF]  # fmt: skip
    chosen = [at for at in forward if at in read] or forward
    for at in chosen:
        item = items[at]
        if at in inside:
            continue
        if isinstance(item, Product):
            size = 2.0 * item.output.elements
        elif isinstance(item, VectorOp):
            size = float(item.element_bytes * item.writes)
        else:
            continue
        if at >= last:
            head_bytes += size
        else:
            block_bytes += size
    edge = 2.0 * share.boundary / layout.tensor * share.count
    one = block_bytes / share.count
    if layout.checkpoint == "full":
        return edge, one + head_bytes
    if layout.checkpoint == "selective-op":
        return (block_bytes + edge) / 2, one + head_bytes
    return block_bytes, head_bytes


def refuse(memory: Memory, gpu: GpuMachine, layout: Layout) -> None:
    """Say that a layout does not fit, and what takes the room.

    Raises:
        ValueError: it does not fit.
    """
    if memory.total <= gpu.memory_bytes:
        return
    parts = sorted(memory.to_json().items(), key=lambda part: -part[1])
    told = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in parts if name != "total")
    largest = parts[1][0]
    cures = {
        "activations": "checkpoint full, a smaller micro-batch, more tensor or context ranks",
        "optimizer": "strategy zero1 or sharded, more tensor or pipeline ranks",
    }
    cure = cures.get(largest, "strategy sharded, more tensor or pipeline ranks")
    raise ValueError(
        f"does not fit: a GPU of this layout holds {memory.total / 1e9:.1f} GB ({told}), "
        f"{gpu.name} has {gpu.memory_bytes / 1e9:.1f} GB; try {cure}"
    )
