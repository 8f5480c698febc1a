"""Layers whose three products read sparse operands: what ``sparsify`` turns Linear and Conv into.

A layer keeps its parameters, their names and its class ancestry; only the class itself and its
``forward`` change. Masks are buffers called ``mask_<axis>``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from weft.models.sparse.products import Geometry, Pruning, sparse_convolution, sparse_linear

__all__ = [
    "LayerState",
    "Sparse",
    "can_be_sparse",
    "channels",
    "from_axis",
    "make_dense",
    "make_sparse",
    "on_axis",
]


@dataclass
class LayerState:
    """How a layer's operands are sparse now; the sparsifier writes it, ``forward`` reads it.

    Attributes:
        name: of the module in the model.
        forward_axis: the axis whose mask FF's weight has; "" for dense, "soft" for S-STE.
        backward_axis: the same for BP.
        pruning: what backward prunes on the fly.
        version: of the weight when its masks were made.
        owner: the sparsifier, asked for new masks when the weight changed behind its back.
    """

    name: str
    forward_axis: str = ""
    backward_axis: str = ""
    faded: bool = False
    pruning: Pruning = field(default_factory=Pruning)
    version: int = -1
    owner: Any = None


def channels(module: nn.Module, axis: str) -> int:
    """Elements of the reduction along which groups lie: per group of a convolution."""
    outputs, inputs = _sides(module)
    return inputs if axis == "k" else outputs


def _sides(module: nn.Module) -> tuple[int, int]:
    weight: torch.Tensor = module.weight  # pyright: ignore[reportAssignmentType]
    if _keeps_inputs_first(module):
        return weight.shape[1], weight.shape[0]
    return weight.shape[0] // getattr(module, "groups", 1), weight.shape[1]


def on_axis(module: nn.Module, tensor: torch.Tensor, axis: str) -> torch.Tensor:
    """A tensor shaped like the weight as [outer, channels of the axis, inner]."""
    if _keeps_inputs_first(module):
        tensor = tensor.t()
    groups = getattr(module, "groups", 1)
    if axis == "k":
        return tensor.reshape(tensor.shape[0], tensor.shape[1], -1)
    return tensor.reshape(groups, tensor.shape[0] // groups, -1)


def from_axis(module: nn.Module, view: torch.Tensor) -> torch.Tensor:
    """Back from ``on_axis`` to the shape of the weight."""
    weight: torch.Tensor = module.weight  # pyright: ignore[reportAssignmentType]
    if _keeps_inputs_first(module):
        return view.reshape(weight.shape[1], weight.shape[0]).t()
    return view.reshape(weight.shape)


def _keeps_inputs_first(module: nn.Module) -> bool:
    """The linear layer of GPT-2 in transformers keeps (input, output)."""
    return hasattr(module, "nf") and not isinstance(module, nn.Linear)


class Sparse(nn.Module):
    """What sparse layers share."""

    # Any: what the classes beside it declare differs in detail from one to the next.
    sparsity: Any
    fade: Any
    weight: Any
    bias: Any

    def operands(
        self, x: torch.Tensor
    ) -> tuple[
        torch.Tensor,
        torch.Tensor,
        torch.Tensor | None,
        torch.Tensor | None,
        torch.Tensor | None,
    ]:
        """Input, weight, bias in the precision of autocast, and the weights of FF and BP.

        None in FF is the weight itself, None in BP what FF has: compiled code refuses the same
        tensor twice.
        """
        state = self.sparsity
        if not torch.compiler.is_compiling():
            state.owner.catch_up(self)
        weight, bias = self.weight, self.bias
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
            x, weight = x.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
        used = weight.detach()
        forward = self.masked(used, state.forward_axis) if state.forward_axis else None
        same = state.backward_axis == state.forward_axis
        backward = None if same else self.masked(used, state.backward_axis)
        return x, weight, bias, forward, backward

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self.sparsity.owner.loaded(self)

    def masked(self, weight: torch.Tensor, axis: str) -> torch.Tensor:
        if not axis:
            return weight
        if axis == "soft":
            return self.get_buffer("soft_weight").to(weight.dtype)
        mask = self.get_buffer(f"mask_{axis}")
        dropped = weight * self.fade.to(weight.dtype) if self.sparsity.faded else 0.0
        return torch.where(mask, weight, dropped)


class SparseLinear(Sparse, nn.Linear):
    """A linear layer with sparse operands."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - as nn.Linear has it
        return sparse_linear(*self.operands(input), self.sparsity.pruning)


