"""One GPU's share of a workload: tokens, heads, columns and rows of weights.

Tensor parallelism as Megatron does it (Shoeybi et al., arXiv:1909.08053), with sequence parallelism
(Korthikanti et al., arXiv:2205.05198): a layer behind a norm is cut by columns, one behind another
layer or an attention by rows, and everything between is cut as well. Ranks gather what enters
columns and sum what leaves rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import ceil

from weft.sim.gpu.parallel.layout import Layout, whole
from weft.sim.gpu.prediction.attention import is_attention
from weft.sim.workload import MaskWork, Operand, Product, Role, Stage, UpdateOp, VectorOp, Workload

__all__ = ["Share", "block_of", "share_of"]

_BLOCK = re.compile(r"(?:^|\.)(\d+)(?=$|[.:#])")


@dataclass(frozen=True)
class Share:
    """``workload`` is a GPU's part of one micro-batch through all layers.

    ``gathers`` and ``sums`` are the elements that tensor ranks exchange, by position of the item
    they belong to (the whole tensor's); ``keys`` those of keys and values that context ranks
    exchange; ``tokens`` those that go to experts; ``blocks`` the block of every item and
    ``count`` how many there are; ``boundary`` the elements between two blocks.
    """

    workload: Workload
    gathers: dict[int, float]
    sums: dict[int, float]
    keys: dict[int, float]
    tokens: dict[int, float]
    blocks: tuple[int, ...]
    count: int
    boundary: float


def block_of(name: str) -> int | None:
    """The index of the block that a module path lies in."""
    found = _BLOCK.search(name)
    return int(found.group(1)) if found else None


def _blocks(workload: Workload) -> tuple[tuple[int, ...], int]:
    """The block of every item: that of its name, else of the items before it."""
    named = [block_of(item.name) for item in workload.items]
    count = max((block for block in named if block is not None), default=0) + 1
    found: list[int] = []
    forward, backward = 0, count - 1
    for item, block in zip(workload.items, named, strict=True):
        is_forward = isinstance(item, Product | VectorOp) and item.stage is Stage.FF
        if block is None and isinstance(item, UpdateOp | MaskWork):
            block = 0 if not found or "head" not in item.name else count - 1
        if is_forward:
            forward = block = forward if block is None else block
        else:
            backward = block = backward if block is None else block
        found.append(block)
    return tuple(found), count


def _is_row(workload: Workload, product: Product) -> bool:
    """Whether a product's input comes from another product without a norm or a sum between."""
    ends, seen = list(product.inputs), set[int]()
    while ends:
        position = ends.pop()
        if position in seen:
            continue
        seen.add(position)
        item = workload.items[position]
        if isinstance(item, Product):
            return True
        if not isinstance(item, VectorOp):
            continue
        stops = "norm" in item.op or "norm" in item.name or item.op in ("rsqrt", "embedding")
        joins = item.op in ("add", "add_") and len(item.inputs) > 1
        if not stops and not joins:
            ends += item.inputs
    return False


def _is_expert(product: Product) -> bool:
    """Whether a product is a layer of several experts at once."""
    return bool(product.right.parameter) and product.batch > 1 and product.convolution is None


def _heads(workload: Workload) -> int:
    found = [p.batch // workload.batch for p in workload.products
             if is_attention(p) and p.stage is Stage.FF]  # fmt: skip
    return min(found, default=0)


def share_of(workload: Workload, layout: Layout, micro_batches: int) -> Share:
    """A GPU's share of one micro-batch.

    Raises:
        ValueError: something does not divide; the message names both numbers and what would.
    """
    heads, tensor = _heads(workload), layout.tensor
    blocks, count = _blocks(workload)
    if tensor > 1:
        if not heads:
            raise ValueError(f"tensor {tensor}: {workload.model} has no attention to cut")
        whole("tensor", tensor, "attention heads", heads)
    if not layout.uneven:
        whole("pipeline", layout.pipeline * layout.virtual, "layers", count)
    experts = max((p.batch for p in workload.products if _is_expert(p)), default=1)
    if layout.expert > 1:
        if experts == 1:
            raise ValueError(f"expert {layout.expert}: {workload.model} has no experts to share")
        whole("expert", layout.expert, "experts", experts)
    rows = {
        item.name
        for item in workload.products
        if item.stage is Stage.FF and item.right.parameter and _is_row(workload, item)
    }
    cut = _Cut(workload, layout, micro_batches, rows)
    items = tuple(cut.item(position, item) for position, item in enumerate(workload.items))
    local = replace(workload, items=items, batch=max(1, workload.batch // micro_batches),
                    parameters=ceil(workload.parameters / tensor))  # fmt: skip
    return Share(local, cut.gathers, cut.sums, cut.keys, cut.tokens, blocks, count, cut.boundary)


class _Cut:
    """Cuts the items of a workload one by one, and notes what must be exchanged."""

    def __init__(
        self, workload: Workload, layout: Layout, micro_batches: int, rows: set[str]
    ) -> None:
        self.layout, self.rows = layout, rows
        self.slices = micro_batches * layout.context
        self.micro_batches = micro_batches
        self.gathers: dict[int, float] = {}
        self.sums: dict[int, float] = {}
        self.keys: dict[int, float] = {}
        self.tokens: dict[int, float] = {}
        self.boundary = 0.0
        self._entered: set[tuple[int, Stage]] = set()

    def item(
        self, position: int, item: Product | VectorOp | UpdateOp | MaskWork
    ) -> Product | VectorOp | UpdateOp | MaskWork:
        """One GPU's part of an item."""
        tensor, parts = self.layout.tensor, self.slices * self.layout.tensor
        if isinstance(item, VectorOp):
            if item.elements < parts:
                return item
            return replace(item, elements=ceil(item.elements / parts),
                           reads=ceil(item.reads / parts), writes=ceil(item.writes / parts),
                           rows=ceil(item.rows / parts))  # fmt: skip
        if isinstance(item, UpdateOp | MaskWork):
            return replace(item, elements=ceil(item.elements / tensor))
        if is_attention(item):
            return self._attention(position, item)
        if not item.right.parameter and not item.output.parameter and not item.left.parameter:
            return self._scaled(item, item.m, item.k, item.n, max(1, item.batch // parts),
                                1 / parts, 1 / parts, 1 / parts)  # fmt: skip
        if item.batch > 1 and item.convolution is None:
            return self._experts(position, item)
        return self._weighted(position, item)

    def _scaled(
        self, item: Product, m: float, k: float, n: float, batch: int, *shares: float
    ) -> Product:
        left, right, output = (
            _part(operand, share)
            for operand, share in zip((item.left, item.right, item.output), shares, strict=True)
        )
        return replace(item, m=max(1, ceil(m)), k=max(1, ceil(k)), n=max(1, ceil(n)), batch=batch,
                       left=left, right=right, output=output)  # fmt: skip

    def _attention(self, position: int, item: Product) -> Product:
        parts = self.slices * self.layout.tensor
        batch = max(1, item.batch // parts)
        share = 1 / parts
        rows = item.m * item.batch / parts / batch  # below one head, rows are dealt out too
        if self.layout.context > 1 and item.name.split("#")[0].endswith(":qk"):
            per = self.micro_batches * self.layout.tensor
            self.keys[position] = 2.0 * item.right.elements / per
        return self._scaled(item, rows, item.k, item.n, batch, share, share, share)

    def _experts(self, position: int, item: Product) -> Product:
        """Whole experts on each rank, with the tokens of all that rank's peers."""
        expert, slices = self.layout.expert, self.slices
        tokens = item.right.elements if item.stage is Stage.WU else item.left.elements
        if expert > 1 and item.stage is not Stage.WU:
            self.tokens[position] = tokens / slices
        local = self._weighted(position, replace(item, batch=1))
        return replace(local, batch=max(1, item.batch // expert))

    def _weighted(self, position: int, item: Product) -> Product:
        """A layer: its tokens in slices, its weight by columns or by rows."""
        tensor, slices = self.layout.tensor, self.slices
        row = item.name.split("#")[0] in self.rows or item.name in self.rows
        m, k, n = float(item.m), float(item.k), float(item.n)
        if item.convolution is not None:
            shares = [1 / slices if o.role is not Role.WEIGHT else 1.0
                      for o in (item.left, item.right, item.output)]  # fmt: skip
            wide = (m, k / slices) if item.stage is Stage.WU else (m / slices, k)
            return self._scaled(item, *wide, n, item.batch, *shares)
        if item.stage is Stage.WU:
            swapped = item.left.role is Role.GRADIENT
            if row != swapped:
                m /= tensor
            else:
                n /= tensor
            k /= slices
            inner = tensor if row else 1
            outer = 1 if row else tensor
            ends = (1 / slices / inner, 1 / slices / outer)
            left, right = reversed(ends) if swapped else ends
            return self._scaled(item, m, k, n, item.batch, left, right, 1 / tensor)
        m /= slices
        into_cut = row if item.stage is Stage.FF else not row
        tokens = 1 / slices
        if into_cut:
            k /= tensor
            if tensor > 1:
                self.sums[position] = item.output.elements / slices
            return self._scaled(item, m, k, n, item.batch, tokens / tensor, 1 / tensor, tokens)
        n /= tensor
        self._gather(position, item, slices)
        return self._scaled(item, m, k, n, item.batch, tokens, 1 / tensor, tokens / tensor)

    def _gather(self, position: int, item: Product, slices: int) -> None:
        """What enters columns is gathered once however many layers read it."""
        whole_input = item.left.elements / slices
        if item.stage is Stage.FF and not self.boundary:
            self.boundary = whole_input
        source = item.inputs[0] if item.inputs else position
        if self.layout.tensor > 1 and (source, item.stage) not in self._entered:
            self._entered.add((source, item.stage))
            self.gathers[position] = whole_input


def _part(operand: Operand, share: float) -> Operand:
    return replace(operand, elements=max(1, ceil(operand.elements * share)))
