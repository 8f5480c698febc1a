"""The three products of a layer, each with operands of its own.

FF multiplies by one weight, BP by another; BP and WU may see pruned output gradients, WU pruned
activations. The gradient of the weight goes straight through to the dense weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from weft.models.sparse.groups import group_mask, top_mask
from weft.models.sparse.unbiased import unbiased_groups

__all__ = ["Geometry", "Pruning", "sparse_convolution", "sparse_linear"]


@dataclass(frozen=True)
class Pruning:
    """What backward prunes on the fly.

    Attributes:
        bp: (n, m) of the output gradient along the output channels, for BP.
        rescale: scale it so that each sample and channel keeps its largest magnitude.
        wu_same: WU reads BP's pruned output gradient.
        wu: (n, m) of the output gradient along tokens or pixels, unbiased, for WU.
        activation_density: share of the largest activations kept for WU.
    """

    bp: tuple[int, int] | None = None
    rescale: bool = False
    wu_same: bool = False
    wu: tuple[int, int] | None = None
    activation_density: float | None = None

    def for_bp(self, gradient: torch.Tensor, groups: int) -> torch.Tensor:
        """The output gradient [samples, output channels, places] as BP reads it."""
        if self.bp is None or gradient.shape[1] // groups < self.bp[1]:
            return gradient
        samples, channels, places = gradient.shape
        grouped = gradient.reshape(samples * groups, channels // groups, places)
        mask = group_mask(grouped, *self.bp).view(gradient.shape)
        pruned = torch.where(mask, gradient, 0.0)
        return _rescaled(pruned, gradient) if self.rescale else pruned

    def for_wu(self, gradient: torch.Tensor, pruned: torch.Tensor) -> torch.Tensor:
        """The output gradient as WU reads it; ``pruned`` is what BP reads."""
        if self.wu_same:
            return pruned
        samples, channels, places = gradient.shape
        if self.wu is None or samples * places < self.wu[1]:
            return gradient
        tokens = gradient.transpose(1, 2).reshape(1, samples * places, channels)
        sparse = unbiased_groups(tokens.contiguous(), *self.wu)
        return sparse.reshape(samples, places, channels).transpose(1, 2).contiguous()

    def of_activation(self, x: torch.Tensor) -> torch.Tensor:
        """The activations as WU reads them."""
        if self.activation_density is None:
            return x
        return torch.where(top_mask(x, round(self.activation_density * x.numel())), x, 0.0)


def _rescaled(pruned: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
    """Scale so that the largest magnitude of each sample and channel is the dense one."""
    kept = pruned.abs().amax(2, keepdim=True)
    wanted = dense.abs().amax(2, keepdim=True)
    return pruned * torch.where(kept > 0, wanted / kept.clamp(min=1e-30), 1.0)


@dataclass(frozen=True)
class Geometry:
    """Of a convolution, for one to three spatial dimensions."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        forward_weight: torch.Tensor | None,
        backward_weight: torch.Tensor | None,
        pruning: Pruning,
    ) -> torch.Tensor:
        used = weight if forward_weight is None else forward_weight
        ctx.save_for_backward(x, used if backward_weight is None else backward_weight)
        ctx.pruning = pruning
        ctx.biased = bias is not None
        return functional.linear(x, used, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (gradient,) = gradients
        x, backward_weight = ctx.saved_tensors
        pruning: Pruning = ctx.pruning
        rows = gradient.reshape(-1, gradient.shape[-1])
        dense = rows.unsqueeze(2)
        pruned = pruning.for_bp(dense, 1)
        dx = dw = db = None
        if ctx.needs_input_grad[0]:
            dx = (pruned.squeeze(2) @ backward_weight).reshape(x.shape)
        if ctx.needs_input_grad[1]:
            # Tokens are the last dimension of WU's gradient, so that "t" groups are consecutive.
            for_wu = pruning.for_wu(dense.permute(2, 1, 0), pruned.permute(2, 1, 0))
            dw = for_wu.squeeze(0) @ pruning.of_activation(x.reshape(-1, x.shape[-1]))
        if ctx.biased:
            db = rows.sum(0)
        return dx, dw, db, None, None, None


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        forward_weight: torch.Tensor | None,
        backward_weight: torch.Tensor | None,
        geometry: Geometry,
        pruning: Pruning,
    ) -> torch.Tensor:
        used = weight if forward_weight is None else forward_weight
        ctx.save_for_backward(x, used if backward_weight is None else backward_weight)
        ctx.geometry, ctx.pruning = geometry, pruning
        ctx.biased = bias is not None
        return _convolve(x, used, bias, geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (gradient,) = gradients
        x, backward_weight = ctx.saved_tensors
        pruning: Pruning = ctx.pruning
        dense = gradient.flatten(2)
        pruned = pruning.for_bp(dense, ctx.geometry.groups)
        dx = dw = db = None
        if ctx.needs_input_grad[0]:
            shaped = pruned.reshape(gradient.shape)
            dx = _convolve_back(shaped, x, backward_weight, ctx.geometry, (True, False, False))[0]
        if ctx.needs_input_grad[1]:
            shaped = pruning.for_wu(dense, pruned).reshape(gradient.shape)
            kept = pruning.of_activation(x)
            dw = _convolve_back(shaped, kept, backward_weight, ctx.geometry, (False, True, False))[
                1
            ]
        if ctx.biased:
            db = dense.sum((0, 2))
        return dx, dw, db, None, None, None, None


def _convolve(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
) -> torch.Tensor:
    no_output_padding = [0] * len(geometry.stride)
    return torch.ops.aten.convolution(
        x,
        weight,
        bias,
        list(geometry.stride),
        list(geometry.padding),
        list(geometry.dilation),
        False,
        no_output_padding,
        geometry.groups,
    )


def _convolve_back(
    gradient: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    geometry: Geometry,
    wanted: tuple[bool, bool, bool],
) -> Any:
    return torch.ops.aten.convolution_backward(
        gradient,
        x,
        weight,
        None,
        list(geometry.stride),
        list(geometry.padding),
        list(geometry.dilation),
        False,
        [0] * len(geometry.stride),
        geometry.groups,
        list(wanted),
    )


def sparse_linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    forward_weight: torch.Tensor | None,
    backward_weight: torch.Tensor | None,
    pruning: Pruning,
) -> torch.Tensor:
    """x [..., inputs] times ``forward_weight`` [outputs, inputs] transposed.

    The gradient of x comes through ``backward_weight`` (None: the same as FF's), and that of the
    product reaches ``weight`` unmasked. ``forward_weight`` None is ``weight`` itself.
    """
    return _Linear.apply(x, weight, bias, forward_weight, backward_weight, pruning)  # pyright: ignore[reportReturnType]


def sparse_convolution(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    forward_weight: torch.Tensor | None,
    backward_weight: torch.Tensor | None,
    geometry: Geometry,
    pruning: Pruning,
) -> torch.Tensor:
    """Convolution with weights of its own in FF and BP, as ``sparse_linear``."""
    return _Convolution.apply(  # pyright: ignore[reportReturnType]
        x, weight, bias, forward_weight, backward_weight, geometry, pruning
    )
