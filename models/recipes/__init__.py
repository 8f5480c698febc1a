"""Sparse training recipes as declarations: what is sparse in which stage, and what that costs.

No torch here. ``RECIPES[name].at(step)`` is what holds at one step: ``rules`` (stage, operand,
axis) and ``masks`` (what must be pruned, along which axis, how often).
"""

from weft.models.recipes.recipe import (
    Mask,
    Operand,
    Phase,
    Recipe,
    RecipeError,
    Rule,
)
from weft.models.recipes.table import RECIPES, find_recipe

__all__ = [
    "RECIPES",
    "Mask",
    "Operand",
    "Phase",
    "Recipe",
    "RecipeError",
    "Rule",
    "find_recipe",
]
