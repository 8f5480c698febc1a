"""Make and keep the masks of one layer, each selection in its own way.

A maker takes (layer, mask declaration, context) and writes the layer's buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn
from torch.nn import functional

from weft.models.recipes import Mask
from weft.models.sparse.bidirectional import inside_mask, search_permutation
from weft.models.sparse.combinations import (
    best_combination,
    combination_table,
    combinations_left,
    drop_combinations,
)
from weft.models.sparse.connectivity import drop_and_grow, drop_share, random_mask
from weft.models.sparse.groups import group_mask, top_mask
from weft.models.sparse.layers import from_axis, on_axis
from weft.models.sparse.soft import frozen_scale, soft_threshold
from weft.models.sparse.transposable import transposable_mask

__all__ = ["FROM_WEIGHTS", "Context", "make_mask", "set_buffer"]

FROM_WEIGHTS = frozenset({"magnitude", "soft-threshold", "inside-k"})
"""Selections that depend on nothing but the weights (and, for the last, a saved permutation)."""


@dataclass(frozen=True)
class Context:
    """What a maker may look at.

    Attributes:
        step: for which the mask is made.
        steps: of the whole run.
        pattern: (n, m) for this layer.
        density: share of elements kept, for unstructured masks.
        parameters: of the recipe.
        seed: of everything random about this layer and step.
        gradient: of the weight at the step before, if there was one.
        first: whether the layer has no mask of this kind yet.
        moved: whether the run came to a new step; else the weights were changed behind it.
    """

    step: int
    steps: int
    pattern: tuple[int, int]
    density: float
    parameters: Mapping[str, float]
    seed: int
    gradient: torch.Tensor | None
    first: bool
    moved: bool = True

    @property
    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


Maker = Callable[[nn.Module, Mask, Context], None]


def make_mask(layer: nn.Module, mask: Mask, context: Context) -> None:
    """Make ``mask`` for ``layer`` and write its buffers."""
    with torch.no_grad():
        _MAKERS[mask.selection](layer, mask, context)


def set_buffer(layer: nn.Module, name: str, value: torch.Tensor, *, persistent: bool) -> None:
    """Write a buffer in place where it exists, so that compiled code keeps its tensors."""
    known = layer._buffers.get(name)
    if known is not None and known.shape == value.shape and known.device == value.device:
        known.copy_(value)
    else:
        layer.register_buffer(name, value.contiguous(), persistent=persistent)


def _weight(layer: nn.Module) -> torch.Tensor:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach()


def _persistent(mask: Mask) -> bool:
    """A mask that the weights alone give back need not be saved."""
    return mask.every != 1 or mask.selection != "magnitude"


def _write(layer: nn.Module, mask: Mask, value: torch.Tensor) -> None:
    set_buffer(layer, f"mask_{mask.axis}", value, persistent=_persistent(mask))


def _magnitude(layer: nn.Module, mask: Mask, context: Context) -> None:
    weight = _weight(layer)
    if mask.axis == "any":
        _write(layer, mask, top_mask(weight, round(context.density * weight.numel())))
        return
    view = on_axis(layer, weight, mask.axis)
    _write(layer, mask, from_axis(layer, group_mask(view, *context.pattern)))


def _transposable(layer: nn.Module, mask: Mask, context: Context) -> None:
    """Blocks lie in the plane of input and output channels, one plane per kernel position."""
    groups = on_axis(layer, _weight(layer), "o").shape[0]
    rows = on_axis(layer, _weight(layer), "k")
    outputs, inputs, places = rows.shape
    planes = rows.reshape(groups, outputs // groups, inputs, places).permute(0, 3, 1, 2)
    greedy = mask.selection == "transposable-greedy"
    found = transposable_mask(planes.flatten(0, 1), *context.pattern, greedy=greedy)
    shaped = found.reshape(groups, places, outputs // groups, inputs).permute(0, 2, 3, 1)
    _write(layer, mask, from_axis(layer, shaped.reshape(outputs, inputs, places)))


def _inside_k(layer: nn.Module, mask: Mask, context: Context) -> None:
    weight = on_axis(layer, _weight(layer), "o")
    forward = on_axis(layer, layer.get_buffer("mask_k"), "o")
    if context.first:
        order = torch.arange(weight.shape[1], device=weight.device)
    else:
        order = layer.get_buffer("mask_order")
    candidates = int(context.parameters["candidates"])
    searches = context.step % int(context.parameters["every"]) == 0 and context.moved
    if candidates and searches:
        order = search_permutation(
            weight,
            forward,
            *context.pattern,
            current=order,
            candidates=candidates,
            generator=context.generator,
        )
    set_buffer(layer, "mask_order", order, persistent=True)
    _write(layer, mask, from_axis(layer, inside_mask(weight, forward, order, *context.pattern)))


def _soft(layer: nn.Module, mask: Mask, context: Context) -> None:
    """S-STE's weight with its scale, frozen at the first step."""
    view = on_axis(layer, _weight(layer), "k")
    soft = soft_threshold(view, *context.pattern)
    if context.first:
        set_buffer(layer, "soft_scale", frozen_scale(view, soft), persistent=True)
    scaled = soft * layer.get_buffer("soft_scale")
    set_buffer(layer, "soft_weight", from_axis(layer, scaled), persistent=False)


