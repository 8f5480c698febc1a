"""Fused attention: which items of a workload run inside one kernel, and how long it takes.

On a GPU ``scaled_dot_product_attention`` is one kernel that keeps the scores on chip and computes
them again in the backward pass, even where the trace splits it into products and a softmax. Under
a causal mask it skips the blocks above the diagonal; a mask given as data is not looked into.
"""

from __future__ import annotations

from dataclasses import dataclass

from weft.sim.gpu.prediction.attention_rates import attention_flop_s
from weft.sim.gpu.prediction.constants import KernelConstants
from weft.sim.gpu.prediction.machine import GpuMachine
from weft.sim.workload import Product, Stage, VectorOp, Workload

__all__ = ["AttentionParts", "attention_us", "find_attention", "is_attention", "scores"]

RECOMPUTED = 5.0 / 4.0
"""The fused backward makes the scores again: five products where a split trace has four."""

_MASK_OPS = ("ones", "tril", "scalar_tensor", "where")
_CAUSAL_MARK = "causal"


@dataclass(frozen=True)
class AttentionParts:
    """Positions of products that belong to an attention, and of vector ops inside its kernel.

    ``recomputes`` are the split backward products, which a fused kernel runs five for four;
    ``causal`` those whose scores above the diagonal are never made.
    """

    products: frozenset[int] = frozenset()
    inside: frozenset[int] = frozenset()
    recomputes: frozenset[int] = frozenset()
    causal: frozenset[int] = frozenset()


def is_attention(product: Product) -> bool:
    """Whether a product is one of an attention's, fused or split."""
    return product.op.startswith("attention") or product.name.split("#")[0].endswith((":qk", ":pv"))


def scores(product: Product) -> int:
    """Elements of the score matrices that a product makes or uses."""
    part = product.name.split("#")[0]
    if part.endswith(":qk") and product.stage is Stage.FF:
        return product.m * product.n * product.batch
    return product.m * product.batch * max(product.n, product.k)


def _module(name: str) -> str:
    return name.split("#")[0].rpartition(":")[0] or name


def find_attention(workload: Workload) -> AttentionParts:
    """Products of attentions, and the vector ops that work on their scores."""
    products: set[int] = set()
    inside: set[int] = set()
    recomputes: set[int] = set()
    sizes = {scores(item) for item in workload.products if is_attention(item)}
    masked = {item.name for item in workload.items if isinstance(item, VectorOp)
              and item.op == "tril"}  # fmt: skip
    causal: set[int] = set()
    for position, item in enumerate(workload.items):
        if isinstance(item, Product) and is_attention(item):
            products.add(position)
            if _CAUSAL_MARK in item.op or _module(item.name) in masked:
                causal.add(position)
            if item.stage is not Stage.FF and not item.op.startswith("attention"):
                recomputes.add(position)
            if item.stage is Stage.FF:
                inside |= _before(workload, item)
        elif isinstance(item, VectorOp) and _on_scores(item, sizes, products | inside):
            inside.add(position)
    return AttentionParts(*(frozenset(found) for found in (products, inside, recomputes, causal)))


def _before(workload: Workload, product: Product) -> set[int]:
    """What the split path does to operands and mask and a fused kernel does not."""
    found: set[int] = set()
    open_ends, scaled = list(product.inputs), False
    while open_ends:
        position = open_ends.pop()
        item = workload.items[position]
        if not isinstance(item, VectorOp) or position in found:
            continue
        scales = item.op == "mul" and not scaled and item.reads <= item.elements + 1
        if item.op == "clone" or scales:
            scaled = scaled or scales
            found.add(position)
            open_ends += item.inputs
    return found


def _on_scores(item: VectorOp, sizes: set[int], near: set[int]) -> bool:
    if not item.reads and not item.writes:
        return True
    if item.op in _MASK_OPS and "attention" in item.name:
        return True
    return item.elements in sizes and any(source in near for source in item.inputs)


def attention_us(
    product: Product, gpu: GpuMachine, constants: KernelConstants, peak_flop_s: float, *,
    element_bytes: float, recomputed: bool, kernel: str, causal: bool,
) -> tuple[float, float, float]:  # fmt: skip
    """Time (us), memory bytes and FLOP of a product inside a fused attention; half a launch each.

    ``peak_flop_s`` is that of the type that attention runs in.
    """
    size, rows, length = sorted((product.m, product.n, product.k))
    backward = product.stage is not Stage.FF
    flop = 2.0 * product.macs_dense * (RECOMPUTED if recomputed else 1.0)
    causal = causal and rows == length
    if causal:
        flop *= 0.5 * (1.0 + 1.0 / length)
    rate = attention_flop_s(
        kernel, gpu.architecture, peak_flop_s, size=size, length=rows,
        backward=backward, causal=causal,
    )  # fmt: skip
    ends = (product.left, product.right, product.output)
    moved = max(0.0, element_bytes * (sum(end.elements for end in ends) - scores(product)))
    memory = moved / (gpu.memory_bytes_s * constants.hbm_efficiency)
    return 0.5 * constants.launch_us + 1e6 * max(flop / rate, memory), moved, flop
