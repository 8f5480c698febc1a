"""The two searches of scipy that fits use, with types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize  # pyright: ignore[reportMissingTypeStubs]

from weft.sim.gpu.prediction.kernel import Array

__all__ = ["robust_least_squares", "simplex"]

_scipy: Any = scipy.optimize


def robust_least_squares(
    error: Callable[[Array], Array],
    start: Array,
    bounds: tuple[Array, Array] | None = None,
    *,
    scale: float = 0.03,
    evaluations: int | None = None,
) -> Array:
    """The point that minimises the soft absolute sum of ``error``; ``scale`` is where it bends."""
    low, high = bounds or (np.full(len(start), -np.inf), np.full(len(start), np.inf))
    unit = high - low if bounds else np.ones(len(start))
    found = _scipy.least_squares(
        error, start, bounds=(low, high), loss="soft_l1", f_scale=scale, diff_step=4e-3,
        max_nfev=evaluations, x_scale=unit,
    )  # fmt: skip
    return np.asarray(found.x, dtype=np.float64)


def simplex(score: Callable[[Array], float], start: Array, step: float, evaluations: int) -> Array:
    """Nelder and Mead's descent on ``score`` from ``start``, ``step`` along each axis."""
    corners = np.vstack([start, start + step * np.eye(len(start))])
    options = {"maxfev": evaluations, "initial_simplex": corners}
    found = _scipy.minimize(score, start, method="Nelder-Mead", options=options)
    return np.asarray(found.x, dtype=np.float64)
