"""A recipe applied to a workload: which operand of which product is N:M, and what SORE must do.

The recipe is any object with ``at(step)`` giving ``rules`` (stage, operand, axis) and ``masks``
(source, axis, refresh) in plain words; see ``Recipe`` below. Neither scheduler nor engine knows
recipes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from weft.mapper.lower import edge_layers
from weft.sim.pattern import Pattern
from weft.sim.workload import (
    MaskWork,
    Product,
    Role,
    Stage,
    UpdateOp,
    VectorOp,
    Workload,
)

__all__ = [
    "Applied",
    "Mask",
    "Phase",
    "Recipe",
    "Rule",
    "SkipRules",
    "apply_recipe",
    "summarize_dense",
]

Item = Product | VectorOp | UpdateOp | MaskWork


class Rule(Protocol):
    """One operand that is sparse in one stage.

    ``stage``: "ff", "bp" or "wu". ``operand``: "weight", "activation" or "output_gradient".
    """

    @property
    def stage(self) -> str: ...
    @property
    def operand(self) -> str: ...


class Mask(Protocol):
    """One mask that must be made: of ``source`` ("weight" or "output_gradient") along ``axis``.

    ``every`` is the number of steps between two refreshes, 0 for never again.
    """

    @property
    def source(self) -> str: ...
    @property
    def axis(self) -> str: ...
    @property
    def every(self) -> int: ...


class Phase(Protocol):
    """What holds at one step."""

    @property
    def rules(self) -> Sequence[Rule]: ...
    @property
    def masks(self) -> Sequence[Mask]: ...


class Recipe(Protocol):
    """A sparsity recipe as the mapper needs it."""

    @property
    def name(self) -> str: ...
    def at(self, step: int) -> Phase: ...


@dataclass(frozen=True)
class SkipRules:
    """Which layers stay dense whatever the recipe says."""

    stem: bool = True
    classifier: bool = True
    names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Applied:
    """A sparse workload and what was left dense, with why; ``padded`` counts padding elements."""

    workload: Workload
    dense: Mapping[str, str] = field(default_factory=dict[str, str])
    padded_macs: int = 0


_STAGE_ROLE = {
    ("ff", "weight"): "right",
    ("ff", "activation"): "left",
    ("bp", "weight"): "right",
    ("bp", "output_gradient"): "left",
    ("wu", "activation"): "left",
    ("wu", "output_gradient"): "right",
}

PatternOf = Callable[[Product], Pattern]
"""The pattern for one product: one for all, or one per layer."""


def apply_recipe(
    workload: Workload,
    recipe: Recipe,
    pattern: Pattern | PatternOf,
    *,
    step: int = 0,
    skip: SkipRules | None = None,
    pregenerate: bool = True,
) -> Applied:
    """The workload of step ``step`` under ``recipe``.

    Layers whose reduction has fewer than M elements stay dense, and by default the stem and the
    classifier too. With ``pregenerate`` the weight layouts are made behind the update, else
    before each product that uses them.
    """
    phase = recipe.at(step)
    sides = {
        Stage(rule.stage): (_STAGE_ROLE[rule.stage, rule.operand], rule.operand)
        for rule in phase.rules
    }
    choose = pattern if callable(pattern) else lambda _: pattern
    excluded = _excluded(workload, skip or SkipRules())
    dense: dict[str, str] = {}
    sparse: dict[int, Product] = {}
    for position, item in enumerate(workload.items):
        if not isinstance(item, Product) or item.stage not in sides or not _prunable(item):
            continue
        wanted = choose(item)
        reason = _why_dense(item, wanted, excluded)
        if reason:
            dense.setdefault(item.name, reason)
        elif not wanted.is_dense:
            sparse[position] = item.with_sparsity(sides[item.stage][0], wanted)
    items = _insert_masks(workload.items, sparse, phase, step, pregenerate)
    padded = sum(p.macs_done - round(p.macs_dense * p.pattern.density) for p in sparse.values())
    return Applied(replace(workload, items=items), dense, padded)


def _prunable(product: Product) -> bool:
    """Products of a layer with a weight; attention scores have none."""
    return Role.WEIGHT in (product.left.role, product.right.role, product.output.role)


def _excluded(workload: Workload, skip: SkipRules) -> dict[str, str]:
    roles = edge_layers(workload)
    excluded = dict.fromkeys(skip.names, "named in skip")
    if skip.classifier:
        excluded |= dict.fromkeys(roles.classifier, "classifier")
    if skip.stem:
        excluded |= dict.fromkeys(roles.stem, "stem")
    return excluded


def _why_dense(product: Product, pattern: Pattern, excluded: Mapping[str, str]) -> str:
    if product.name in excluded:
        return excluded[product.name]
    if product.reduction_channels < pattern.m:
        return f"reduction has {product.reduction_channels} channels, fewer than {pattern.m}"
    return ""


def _insert_masks(
    items: Sequence[Item],
    sparse: Mapping[int, Product],
    phase: Phase,
    step: int,
    pregenerate: bool,
) -> tuple[Item, ...]:
    """Rebuild the list with sparse products and mask work in place, dependencies renumbered."""
    due = [mask for mask in phase.masks if mask.every and step % mask.every == 0]
    weight_axes = [mask.axis for mask in due if mask.source == "weight"]
    gradient_due = any(mask.source == "output_gradient" for mask in due)
    patterns = _weight_patterns(sparse)
    rebuilt: list[Item] = []
    moved: dict[int, int] = {}
    for position, item in enumerate(items):
        current: Item = sparse.get(position, item)
        inputs = tuple(moved[source] for source in item.inputs)
        extra = _masks_before(
            current, inputs, position in sparse, weight_axes, gradient_due, pregenerate
        )
        if extra is not None:
            rebuilt.append(extra)
            inputs = (*inputs, len(rebuilt) - 1)
        moved[position] = len(rebuilt)
        rebuilt.append(_with_inputs(current, inputs))
        if isinstance(item, UpdateOp) and pregenerate and item.parameter in patterns:
            rebuilt += _layouts(item, patterns[item.parameter], weight_axes, len(rebuilt) - 1)
    return tuple(rebuilt)


def _with_inputs(item: Item, inputs: tuple[int, ...]) -> Item:
    return item if item.inputs == inputs else replace(item, inputs=inputs)


def _weight_patterns(sparse: Mapping[int, Product]) -> dict[str, dict[str, Pattern]]:
    """Pattern of each pruned parameter along "k" (used in FF) and "o" (used in BP)."""
    found: dict[str, dict[str, Pattern]] = {}
    for product in sparse.values():
        if product.sparse_operand == "right" and product.right.role is Role.WEIGHT:
            axis = "k" if product.stage is Stage.FF else "o"
            found.setdefault(product.right.parameter, {})[axis] = product.pattern
    return found


def _layouts(
    update: UpdateOp, patterns: Mapping[str, Pattern], axes: Sequence[str], position: int
) -> list[Item]:
    """Layouts to pre-generate; a mask along both axes ("both") makes both from one selection."""
    wanted = [axis for axis in ("k", "o") if axis in patterns and (axis in axes or "both" in axes)]
    return [
        MaskWork(
            name=f"{update.name}:{axis}",
            parameter=update.parameter,
            elements=update.elements,
            pattern=patterns[axis],
            axis=axis,
            source="weight",
            inputs=(position,),
        )
        for axis in wanted
    ]


def _masks_before(
    item: Item,
    inputs: tuple[int, ...],
    is_sparse: bool,
    weight_axes: Sequence[str],
    gradient_due: bool,
    pregenerate: bool,
) -> MaskWork | None:
    """SORE work on the path of a product: gradients always, weights unless pre-generated."""
    if not is_sparse or not isinstance(item, Product):
        return None
    if item.sparse_operand == "left" and gradient_due and item.stage is Stage.BP:
        return MaskWork(
            f"{item.name}:dy", "", item.left.elements, item.pattern, "o", "gradient", 1, inputs
        )
    axis = "k" if item.stage is Stage.FF else "o"
    refreshed = axis in weight_axes or "both" in weight_axes
    if item.sparse_operand == "right" and refreshed and not pregenerate:
        return MaskWork(
            f"{item.name}:{axis}",
            item.right.parameter,
            item.right.elements,
            item.pattern,
            axis,
            "weight",
        )
    return None


def summarize_dense(dense: Mapping[str, str]) -> str:
    """One line that counts the layers left dense by reason."""
    counts = Counter(dense.values())
    return "; ".join(f"{count} dense: {reason}" for reason, count in sorted(counts.items()))
