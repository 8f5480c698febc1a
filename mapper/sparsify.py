"""A recipe applied to a workload: which operand of which product is N:M, and what SORE must do.

The recipe is any object with ``at(step)``; see ``Recipe`` below. Neither scheduler nor engine knows
recipes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from weft.mapper.lower import edge_layers
from weft.sim.pattern import MAX_M, Pattern
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
    "Extra",
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
    """One operand that is N:M along the reduction of one stage.

    ``stage``: "ff", "bp" or "wu". ``operand``: "weight", "activation" or "output_gradient".
    ``pattern`` is (n, m) where it is the recipe's own, None where it is the run's.
    """

    @property
    def stage(self) -> str: ...
    @property
    def operand(self) -> str: ...
    @property
    def pattern(self) -> tuple[int, int] | None: ...


class Mask(Protocol):
    """A selection that must be made; ``selection`` says how."""

    @property
    def selection(self) -> str: ...


class Extra(Protocol):
    """Work beside products and masks, by ``kind``, every so many steps."""

    @property
    def kind(self) -> str: ...
    @property
    def every(self) -> int: ...


class Phase(Protocol):
    """What holds at one step; ``unstructured`` operands are sparse without a pattern."""

    @property
    def rules(self) -> Sequence[Rule]: ...
    @property
    def masks(self) -> Sequence[Mask]: ...
    @property
    def extras(self) -> Sequence[Extra]: ...
    @property
    def unstructured(self) -> Sequence[object]: ...


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
    """A sparse workload and what was left dense, with why.

    ``padded_macs`` are multiply-accumulates spent on padding of last groups; ``notes`` say what
    of the recipe the machine does not do or is not priced.
    """

    workload: Workload
    dense: Mapping[str, str] = field(default_factory=dict[str, str])
    padded_macs: int = 0
    notes: tuple[str, ...] = ()


_SIDE = {
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
    classifier too. Pruned weights are compressed anew after every update, whether their mask is
    new or not: with ``pregenerate`` right behind it, else before each product that uses them.
    """
    phase = recipe.at(step)
    sides = {Stage(rule.stage): rule for rule in phase.rules}
    excluded = _excluded(workload, skip or SkipRules())
    dense: dict[str, str] = {}
    sparse: dict[int, Product] = {}
    for position, item in enumerate(workload.items):
        if not isinstance(item, Product) or item.stage not in sides or not _prunable(item):
            continue
        rule = sides[item.stage]
        n, m = rule.pattern or _pair(pattern(item) if callable(pattern) else pattern)
        side = _SIDE[rule.stage, rule.operand]
        reason = excluded.get(item.name) or _why_dense(item, side, m)
        if reason:
            dense.setdefault(item.name, reason)
        elif n < m:
            sparse[position] = item.with_sparsity(side, Pattern(n, m))
    items = _insert_masks(workload.items, sparse, pregenerate)
    padded = sum(p.macs_done - round(p.macs_dense * p.pattern.density) for p in sparse.values())
    return Applied(replace(workload, items=items), dense, padded, _notes(phase))


def _pair(pattern: Pattern) -> tuple[int, int]:
    return pattern.n, pattern.m


def _notes(phase: Phase) -> tuple[str, ...]:
    """What the machine does not do, or nobody prices."""
    notes: list[str] = []
    if phase.unstructured:
        notes.append("unstructured sparsity: no group to skip by, so it is computed densely")
    selections = sorted({mask.selection for mask in phase.masks} - {"magnitude"})
    if selections and phase.rules:
        names = ", ".join(selections)
        notes.append(f"masks by {names} are priced as if SORE selected by magnitude")
    for kind in sorted({extra.kind for extra in phase.extras}):
        notes.append(f"not priced: {kind}")
    return tuple(notes)


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


def _why_dense(product: Product, side: str, m: int) -> str:
    channels = product.reduction_channels
    if m > MAX_M:
        return f"groups of {m} are more than the machine's {MAX_M}"
    if channels < m:
        return f"reduction has {channels} channels, fewer than {m}"
    if side == "left" and product.stage is Stage.WU and product.convolution is not None:
        return "a window's activations are shared between taps and stay dense"
    return ""


def _insert_masks(
    items: Sequence[Item], sparse: Mapping[int, Product], pregenerate: bool
) -> tuple[Item, ...]:
    """Rebuild the list with sparse products and mask work in place, dependencies renumbered."""
    patterns = _weight_patterns(sparse)
    rebuilt: list[Item] = []
    moved: dict[int, int] = {}
    for position, item in enumerate(items):
        current: Item = sparse.get(position, item)
        inputs = tuple(moved[source] for source in item.inputs)
        if position in sparse and isinstance(current, Product):
            extra = _mask_before(current, inputs, pregenerate)
            if extra is not None:
                rebuilt.append(extra)
                inputs = (*inputs, len(rebuilt) - 1)
        moved[position] = len(rebuilt)
        rebuilt.append(_with_inputs(current, inputs))
        if isinstance(item, UpdateOp) and pregenerate and item.parameter in patterns:
            rebuilt += _layouts(item, patterns[item.parameter], len(rebuilt) - 1)
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


def _layouts(update: UpdateOp, patterns: Mapping[str, Pattern], position: int) -> list[Item]:
    """The compressed layouts of an updated weight that products of the next step will read."""
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
        for axis in ("k", "o")
        if axis in patterns
    ]


def _mask_before(product: Product, inputs: tuple[int, ...], pregenerate: bool) -> MaskWork | None:
    """SORE work on the path of a product: gradients always, weights unless pre-generated."""
    operand = product.left if product.sparse_operand == "left" else product.right
    if operand.role is Role.WEIGHT:
        if pregenerate:
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


def summarize_dense(dense: Mapping[str, str]) -> str:
    """One line that counts the layers left dense by reason."""
    counts = Counter(dense.values())
    return "; ".join(f"{count} dense: {reason}" for reason, count in sorted(counts.items()))
