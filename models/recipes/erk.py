"""Layer densities in proportion to a layer's sides (Erdos-Renyi kernel, RigL, arXiv 1911.11134)."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

__all__ = ["erk_densities"]


def erk_densities(shapes: Mapping[str, tuple[int, ...]], density: float) -> dict[str, float]:
    """Density of each layer, proportional to sum(shape) / prod(shape), ``density`` over all.

    Layers whose share would exceed 1 stay dense and the rest makes up for them.

    Args:
        shapes: weight shapes by layer name.
        density: kept elements over all elements, in (0, 1].
    """
    dense: set[str] = set()
    target = density * sum(prod(shape) for shape in shapes.values())
    while True:
        free = {name: shape for name, shape in shapes.items() if name not in dense}
        left = target - sum(prod(shapes[name]) for name in dense)
        scale = left / sum(sum(shape) for shape in free.values()) if free else 0.0
        wanted = {name: scale * sum(shape) / prod(shape) for name, shape in free.items()}
        over = {name for name, value in wanted.items() if value > 1}
        if not over:
            return {name: wanted.get(name, 1.0) for name in shapes}
        dense |= over