def _combination(layer: nn.Module, mask: Mask, context: Context) -> None:
    n, m = context.pattern
    weight = _weight(layer)
    scores = _grouped(on_axis(layer, weight, "k").abs(), m)
    if not context.first:
        scores = layer.get_buffer("mask_scores")
        if context.gradient is not None:
            # The loss falls along -g w where an element is kept.
            saliency = on_axis(layer, -context.gradient * weight, "k")
            scores = scores + _grouped(saliency, m)
    total = len(combination_table(n, m))
    left = (
        torch.ones(len(scores), total, dtype=torch.bool, device=weight.device)
        if context.first
        else layer.get_buffer("mask_left")
    )
    progress = context.step / (context.parameters["share"] * context.steps)
    left = drop_combinations(scores, left, combinations_left(total, progress), n, m)
    set_buffer(layer, "mask_scores", scores, persistent=True)
    set_buffer(layer, "mask_left", left, persistent=True)
    best = best_combination(scores, left, n, m)
    _write(layer, mask, from_axis(layer, _ungrouped(best, on_axis(layer, weight, "k"))))


def _grouped(view: torch.Tensor, m: int) -> torch.Tensor:
    """[outer, channels, inner] to [groups, m], padded below every real score."""
    padded = functional.pad(view, (0, 0, 0, -view.shape[1] % m), value=-1e30)
    return padded.transpose(1, 2).reshape(-1, m)


def _ungrouped(groups: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    outer, channels, inner = like.shape
    return groups.reshape(outer, inner, -1).transpose(1, 2)[:, :channels]


def _connectivity(layer: nn.Module, mask: Mask, context: Context) -> None:
    weight = _weight(layer)
    if context.first or mask.selection == "random":
        count = round(context.density * weight.numel())
        _write(layer, mask, random_mask(weight, count, context.generator))
        return
    growth = context.gradient
    if mask.selection == "magnitude-drop-random-grow" or growth is None:
        growth = torch.rand(weight.shape, generator=context.generator).to(weight.device)
    last = context.parameters["share"] * context.steps
    share = drop_share(context.parameters["drop"], context.step, last)
    old = layer.get_buffer("mask_any")
    new = drop_and_grow(weight, old, growth, share)
    # Grown connections start at zero; dropped ones become zero with the mask.
    weight.masked_fill_(new & ~old, 0.0)
    _write(layer, mask, new)


_MAKERS: Mapping[str, Maker] = MappingProxyType(
    {
        "magnitude": _magnitude,
        "transposable": _transposable,
        "transposable-greedy": _transposable,
        "inside-k": _inside_k,
        "soft-threshold": _soft,
        "combination": _combination,
        "magnitude-drop-gradient-grow": _connectivity,
        "magnitude-drop-random-grow": _connectivity,
        "random": _connectivity,
    }
)
