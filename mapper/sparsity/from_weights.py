"""The recipe ``from-weights``: patterns that the real weights of a module already show."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weft.sim.pattern import DENSE, Pattern
from weft.sim.workload import Product, Stage

if TYPE_CHECKING:
    from weft.mapper.sparsity.pruned import LayerPattern

__all__ = ["FROM_WEIGHTS", "by_axis"]


@dataclass(frozen=True)
class _WeightRule:
    stage: str
    operand: str = "weight"
    pattern: tuple[int, int] | None = None


@dataclass(frozen=True)
class _FixedPhase:
    rules: tuple[_WeightRule, ...]
    masks: tuple[Any, ...] = ()
    extras: tuple[Any, ...] = ()
    unstructured: tuple[Any, ...] = ()
    fade: float = 0.0


@dataclass(frozen=True)
class _FromWeights:
    """A fixed mask: what the weights show in either direction; only their packing is work."""

    name: str = "from-weights"

    def at(self, step: int) -> _FixedPhase:
        return _FixedPhase((_WeightRule("ff"), _WeightRule("bp")))


FROM_WEIGHTS = _FromWeights()


def by_axis(found: Iterable[LayerPattern]) -> Callable[[Product], Pattern]:
    """Pattern of each product from those of the weights; the same layer's may differ by axis."""
    patterns = {(row.parameter, row.axis): row.pattern for row in found}

    def choose(product: Product) -> Pattern:
        axis = "k" if product.stage is Stage.FF else "o"
        return patterns.get((product.right.parameter, axis), DENSE)

    return choose
