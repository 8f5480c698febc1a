"""Wrap a model so that it trains by a recipe, without a change to its code."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd

from weft.models.recipes import Bound, Recipe, RecipeError, erk_densities, find_recipe
from weft.models.sparse.combinations import combination_table
from weft.models.sparse.layers import (
    LayerState,
    Sparse,
    can_be_sparse,
    channels,
    make_dense,
    make_sparse,
)
from weft.models.sparse.sparsifier import Sparsifier

__all__ = ["bake", "parse_pattern", "sparsifier_of", "sparsify", "wrap"]

Pattern = str | tuple[int, int]
MAX_GROUP = 64


def sparsify(
    model: nn.Module,
    recipe: str | Recipe = "bdwp",
    pattern: Pattern | Mapping[str, Pattern] = "2:8",
    skip: Sequence[str] = (),
    *,
    steps: int | None = None,
    dense_stem: bool = True,
    dense_classifier: bool = True,
    seed: int = 0,
) -> nn.Module:
    """Make ``model`` train by ``recipe``; it is changed in place and returned.

    Linear and convolution layers keep their parameters and names; masks become buffers. Every
    step of a PyTorch optimizer that holds the weights moves the schedule on and makes new masks;
    with any other optimizer call ``before_update`` and ``after_update`` of ``sparsifier_of``.

    Args:
        model: any module; its own code stays as it is.
        recipe: a name of ``weft recipes``, with settings as in ``"srste:decay=1e-4"``.
        pattern: N:M, or one for each layer by name or shell pattern; layers without one stay
            dense.
        skip: layers that stay dense, by name or shell pattern.
        steps: length of the run, for recipes with a schedule.
        dense_stem: keep the first layer dense, unless an embedding comes before it.
        dense_classifier: keep the last layer dense.
        seed: of masks that are drawn at random.

    Raises:
        ValueError: an unknown recipe or parameter, a pattern that is not N:M or fits no layer, a
            model that is wrapped already.

    Warns:
        UserWarning: a skip rule or a layer's pattern that matches nothing, attention layers
            whose projections cannot be reached.
    """
    wrap(
        model,
        recipe,
        pattern,
        skip,
        steps=steps,
        dense_stem=dense_stem,
        dense_classifier=dense_classifier,
        seed=seed,
    )
    return model


def wrap(
    model: nn.Module,
    recipe: str | Recipe,
    pattern: Pattern | Mapping[str, Pattern],
    skip: Sequence[str] = (),
    *,
    steps: int | None = None,
    dense_stem: bool = True,
    dense_classifier: bool = True,
    seed: int = 0,
) -> Sparsifier:
    """As ``sparsify``, but return the sparsifier, also where no layer became sparse."""
    if any(isinstance(module, Sparse) for module in model.modules()):
        raise ValueError(f"{type(model).__name__} is sparse already; call bake first")
    found = find_recipe(recipe) if isinstance(recipe, str) else recipe
    everywhere = None if isinstance(pattern, Mapping) else parse_pattern(pattern)
    bound = found.bind(everywhere, steps)
    layers = {name: module for name, module in model.named_modules() if can_be_sparse(module)}
    dense = _skipped(layers, skip) | _edges(
        model, layers, stem=dense_stem, classifier=dense_classifier
    )
    patterns = _patterns(layers, pattern)
    dense |= _unfit(bound, layers, patterns, dense)
    chosen = {name: layer for name, layer in layers.items() if name not in dense}
    _check(bound, layers, chosen, patterns, everywhere)
    _warn_of_unreached(model)
    shapes = {name: tuple(_weight(layer).shape) for name, layer in chosen.items()}
    densities = erk_densities(shapes, bound.density) if shapes else {}
    sparse = {name: make_sparse(layer, LayerState(name)) for name, layer in chosen.items()}
    return Sparsifier(bound, sparse, patterns, densities, dense, seed)


def sparsifier_of(model: nn.Module) -> Sparsifier:
    """The sparsifier of a wrapped model.

    Raises:
        ValueError: the model is not wrapped.
    """
    for module in model.modules():
        if isinstance(module, Sparse):
            return module.sparsity.owner
    raise ValueError(f"{type(model).__name__} is not sparse; call sparsify first")


def bake(model: nn.Module) -> nn.Module:
    """Write FF's zeros into the weights and make the layers plain again; returns ``model``."""
    sparsifier = sparsifier_of(model)
    for layer in sparsifier.layers.values():
        with torch.no_grad():
            weight = _weight(layer)
            axis = layer.sparsity.forward_axis
            weight.copy_(layer.masked(weight, axis))
        make_dense(layer)
    return model


