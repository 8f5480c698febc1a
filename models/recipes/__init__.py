"""Sparse training recipes as declarations: what is sparse in which stage, and what that costs.

No torch here. ``find_recipe(text).bind(pattern=(n, m), steps=S).at(step)`` is what holds at one
step: ``rules`` (stage, operand, axis, pattern), ``masks`` (what must be selected, along which
axis, how often) and ``extras`` (gathers, permutation searches).
"""

from weft.models.recipes.erk import erk_densities
from weft.models.recipes.recipe import (
    REDUCTION,
    Axis,
    Bound,
    Extra,
    Mask,
    Operand,
    Parameter,
    Phase,
    Recipe,
    RecipeError,
    Rule,
    Selection,
    Stage,
)
from weft.models.recipes.table import RECIPES, find_recipe

__all__ = [
    "RECIPES",
    "REDUCTION",
    "Axis",
    "Bound",
    "Extra",
    "Mask",
    "Operand",
    "Parameter",
    "Phase",
    "Recipe",
    "RecipeError",
    "Rule",
    "Selection",
    "Stage",
    "erk_densities",
    "find_recipe",
]
