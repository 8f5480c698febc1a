"""Fused attention: which items of a workload run inside one kernel, and how long it takes.

On a GPU ``scaled_dot_product_attention`` is one kernel that keeps the scores on chip and computes
them again in the backward pass, even where the trace splits it into products and a softmax.
"""

from __future__ import annotations

from dataclasses import dataclass

from weft.sim.gpu.prediction.constants import KernelConstants
from weft.sim.gpu.prediction.machine import GpuMachine
from weft.sim.workload import Product, Stage, VectorOp, Workload

__all__ = ["ATTENTION_SHARE", "AttentionParts", "attention_us", "find_attention", "is_attention"]

ATTENTION_SHARE = {
    "volta": (0.35, 0.25),
    "ampere": (0.65, 0.55),
    "ada": (0.65, 0.55),
    "hopper": (0.40, 0.35),
    "blackwell": (0.40, 0.35),
    "blackwell-geforce": (0.65, 0.55),
}
"""Shares of the dense peak that FlashAttention-2 reaches forward and backward on long sequences:
A100 up to 73 % and 63 % (Dao, arXiv:2307.08691, sections 4.1 and 4.2), H100 about 35 to 40 %
(Shah et al., arXiv:2407.08608, abstract). Volta, Ada and Blackwell are assumed like their nearest
relative; Volta has no FlashAttention-2 and is assumed at half of A100."""

RECOMPUTED = 5.0 / 4.0
"""The fused backward makes the scores again: five products where a split trace has four."""


@dataclass(frozen=True)
class AttentionParts:
    """Positions of products that belong to an attention, and of vector ops inside its kernel.

    ``recomputes`` are the split backward products, which a fused kernel runs five for four.
    """

    products: frozenset[int]
    inside: frozenset[int]
    recomputes: frozenset[int]


def is_attention(product: Product) -> bool:
    """Whether a product is one of an attention's, fused or split."""
    return product.op.startswith("attention") or product.name.split("#")[0].endswith((":qk", ":pv"))


def _scores(product: Product) -> int:
    """Elements of the score matrices that a product makes or uses."""
    part = product.name.split("#")[0]
    if part.endswith(":qk") and product.stage is Stage.FF:
        return product.m * product.n * product.batch
    return product.m * product.batch * max(product.n, product.k)


def find_attention(workload: Workload) -> AttentionParts:
    """Products of attentions, and the vector ops that work on their scores."""
    products: set[int] = set()
    inside: set[int] = set()
    recomputes: set[int] = set()
    scores = {_scores(item) for item in workload.products if is_attention(item)}
    for position, item in enumerate(workload.items):
        if isinstance(item, Product) and is_attention(item):
            products.add(position)
            if item.stage is not Stage.FF and not item.op.startswith("attention"):
                recomputes.add(position)
        elif isinstance(item, VectorOp) and _on_scores(item, scores, products | inside):
            inside.add(position)
    return AttentionParts(frozenset(products), frozenset(inside), frozenset(recomputes))


def _on_scores(item: VectorOp, scores: set[int], near: set[int]) -> bool:
    if not item.reads and not item.writes:
        return True
    return item.elements in scores and any(source in near for source in item.inputs)


def attention_us(
    product: Product, gpu: GpuMachine, constants: KernelConstants, peak_flop_s: float, *,
    element_bytes: float, recomputed: bool,
) -> tuple[float, float]:  # fmt: skip
    """Time (us) and memory bytes of a product inside a fused attention; half a launch each."""
    forward, backward = ATTENTION_SHARE[gpu.architecture]
    share = forward if product.stage is Stage.FF else backward
    flop = 2.0 * product.macs_dense * (RECOMPUTED if recomputed else 1.0)
    ends = (product.left, product.right, product.output)
    stored = sum(end.elements for end in ends) - _scores(product)
    moved = max(0.0, element_bytes * stored)
    memory = moved / (gpu.memory_bytes_s * constants.hbm_efficiency)
    return 0.5 * constants.launch_us + 1e6 * max(flop / (share * peak_flop_s), memory), moved
