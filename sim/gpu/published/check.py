"""A published figure beside the model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Check"]


@dataclass(frozen=True)
class Check:
    """``mfu``: shares of the dense peak, NaN if unknown. ``parts_s``: what a step is made of."""

    what: str
    gpu: str
    unit: str
    published: float
    model: float
    published_mfu: float = float("nan")
    mfu: float = float("nan")
    parts_s: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def error(self) -> float:
        """Percent; positive where the model says more."""
        return 100.0 * (self.model / self.published - 1.0)
