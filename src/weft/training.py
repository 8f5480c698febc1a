"""What the steps of a real training run cost on a simulated machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weft.models.training.run import Price, Priced
    from weft.sim.pattern import Pattern
    from weft.sim.workload import Product, Workload

__all__ = ["pricing_on"]


def pricing_on(hardware: str) -> Callable[[Priced], Price]:
    """What ``train`` asks for the cost of its steps; distinct steps are simulated once.

    Raises:
        ValueError: an unknown machine.
    """
    from weft.simulation import Settings, resolve

    resolve(Settings().on(hardware))

    def price_of(priced: Priced) -> Price:
        from weft.models.zoo import build
        from weft.simulation import trace_workload

        shape = priced.input_shape
        workload = trace_workload(
            lambda: build(priced.model, priced.batch, shape, priced.classes),
            optimizer=priced.optimizer,
            name=priced.model,
        )
        return _StepPrices(workload, priced, hardware, {})

    return price_of


@dataclass(frozen=True)
class _StepPrices:
    """Seconds and joules of each step; equal steps are simulated once."""

    workload: Workload
    priced: Priced
    hardware: str
    known: dict[Workload, tuple[float, float]]

    def __call__(self, step: int) -> tuple[float, float]:
        from weft.mapper.sparsity.sparsify import SkipRules, apply_recipe
        from weft.simulation import Settings, price_workload

        skip = SkipRules(stem=False, classifier=False, names=frozenset(self.priced.dense))
        applied = apply_recipe(
            self.workload, self.priced.recipe, self._pattern, step=step, skip=skip
        )
        if applied.workload not in self.known:
            result = price_workload([(applied, 1)], Settings().on(self.hardware), {}).result
            self.known[applied.workload] = (result.total.time_s, result.total.energy_j or 0.0)
        return self.known[applied.workload]

    def _pattern(self, product: Product) -> Pattern:
        from weft.sim.pattern import DENSE, MAX_M, Pattern

        n, m = self.priced.patterns.get(product.name, (1, 1))
        return Pattern(n, m) if m <= MAX_M else DENSE