class SparseTransposedLinear(Sparse):
    """A linear layer that keeps (input, output), as GPT-2's of transformers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, weight, bias, forward, backward = self.operands(x)
        forward = None if forward is None else forward.t()
        backward = None if backward is None else backward.t()
        return sparse_linear(x, weight.t(), bias, forward, backward, self.sparsity.pruning)


class _SparseConvolution(Sparse):
    """A convolution with sparse operands."""

    padding_mode: Any
    padding: Any
    stride: Any
    dilation: Any
    groups: Any
    _reversed_padding_repeated_twice: Any

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - as nn.Conv2d has it
        if input.dim() == len(self.stride) + 1:
            return self.forward(input.unsqueeze(0)).squeeze(0)
        padded, padding = input, self.padding
        if self.padding_mode != "zeros" or isinstance(padding, str):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            padded = functional.pad(input, self._reversed_padding_repeated_twice, mode=mode)
            padding = (0,) * len(self.stride)
        x, weight, bias, forward, backward = self.operands(padded)
        geometry = Geometry(self.stride, padding, self.dilation, self.groups)
        pruning = self.sparsity.pruning
        return sparse_convolution(x, weight, bias, forward, backward, geometry, pruning)


class SparseConv1d(_SparseConvolution, nn.Conv1d):
    """A 1-d convolution with sparse operands."""


class SparseConv2d(_SparseConvolution, nn.Conv2d):
    """A 2-d convolution with sparse operands."""


class SparseConv3d(_SparseConvolution, nn.Conv3d):
    """A 3-d convolution with sparse operands."""


_SPARSE: dict[type[nn.Module], type[Sparse]] = {
    nn.Linear: SparseLinear,
    nn.Conv1d: SparseConv1d,
    nn.Conv2d: SparseConv2d,
    nn.Conv3d: SparseConv3d,
}
_DENSE = {sparse: dense for dense, sparse in _SPARSE.items()}


def _sparse_class(module: nn.Module) -> type[Sparse] | None:
    """The sparse class for a layer whose forward is the plain one."""
    known = _SPARSE.get(type(module))
    if known is not None:
        return known
    if type(module).__name__ == "Conv1D" and _keeps_inputs_first(module):
        # No import of transformers: the class is made from the one at hand.
        made = type("SparseConv1D", (SparseTransposedLinear, type(module)), {})
        _SPARSE[type(module)] = made
        _DENSE[made] = type(module)
        return made
    return None


def can_be_sparse(module: nn.Module) -> bool:
    """Whether the layer is one that ``make_sparse`` knows."""
    return _sparse_class(module) is not None


def make_sparse(module: nn.Module, state: LayerState) -> Sparse:
    """Turn a Linear or Conv layer into its sparse kind, in place, and return it."""
    kind = _sparse_class(module)
    if kind is None:
        raise TypeError(f"{type(module).__name__} has no sparse kind")
    module.__class__ = kind
    layer = cast(Sparse, module)
    layer.sparsity = state
    layer.register_buffer("fade", layer.weight.detach().new_zeros(()), persistent=False)
    return layer


def make_dense(module: nn.Module) -> None:
    """Turn a sparse layer back; its masks go."""
    module.__class__ = _DENSE[type(module)]  # pyright: ignore[reportArgumentType]
    for name in [name for name in module._buffers if name.startswith(("mask_", "soft_", "fade"))]:
        delattr(module, name)
    del module.sparsity