def parse_pattern(pattern: Pattern) -> tuple[int, int]:
    """(n, m) from ``"2:8"``.

    Raises:
        ValueError: it is not N:M, or not 1 <= N <= M <= 64.
    """
    if isinstance(pattern, str):
        match = re.fullmatch(r"(\d+):(\d+)", pattern)
        if match is None:
            raise ValueError(f"pattern {pattern!r} is not N:M (for example 2:8)")
        pattern = int(match[1]), int(match[2])
    n, m = pattern
    if not 1 <= n <= m <= MAX_GROUP:
        raise ValueError(f"pattern {n}:{m} is not possible; N:M needs 1 <= N <= M <= {MAX_GROUP}")
    return n, m


def _weight(layer: nn.Module) -> torch.Tensor:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return weight


def _skipped(layers: Mapping[str, nn.Module], skip: Sequence[str]) -> dict[str, str]:
    dense: dict[str, str] = {}
    for rule in skip:
        names = [name for name in layers if fnmatchcase(name, rule)]
        if not names:
            warnings.warn(f"skip rule {rule!r} matches no layer", stacklevel=4)
        dense |= dict.fromkeys(names, "named in skip")
    return dense


def _edges(
    model: nn.Module, layers: Mapping[str, nn.Module], *, stem: bool, classifier: bool
) -> dict[str, str]:
    """The first and the last layer in the order of registration."""
    if not layers:
        return {}
    order = list(layers)
    dense: dict[str, str] = {}
    if classifier:
        dense[order[-1]] = "classifier"
    if stem and not _embeds_before(model, order[0]):
        dense[order[0]] = "stem"
    return dense


def _embeds_before(model: nn.Module, layer: str) -> bool:
    for name, module in model.named_modules():
        if name == layer:
            return False
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            return True
    return False


def _patterns(
    layers: Mapping[str, nn.Module], pattern: Pattern | Mapping[str, Pattern]
) -> dict[str, tuple[int, int]]:
    if not isinstance(pattern, Mapping):
        return dict.fromkeys(layers, parse_pattern(pattern))
    found: dict[str, tuple[int, int]] = {}
    for rule, text in pattern.items():
        names = [name for name in layers if fnmatchcase(name, rule)]
        if not names:
            warnings.warn(f"pattern rule {rule!r} matches no layer", stacklevel=4)
        found |= dict.fromkeys(names, parse_pattern(text))
    return found


def _unfit(
    bound: Bound,
    layers: Mapping[str, nn.Module],
    patterns: Mapping[str, tuple[int, int]],
    dense: Mapping[str, str],
) -> dict[str, str]:
    """Layers that can have groups along none of the axes that the recipe uses."""
    last = bound.at(bound.steps - 1)
    rules = [rule for rule in (*bound.at(0).masks, *last.masks) if rule.axis != "any"]
    axes = {axis for rule in rules for axis in _axes(rule.axis)}
    every = {rule.axis for rule in rules}
    unfit: dict[str, str] = {}
    for name, layer in layers.items():
        if name in dense:
            continue
        if name not in patterns:
            unfit[name] = "no pattern given"
            continue
        m = patterns[name][1]
        widest = {axis: channels(layer, axis) for axis in axes if axis in ("k", "o")}
        if "t" in axes or not widest:
            continue
        needed = min(widest.values()) if "both" in every else max(widest.values())
        if needed < m:
            unfit[name] = f"reduction has {needed} channels, fewer than {m}"
    return unfit


def _axes(axis: str) -> Iterator[str]:
    yield from ("k", "o") if axis == "both" else (axis,)


def _warn_of_unreached(model: nn.Module) -> None:
    """Layers with weights of their own that no sparse kind exists for."""
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention | nn.RNNBase | _ConvTransposeNd | nn.Bilinear):
            kind = type(module).__name__
            warnings.warn(f"{name}: {kind} stays dense; its products are fused", stacklevel=4)


def _check(
    bound: Bound,
    layers: Mapping[str, nn.Module],
    chosen: Mapping[str, nn.Module],
    patterns: Mapping[str, tuple[int, int]],
    pattern: tuple[int, int] | None,
) -> None:
    if not layers:
        raise ValueError("the model has no linear or convolution layer that can be sparse")
    sparse = bool(bound.at(0).masks or bound.at(bound.steps - 1).masks)
    if sparse and not chosen:
        widest = max(max(channels(layer, "k"), channels(layer, "o")) for layer in layers.values())
        shown = "given" if pattern is None else f"{pattern[0]}:{pattern[1]}"
        raise ValueError(
            f"pattern {shown} fits no layer: the widest reduction has {widest} channels, "
            "and stem, classifier and skipped layers stay dense"
        )
    if any(mask.selection == "combination" for mask in bound.at(0).masks):
        for name in chosen:
            combination_table(*patterns[name])
    if sparse and pattern is not None and pattern[0] == pattern[1]:
        raise RecipeError(f"recipe {bound.name} needs a pattern N:M with N < M")
