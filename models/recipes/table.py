"""The recipes that weft knows, with the papers they come from."""

from __future__ import annotations

import difflib

from weft.models.recipes.recipe import Mask, Phase, Recipe, RecipeError, Rule

__all__ = ["RECIPES", "find_recipe"]


def _always(
    name: str,
    summary: str,
    source: str,
    rules: tuple[Rule, ...] = (),
    masks: tuple[Mask, ...] = (),
    *,
    sparse_inference: bool,
) -> Recipe:
    return Recipe(name, summary, source, ((0, Phase(rules, masks)),), sparse_inference)


_FF, _BP = Rule("ff"), Rule("bp")

_ALL = (
    _always("dense", "no sparsity", "-", sparse_inference=False),
    _always(
        "srste",
        "weights N:M along the input channels in FF; BP sees them as dense",
        "SR-STE, arXiv 2102.04010",
        (_FF,),
        (Mask("weight", "k"),),
        sparse_inference=True,
    ),
    _always(
        "sdwp",
        "weights N:M along the output channels in BP only",
        "SDWP as compared in arXiv 2309.13015",
        (_BP,),
        (Mask("weight", "o"),),
        sparse_inference=False,
    ),
    _always(
        "sdgp",
        "output gradients N:M along the output channels in BP only, pruned at every backward",
        "SDGP as compared in arXiv 2309.13015",
        (Rule("bp", "output_gradient"),),
        (Mask("output_gradient", "o"),),
        sparse_inference=False,
    ),
    _always(
        "bdwp",
        "weights N:M in FF and BP, each mask taken from the same dense weights",
        "BDWP, arXiv 2309.13015",
        (_FF, _BP),
        (Mask("weight", "k"), Mask("weight", "o")),
        sparse_inference=True,
    ),
    _always(
        "transposable",
        "one weight mask N:M either way for FF and BP, refreshed every 40 steps",
        "Hubara et al., arXiv 2102.08124",
        (_FF, _BP),
        (Mask("weight", "both", every=40),),
        sparse_inference=True,
    ),
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _ALL}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        RecipeError: there is none; the nearest names are told.
    """
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.4)
    nearest = f"nearest: {', '.join(near)}; " if near else ""
    raise RecipeError(f"unknown recipe {name!r}; {nearest}known: {', '.join(RECIPES)}")
