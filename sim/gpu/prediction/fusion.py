"""Which vector ops of a workload share a kernel, run eagerly or compiled, and what each moves.

Eager: every op is a kernel that reads its inputs and writes its outputs, but a bias rides in the
epilogue of its product and dropout is one kernel. Compiled (as ``torch.compile``): an
element-wise op joins the vector op that makes its first input; that input stays in registers,
and it is not written at all if nobody else reads it. Products stay kernels of their own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from weft.sim.workload import Product, VectorOp, Workload

__all__ = ["FUSIONS", "VectorCost", "vector_costs"]

FUSIONS = ("eager", "compile")

ROW_SWEEPS = {
    "native_layer_norm": 1,
    "native_group_norm": 1,
    "_fused_rms_norm": 1,
    "_softmax": 1,
    "_safe_softmax": 1,
    "_log_softmax": 1,
    "_softmax_backward_data": 2,
    "_log_softmax_backward_data": 2,
}
"""Second sweeps that a workload counts and a GPU makes on chip, where a row is one block's; in
sweeps over the op's elements. Batch normalisation sweeps whole channels: its second is real. So is
that of norms' backward passes: the sums for weight and bias are a kernel of their own, which reads
both inputs again (ATen/native/cuda/layer_norm_kernel.cu)."""

_DROPOUT_PARTS = ("bernoulli", "bernoulli_")


@dataclass(frozen=True)
class VectorCost:
    """Elements that a vector op moves and the launches it adds; ``why`` says if it rides along."""

    reads: float
    writes: float
    launches: float
    why: str = ""


def vector_costs(
    workload: Workload, fusion: str, inside: Collection[int] = ()
) -> dict[int, VectorCost]:
    """Cost of each vector op by its position; ``inside`` are those within attention kernels.

    Raises:
        ValueError: an unknown way of fusing.
    """
    if fusion not in FUSIONS:
        raise ValueError(f"fusion is {fusion!r}; it must be one of {', '.join(FUSIONS)}")
    riders = _riders(workload, inside)
    joined = _joined(workload, riders) if fusion == "compile" else {}
    kept = _kept_on_chip(workload, joined)
    costs: dict[int, VectorCost] = {}
    for position, item in enumerate(workload.items):
        if not isinstance(item, VectorOp):
            continue
        if position in riders:
            costs[position] = VectorCost(0.0, 0.0, 0.0, riders[position])
            continue
        first = item.elements if position in joined else 0
        first += ROW_SWEEPS.get(item.op, 0) * item.elements
        writes = 0 if position in kept else item.writes
        launches = 0.0 if position in joined else 1.0
        reads = max(0, item.reads - first)
        costs[position] = VectorCost(reads, writes, launches, "fused" if position in joined else "")
    return costs


def _riders(workload: Workload, inside: Collection[int]) -> dict[int, str]:
    """Vector ops that are no kernels of their own, however the model runs."""
    riders = dict.fromkeys(inside, "inside attention")
    for position, item in enumerate(workload.items):
        if not isinstance(item, VectorOp) or position in riders:
            continue
        sources = [workload.items[source] for source in item.inputs]
        if item.op == "bias" and any(isinstance(source, Product) for source in sources):
            riders[position] = "product epilogue"
        elif item.op in _DROPOUT_PARTS or (
            item.op == "div_" and any(riders.get(source) == "dropout" for source in item.inputs)
        ):
            riders[position] = "dropout"
    return riders


def _joined(workload: Workload, riders: Collection[int]) -> dict[int, int]:
    """Element-wise ops that run in the kernel of a vector op they read from: position to source."""
    joined: dict[int, int] = {}
    for position, item in enumerate(workload.items):
        if not isinstance(item, VectorOp) or not item.elementwise or position in riders:
            continue
        for source in item.inputs:
            other = workload.items[source]
            same = isinstance(other, VectorOp) and other.elements == item.elements
            if same and source not in riders:
                joined[position] = source
                break
    return joined


def _kept_on_chip(workload: Workload, joined: dict[int, int]) -> set[int]:
    """Vector ops whose output only ops of their own kernel read."""
    readers: dict[int, list[int]] = {}
    for position, item in enumerate(workload.items):
        for source in item.inputs:
            readers.setdefault(source, []).append(position)
    return {
        source
        for source in set(joined.values())
        if all(joined.get(reader) == source for reader in readers.get(source, []))
    }
