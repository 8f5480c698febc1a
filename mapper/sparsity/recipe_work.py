"""The work that a recipe adds to a step: SORE passes, gathers, candidate permutations, fading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from weft.sim.pattern import Pattern
from weft.sim.workload import MaskWork, Product, Role, Stage, UpdateOp, VectorOp

__all__ = ["Added", "Extra", "Item", "insert_work", "weight_patterns"]

Item = Product | VectorOp | UpdateOp | MaskWork
WeightPatterns = Mapping[str, Mapping[str, Pattern]]
"""Pattern by parameter and axis: "k" is used in FF, "o" in BP."""


class Extra(Protocol):
    """Work beside products and masks, for the sparse products of ``stage``.

    ``kind``: "gather" moves every element of dY through an index; "permutation-search" tries
    ``count`` permutations of each weight. Due every ``every`` steps.
    """

    @property
    def kind(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def every(self) -> int: ...
    @property
    def count(self) -> int: ...


@dataclass(frozen=True)
class Added:
    """What one step does beside its products.

    ``extras`` are those due; ``faded`` the weights whose dropped elements are scaled and kept;
    with ``pregenerate`` weights are compressed behind their update, else before each use.
    """

    pregenerate: bool = True
    extras: Sequence[Extra] = ()
    faded: WeightPatterns = field(default_factory=dict[str, Mapping[str, Pattern]])

    def candidates(self, axis: str) -> int:
        """Permutations to try for a layout along ``axis``."""
        stage = Stage.FF if axis == "k" else Stage.BP
        searches = (e for e in self.extras if e.kind == "permutation-search")
        return sum(extra.count for extra in searches if extra.stage == stage)

    def gathers(self, stage: Stage) -> bool:
        return any(extra.kind == "gather" and extra.stage == stage for extra in self.extras)


def insert_work(
    items: Sequence[Item], sparse: Mapping[int, Product], added: Added
) -> tuple[Item, ...]:
    """The items with ``sparse`` products and added work in place, dependencies renumbered.

    ``sparse`` holds the products that change, by position.
    """
    patterns = weight_patterns(sparse)
    rebuilt: list[Item] = []
    moved: dict[int, int] = {}
    for position, item in enumerate(items):
        current: Item = sparse.get(position, item)
        inputs = tuple(moved[source] for source in item.inputs)
        if position in sparse and isinstance(current, Product):
            for make in (_gather, _mask):
                work = make(current, inputs, added)
                if work is not None:
                    rebuilt.append(work)
                    inputs = (*inputs, len(rebuilt) - 1)
        moved[position] = len(rebuilt)
        rebuilt.append(current if current.inputs == inputs else replace(current, inputs=inputs))
        if isinstance(item, UpdateOp):
            rebuilt += _behind_update(item, len(rebuilt) - 1, patterns, added)
    return tuple(rebuilt)


def weight_patterns(sparse: Mapping[int, Product]) -> WeightPatterns:
    """What the weights among the sparse operands are pruned to."""
    found: dict[str, dict[str, Pattern]] = {}
    for product in sparse.values():
        if product.sparse_operand == "right" and product.right.role is Role.WEIGHT:
            axis = "k" if product.stage is Stage.FF else "o"
            found.setdefault(product.right.parameter, {})[axis] = product.pattern
    return found


def _gather(product: Product, inputs: tuple[int, ...], added: Added) -> VectorOp | None:
    """The dense operand, moved into the order of the permuted channels."""
    if not added.gathers(product.stage):
        return None
    elements = product.left.elements
    return VectorOp(
        product.name, product.stage, "gather", elements, elements, elements,
        inputs=inputs, programs=("copy",),
    )  # fmt: skip


def _mask(product: Product, inputs: tuple[int, ...], added: Added) -> MaskWork | None:
    """SORE work on the path of a product: gradients always, weights unless pre-generated."""
    operand = product.left if product.sparse_operand == "left" else product.right
    if operand.role is Role.WEIGHT:
        if added.pregenerate:
            return None
        axis = "k" if product.stage is Stage.FF else "o"
        return MaskWork(
            f"{product.name}:{axis}",
            operand.parameter,
            operand.elements,
            product.pattern,
            axis,
            "weight",
        )
    axis = "t" if product.stage is Stage.WU else "o"
    source = "gradient" if operand.role is Role.GRADIENT else "activation"
    return MaskWork(
        f"{product.name}:{axis}", "", operand.elements, product.pattern, axis, source, 1, inputs
    )


def _behind_update(
    update: UpdateOp, position: int, patterns: WeightPatterns, added: Added
) -> list[Item]:
    """Candidate permutations, compressed layouts, and fading of an updated weight."""
    own = patterns.get(update.parameter, {})
    work: list[Item] = []
    for axis in ("k", "o"):
        if axis in own:
            layout = _layout(update, position, own[axis], axis)
            work += [layout] * (added.candidates(axis) + added.pregenerate)
    for axis, pattern in added.faded.get(update.parameter, {}).items():
        work.append(_layout(update, position, pattern, axis))
        work.append(
            VectorOp(
                update.name,
                Stage.OPTIMIZER,
                "fade",
                update.elements,
                reads=update.elements,
                writes=update.elements,
                inputs=(position + len(work),),
                programs=("mul",),
            )
        )
    return work


def _layout(update: UpdateOp, position: int, pattern: Pattern, axis: str) -> MaskWork:
    return MaskWork(
        f"{update.name}:{axis}",
        update.parameter,
        update.elements,
        pattern,
        axis,
        "weight",
        inputs=(position,),
    )
