"""A recipe applied to a workload: which operand of which product is N:M, and what SORE must do.

The recipe is any object with ``at(step)``; see ``Recipe`` below. Neither scheduler nor engine knows
recipes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from weft.mapper.lowering.lower import edge_layers
from weft.mapper.sparsity.recipe_work import Added, Extra, insert_work, weight_patterns
from weft.sim.pattern import MAX_M, Pattern
from weft.sim.workload import (
    Product,
    Role,
    Stage,
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


class Phase(Protocol):
    """What holds at one step; ``unstructured`` operands are sparse without a pattern.

    With ``fade`` above 0 the weights that masks drop are scaled by it and stay in the products.
    """

    @property
    def fade(self) -> float: ...
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


@dataclass(frozen=True)
class _WeightRule:
    """Weights pruned in FF."""

    stage: str = "ff"
    operand: str = "weight"
    pattern: tuple[int, int] | None = None


_FADED = _WeightRule()

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
    excluded = _excluded(workload, skip or SkipRules())
    sparse, dense = _sparse_products(workload, phase.rules, pattern, excluded)
    faded, _ = _sparse_products(workload, (_FADED,) if phase.fade else (), pattern, excluded)
    due = tuple(extra for extra in phase.extras if step % extra.every == 0)
    added = Added(pregenerate, due, weight_patterns(faded))
    items = insert_work(workload.items, sparse, added)
    padded = sum(p.macs_done - round(p.macs_dense * p.pattern.density) for p in sparse.values())
    return Applied(replace(workload, items=items), dense, padded, _notes(phase))


def _sparse_products(
    workload: Workload,
    rules: Sequence[Rule],
    pattern: Pattern | PatternOf,
    excluded: Mapping[str, str],
) -> tuple[dict[int, Product], dict[str, str]]:
    """The products that ``rules`` prune, by position, and the layers they leave dense, with why."""
    by_stage = {Stage(rule.stage): rule for rule in rules}
    dense: dict[str, str] = {}
    sparse: dict[int, Product] = {}
    for position, item in enumerate(workload.items):
        if not isinstance(item, Product) or item.stage not in by_stage or not _prunable(item):
            continue
        rule = by_stage[item.stage]
        n, m = rule.pattern or _pair(pattern(item) if callable(pattern) else pattern)
        side = _SIDE[rule.stage, rule.operand]
        reason = excluded.get(item.name) or _why_dense(item, side, m)
        if reason:
            dense.setdefault(item.name, reason)
        elif n < m:
            sparse[position] = item.with_sparsity(side, Pattern(n, m))
    return sparse, dense


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
    if any(extra.kind == "permutation-search" for extra in phase.extras):
        notes.append("each candidate permutation is priced as one pass of SORE, its score as free")
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
    convolution = product.convolution
    if product.stage is not Stage.WU or convolution is None:
        return ""
    if side == ("right" if convolution.transposed else "left"):
        return "a window's values are shared between taps and stay dense"
    return ""


def summarize_dense(dense: Mapping[str, str]) -> str:
    """One line that counts the layers left dense by reason."""
    counts = Counter(dense.values())
    return "; ".join(f"{count} dense: {reason}" for reason, count in sorted(counts.items()))
