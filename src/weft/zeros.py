"""Patterns that zeros decide: those of a module's own weights, or of a file's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.mapper import tracing
from weft.mapper.sparsity.from_weights import FROM_WEIGHTS

if TYPE_CHECKING:
    from weft.mapper.sparsity.pruned import LayerPattern

__all__ = ["recipe_of", "weight_patterns"]


def recipe_of(weights: str | Path, recipe: str, pattern: str) -> str:
    """The recipe of a run whose patterns a file of weights decides.

    Raises:
        ValueError: a recipe or a pattern beside the file.
    """
    if recipe not in ("dense", FROM_WEIGHTS.name) or pattern:
        beside = f"--pattern {pattern}" if pattern else f"--recipe {recipe}"
        raise ValueError(
            f"--weights {weights}: its zeros decide what is sparse, and so does {beside}; "
            "leave one of them out"
        )
    return FROM_WEIGHTS.name


def weight_patterns(model: Any, weights: str | Path | None) -> tuple[LayerPattern, ...]:
    """What the zeros of a module's real weights, or of those in a file, show.

    Raises:
        ValueError: a builder instead of a module and no file, or no zero pattern.
    """
    from torch import nn

    from weft.mapper.sparsity.pruned import layer_patterns
    from weft.models.imported.weights import values_for

    values = None
    if weights is not None:
        model = tracing.built_module(model)
        values = values_for(model, Path(weights))
    if not isinstance(model, nn.Module):
        raise ValueError("recipe from-weights needs a module with real weights, not a builder")
    found = layer_patterns(model, values=values)
    if all(row.pattern.is_dense for row in found):
        place = "the model" if weights is None else str(weights)
        raise ValueError(f"recipe from-weights: no weight of {place} is N:M along any axis")
    return found
