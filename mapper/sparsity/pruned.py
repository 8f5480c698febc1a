"""Recognise the N:M patterns that the real weights of a module already carry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

from weft.sim.pattern import DENSE, Pattern

__all__ = ["GROUP_SIZES", "LayerPattern", "layer_patterns"]

GROUP_SIZES = (2, 4, 8, 16)
"""Group sizes M that are tried."""


@dataclass(frozen=True)
class LayerPattern:
    """The tightest pattern of one weight along one axis.

    ``axis`` is "k" (input channels, the reduction of FF) or "o" (output channels, the reduction
    of BP). ``parameter`` is the trained parameter's qualified name, as in a traced workload
    ("fc.weight_orig" under ``torch.nn.utils.prune``). ``share`` is the share of groups with at
    most N non-zeros, ``zeros`` the share of zero elements in the weight.
    """

    layer: str
    parameter: str
    axis: str
    pattern: Pattern
    share: float
    zeros: float


@dataclass(frozen=True)
class _Weight:
    """A weight seen as (outer, channels, inner) along either axis."""

    layer: str
    parameter: str
    value: torch.Tensor
    shapes: dict[str, tuple[int, int, int]]


def layer_patterns(
    model: nn.Module,
    *,
    sizes: Sequence[int] = GROUP_SIZES,
    share: float = 1.0,
    values: Callable[[str], torch.Tensor] | None = None,
) -> tuple[LayerPattern, ...]:
    """The tightest N:M of every weight matrix and kernel, along "k" and along "o".

    Groups are M consecutive channels at one kernel position, within one group of a grouped
    convolution; a last group with fewer channels counts as padded with zeros, and an axis with
    fewer than M channels has no groups of M. The tightest pattern is the one of smallest density
    N/M, of those the one of smallest M, that at least ``share`` of the groups fit; dense if
    there is none below 1.

    Masks of ``torch.nn.utils.prune`` and parametrizations are applied. Biases, norms and
    embeddings are left out. ``weight_layouts`` of the model, if it has any, says by parameter how
    many groups its convolution has and whether it lies as (inputs, outputs). The weight of a
    module of a kind unknown to PyTorch is read as (output channels, input channels, kernel...).

    ``values`` gives a parameter's value by its name, for a module without values of its own.

    Raises:
        ValueError: a size that is not in :data:`GROUP_SIZES`, a share outside (0, 1], or a
            weight without values.
    """
    if not sizes or not set(sizes) <= set(GROUP_SIZES):
        raise ValueError(f"group sizes {tuple(sizes)} are not possible; allowed: {GROUP_SIZES}")
    if not 0 < share <= 1:
        raise ValueError(f"share {share} is not possible; allowed: above 0, up to 1")
    with torch.no_grad():
        return tuple(
            _tightest(weight, axis, sizes, share)
            for weight in _weights(model, values)
            for axis in ("k", "o")
        )


def _tightest(weight: _Weight, axis: str, sizes: Sequence[int], share: float) -> LayerPattern:
    kept = (weight.value != 0).reshape(weight.shapes[axis])
    zeros = 1 - kept.count_nonzero().item() / max(1, kept.numel())
    best, fits = DENSE, 1.0
    if zeros:
        possible = [size for size in sorted(sizes) if size <= kept.shape[1]]
        for size, shares in _histograms(kept.view(torch.uint8), possible).items():
            n = next(n for n in range(1, size + 1) if n == size or shares[n] >= share)
            if n / size < best.density:
                best, fits = Pattern(n, size), shares[n]
    return LayerPattern(weight.layer, weight.parameter, axis, best, fits, zeros)


def _histograms(kept: torch.Tensor, sizes: Sequence[int]) -> dict[int, list[float]]:
    """By group size M, the share of groups with at most 0, 1, ..., M non-zeros.

    ``kept`` holds 0 or 1, (outer, channels, inner); neighbours are added up, so that groups of
    2 M come from groups of M.
    """
    histograms: dict[int, list[float]] = {}
    for size in GROUP_SIZES:
        if kept.shape[1] % 2:
            kept = torch.nn.functional.pad(kept, (0, 0, 0, 1))
        kept = kept[:, 0::2] + kept[:, 1::2]
        if size in sizes:
            counts = torch.bincount(kept.reshape(-1), minlength=size + 1)
            groups = counts.sum()
            histograms[size] = (counts.cumsum(0).double() / groups).tolist()
    return histograms


def _weights(model: nn.Module, values: Callable[[str], torch.Tensor] | None) -> Iterator[_Weight]:
    """Every weight once, under the first layer that has it."""
    seen: set[int] = set()
    layouts: dict[str, tuple[int, bool]] = getattr(model, "weight_layouts", {})
    for path, module in model.named_modules():
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag, parametrize.ParametrizationList)):
            continue
        for attribute, parameter, value in _effective(module):
            if value.dim() < 2 or "bias" in attribute or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            name = f"{path}.{attribute}" if path else attribute
            layout = layouts.get(name) or _layout(module)
            yield _seen_as(path, name, value if values is None else values(name), layout)


def _effective(module: nn.Module) -> Iterator[tuple[str, nn.Parameter, torch.Tensor]]:
    """Qualified name inside the module, trained parameter, and the weight that the layer uses."""
    for name, parameter in module.named_parameters(recurse=False):
        mask = module._buffers.get(f"{name.removesuffix('_orig')}_mask")
        yield name, parameter, parameter if mask is None else parameter * mask
    if parametrize.is_parametrized(module):
        parametrizations = module.get_submodule("parametrizations")
        for name, chain in parametrizations.named_children():
            for inner, parameter in chain.named_parameters(recurse=False):
                if inner == "original":
                    yield f"parametrizations.{name}.{inner}", parameter, getattr(module, name)


def _layout(module: nn.Module) -> tuple[int, bool]:
    """Groups of a convolution, and whether the weight is (inputs, outputs, kernel...)."""
    groups = module.groups if isinstance(module, _ConvNd) else 1
    return groups, isinstance(module, _ConvTransposeNd) or _is_transposed_linear(module)


def _seen_as(path: str, parameter: str, value: torch.Tensor, layout: tuple[int, bool]) -> _Weight:
    if value.is_meta or isinstance(value, torch._subclasses.FakeTensor):
        raise ValueError(f"parameter {parameter} has no values; build the model with real weights")
    groups, transposed = layout
    first, second = value.shape[:2]
    rest = value[0, 0].numel()
    outer = (groups, first // groups, second * rest)
    inner = (first, second, rest)
    shapes = {"k": outer, "o": inner} if transposed else {"k": inner, "o": outer}
    return _Weight(path, parameter, value.detach(), shapes)


def _is_transposed_linear(module: nn.Module) -> bool:
    """The linear layer of GPT-2 in transformers keeps (input, output)."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")
