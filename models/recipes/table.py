"""The recipes that weft knows, with the papers they come from."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from types import MappingProxyType

from weft.models.recipes import schedules
from weft.models.recipes.recipe import Mask, Parameter, Recipe, RecipeError, Rule
from weft.models.recipes.schedules import BP_SAME, BP_WEIGHT, FF_WEIGHT, always

__all__ = ["RECIPES", "find_recipe"]

_DECAY = Parameter("decay", 2e-4, 0.0, 1.0, "pull of dropped weights to zero, per step")
_NO_DECAY = Parameter("decay", 0.0, 0.0, 1.0, "pull of dropped weights to zero, per step")
_EVERY_40 = Parameter("every", 40, 1, 1e6, "steps between two masks")
_EVERY_100 = Parameter("every", 100, 1, 1e6, "steps between two masks")
_DROP = Parameter("drop", 0.3, 0.0, 1.0, "share of connections dropped at first, cosine to 0")
_UPDATED = Parameter("share", 0.75, 0.0, 1.0, "share of the run in which connections change")
_FLOOR = Parameter("floor", 1e-3, 0.0, 1.0, "factor at which dropped weights are cut")
_SHARE = Parameter("share", 0.75, 0.01, 1.0, "share of the run until the final pattern")
_PGF = "Progressive Gradient Flow, arXiv 2402.04744"
_BDWP = "as compared in arXiv 2309.13015"
_DY_BP = Rule("bp", "output_gradient", "o")
_DY_MASK = Mask("output_gradient", "o")
_W_K, _W_O = Mask("weight", "k"), Mask("weight", "o")
_FREEZE = Rule("wu", "weight_gradient", "k")

_ALL = (
    Recipe("dense", "no sparsity", "-", always(), sparse_inference=False),
    Recipe(
        "asp",
        "weights N:M in FF, the mask taken once from trained weights and kept",
        "ASP, arXiv 2104.08378",
        always((FF_WEIGHT, BP_SAME, _FREEZE), (Mask("weight", "k", every=0),)),
        sparse_inference=True,
        hard=True,
    ),
    Recipe(
        "srste",
        "weights N:M along the input channels in FF; BP sees them as dense",
        "SR-STE, arXiv 2102.04010",
        always((FF_WEIGHT, BP_SAME), (_W_K,)),
        sparse_inference=True,
        parameters=(_DECAY,),
    ),
    Recipe(
        "sdwp",
        "weights N:M along the output channels in BP only",
        f"SDWP {_BDWP}",
        always((BP_WEIGHT,), (_W_O,)),
        sparse_inference=False,
    ),
    Recipe(
        "sdgp",
        "output gradients N:M along the output channels in BP only, pruned at every backward",
        f"SDGP {_BDWP}",
        always((_DY_BP,), (_DY_MASK,)),
        sparse_inference=False,
        parameters=(Parameter("rescale", 0, 0, 1, "1: keep the largest gradient per channel"),),
    ),
    Recipe(
        "naive",
        "as sdgp, and WU too gets the pruned output gradients: a baseline that fails",
        "ours, to show why SDGP keeps dense gradients for WU",
        always((_DY_BP, Rule("wu", "output_gradient", "o")), (_DY_MASK,)),
        sparse_inference=False,
    ),
    Recipe(
        "bdwp",
        "weights N:M in FF and BP, each mask taken from the same dense weights",
        "BDWP, arXiv 2309.13015",
        always((FF_WEIGHT, BP_WEIGHT), (_W_K, _W_O)),
        sparse_inference=True,
        parameters=(_DECAY,),
    ),
    Recipe(
        "bdwp-masked",
        "as bdwp, and dropped weights get no gradient: a baseline that stops exploring",
        "ours, to show what the straight-through gradient is worth",
        always((FF_WEIGHT, BP_WEIGHT, _FREEZE), (_W_K, _W_O)),
        sparse_inference=True,
        parameters=(_NO_DECAY,),
    ),
    Recipe(
        "bimask",
        "FF mask along K, BP mask along O inside it on permuted output channels",
        "Bi-Mask, arXiv 2302.06058",
        schedules.bidirectional_mask,
        sparse_inference=True,
        parameters=(
            _DECAY,
            _EVERY_100,
            Parameter("candidates", 10, 0, 1000, "permutations tried; 0 for none"),
        ),
    ),
    Recipe(
        "transposable",
        "one weight mask N:M either way for FF and BP, the best there is, every 40 steps",
        "Hubara et al., arXiv 2102.08124, minimum-cost flow per block",
        schedules.transposable("transposable"),
        sparse_inference=True,
        parameters=(_EVERY_40, _NO_DECAY),
    ),
    Recipe(
        "transposable-greedy",
        "as transposable, by the greedy approximation",
        "Hubara et al., arXiv 2102.08124, within a factor of two",
        schedules.transposable("transposable-greedy"),
        sparse_inference=True,
        parameters=(_EVERY_40, _NO_DECAY),
    ),
    Recipe(
        "fst",
        "transposable weights in FF and BP, unbiased N:M gradients in WU, dense at the end",
        "FST, arXiv 2404.01847; gradients by MVUE, arXiv 2203.10991",
        schedules.decayed_transposable,
        sparse_inference=False,
        parameters=(
            _EVERY_40,
            _DECAY,
            Parameter("dense_share", 1 / 6, 0.0, 1.0, "share of the run that ends it dense"),
        ),
        constant=False,
    ),
    Recipe(
        "sste",
        "soft-thresholded and rescaled weights in FF, unbiased N:M gradients in WU",
        "S-STE, arXiv 2409.09099",
        always(
            (FF_WEIGHT, BP_SAME, Rule("wu", "output_gradient", "t")),
            (
                Mask("weight", "k", selection="soft-threshold"),
                Mask("output_gradient", "t", selection="mvue"),
            ),
        ),
        sparse_inference=True,
    ),
    Recipe(
        "pgf-linear",
        "dropped weights fade linearly, then are cut (MdGf)",
        _PGF,
        schedules.fading(lambda t: max(0.0, 1.0 - t)),
        sparse_inference=True,
        parameters=(Parameter("rate", 4 / 3, 1.0, 1000.0, "1 / share of the run"), _FLOOR),
        constant=False,
    ),
    Recipe(
        "pgf-exponential",
        "dropped weights fade exponentially, then are cut (MdGf)",
        _PGF,
        schedules.fading(lambda t: math.exp(-t)),
        sparse_inference=True,
        parameters=(Parameter("rate", 10.0, 0.1, 1000.0, "decay over the whole run"), _FLOOR),
        constant=False,
    ),
    Recipe(
        "pgf-stepwise",
        "fewer weights of each group in steps: 7:8, 4:8, 2:8 (SdGf)",
        _PGF,
        schedules.stepwise(schedules.halving),
        sparse_inference=True,
        parameters=(_SHARE, _NO_DECAY),
        constant=False,
    ),
    Recipe(
        "pgf-geometric",
        "the same density in ever smaller groups: 16:64, 8:32, 4:16, 2:8 (SdGf)",
        _PGF,
        schedules.stepwise(schedules.geometric),
        sparse_inference=True,
        parameters=(_SHARE, _NO_DECAY),
        constant=False,
    ),
    Recipe(
        "lbc",
        "the best of the combinations left in each group; the worst are dropped on a cubic",
        "LBC, arXiv 2206.06662",
        always((FF_WEIGHT, BP_SAME), (Mask("weight", "k", selection="combination"),)),
        sparse_inference=True,
        parameters=(Parameter("share", 0.5, 0.01, 1.0, "share of the run until one is left"),),
        constant=False,
    ),
    Recipe(
        "domino",
        "weights N:M in FF with N given per layer, as DominoSearch finds it",
        "DominoSearch, NeurIPS 2021; the assignment is the user's",
        always((FF_WEIGHT, BP_SAME), (_W_K,)),
        sparse_inference=True,
        parameters=(_DECAY,),
    ),
    Recipe(
        "gmp",
        "unstructured magnitude pruning; sparsity rises on a cubic",
        "Zhu and Gupta, arXiv 1710.01878",
        schedules.gradual_magnitude,
        sparse_inference=True,
        parameters=(_EVERY_100, _SHARE),
        constant=False,
    ),
    Recipe(
        "swat",
        "unstructured top weights in FF and BP, top activations in WU",
        "SWAT, arXiv 2103.13820",
        schedules.swat,
        sparse_inference=True,
        parameters=(Parameter("period", 1, 1, 1e6, "steps between two masks"),),
    ),
    Recipe(
        "rigl",
        "unstructured, ERK densities; drops small weights, grows where gradients are large",
        "RigL, arXiv 1911.11134",
        schedules.sparse_to_sparse("magnitude-drop-gradient-grow"),
        sparse_inference=True,
        parameters=(_EVERY_100, _DROP, _UPDATED),
        constant=False,
        hard=True,
    ),
    Recipe(
        "set",
        "unstructured, ERK densities; drops small weights, grows at random",
        "SET, arXiv 1707.04780",
        schedules.sparse_to_sparse("magnitude-drop-random-grow"),
        sparse_inference=True,
        parameters=(_EVERY_100, _DROP, _UPDATED),
        constant=False,
        hard=True,
    ),
    Recipe(
        "static",
        "unstructured, ERK densities, a random mask that never changes",
        "Liu et al., arXiv 2202.02643",
        schedules.sparse_to_sparse("random"),
        sparse_inference=True,
        hard=True,
    ),
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _ALL})
"""Recipes by name, in the order they are listed."""


def find_recipe(text: str) -> Recipe:
    """The recipe that ``name`` or ``name:parameter=value,...`` names.

    Raises:
        RecipeError: there is none (the nearest names are told), or a parameter is wrong.
    """
    name, _, settings = text.partition(":")
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.4)
        nearest = f"nearest: {', '.join(near)}; " if near else ""
        raise RecipeError(f"unknown recipe {name!r}; {nearest}known: {', '.join(RECIPES)}")
    return RECIPES[name].with_parameters(_read_parameters(name, settings))


def _read_parameters(recipe: str, text: str) -> dict[str, float]:
    values: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        try:
            values[key.strip()] = float(value)
        except ValueError:
            raise RecipeError(
                f"recipe {recipe}: {part!r} is no setting; write parameter=number"
            ) from None
    return values
