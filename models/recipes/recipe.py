"""What a sparse training recipe is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Axis", "Mask", "Operand", "Phase", "Recipe", "RecipeError", "Rule", "Source", "Stage"]

Stage = Literal["ff", "bp", "wu"]
Operand = Literal["weight", "activation", "output_gradient"]
Source = Literal["weight", "output_gradient"]
Axis = Literal["k", "o", "both"]


class RecipeError(ValueError):
    """A recipe that does not exist, or a parameter out of range."""


@dataclass(frozen=True)
class Rule:
    """In ``stage`` the ``operand`` has the run's pattern along that stage's reduction."""

    stage: Stage
    operand: Operand = "weight"


@dataclass(frozen=True)
class Mask:
    """A selection of N of every M that must be made.

    ``axis``: "k" groups along the input channels (the reduction of FF), "o" along the output
    channels (the reduction of BP), "both" one mask that is valid either way. ``every`` is the
    steps between two refreshes.
    """

    source: Source
    axis: Axis
    every: int = 1


@dataclass(frozen=True)
class Phase:
    """What holds at one step."""

    rules: tuple[Rule, ...] = ()
    masks: tuple[Mask, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A sparsity recipe.

    ``phases`` are (first step, what holds from then on), in order, the first from step 0.
    ``sparse_inference`` says whether the trained model is sparse when it is used.
    """

    name: str
    summary: str
    source: str
    phases: tuple[tuple[int, Phase], ...]
    sparse_inference: bool

    def at(self, step: int) -> Phase:
        """What holds at ``step`` (0 is the first).

        Raises:
            RecipeError: a negative step.
        """
        if step < 0:
            raise RecipeError(f"step is {step}; it must be at least 0")
        return next(phase for first, phase in reversed(self.phases) if first <= step)
