"""``systolic-ideal``: a machine of tables of products, not of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from weft.mapper.pricing.machine import Header
from weft.mapper.pricing.settings import IdealSettings
from weft.mapper.sparsity.sparsify import Applied
from weft.sim.ideal import IDEAL

__all__ = ["IdealPricing"]


@dataclass(frozen=True)
class IdealPricing:
    """The array of ``weft.sim.ideal``; it has no memory to run a step on."""

    settings: IdealSettings
    pregenerates = True
    notes = ()

    @property
    def hardware(self) -> str:
        return self.settings.hardware

    @property
    def evidence(self) -> Mapping[str, str]:
        return {}

    def check(self) -> NoReturn:
        """Refuse, as it prices no steps.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"{IDEAL} has no memory to simulate a step on; it prices tables of products: "
            f"weft predict PRODUCTS.csv --hardware {IDEAL}"
        )

    def price(self, steps: Sequence[tuple[Applied, int]], header: Header) -> NoReturn:
        """See ``check``."""
        self.check()
