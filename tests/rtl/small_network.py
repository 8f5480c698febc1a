"""Two convolutions and a linear layer: small enough to train a step of in Verilog."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["SmallNetwork", "larger_network", "small_network"]


def _channels_last(layer: nn.Conv2d) -> nn.Conv2d:
    layer.weight = nn.Parameter(layer.weight.contiguous(memory_format=torch.channels_last))
    return layer


class SmallNetwork(nn.Module):
    """Scores for every pixel, as in segmentation."""

    def __init__(self, activation: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        self.activation = activation
        self.first = _channels_last(nn.Conv2d(16, 16, 3, padding=1, bias=False))
        self.second = _channels_last(nn.Conv2d(16, 32, 3, padding=1, bias=False))
        self.head = nn.Linear(32, 16, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        found = self.activation(self.first(images))
        found = self.activation(self.second(found))
        scores: Tensor = self.head(found.permute(0, 2, 3, 1))
        return scores


def loss(scores: Tensor) -> Tensor:
    """Every pixel should score the class that its place says."""
    rows, classes = scores.numel() // scores.shape[-1], scores.shape[-1]
    wanted = torch.arange(rows, device=scores.device) % classes
    return nn.functional.cross_entropy(scores.reshape(rows, classes), wanted)


def small_network(batch: int = 2) -> tuple[nn.Module, Tensor, Callable[[Tensor], Tensor]]:
    """The network, images of 8 x 8 pixels with 16 channels, and its loss."""
    images = torch.randn(batch, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    return SmallNetwork(), images, loss


def larger_network() -> tuple[nn.Module, Tensor, Callable[[Tensor], Tensor]]:
    """The same network on four images of 16 x 16 pixels."""
    images = torch.randn(4, 16, 16, 16).contiguous(memory_format=torch.channels_last)
    return SmallNetwork(), images, loss


def gelu_network() -> tuple[nn.Module, Tensor, Callable[[Tensor], Tensor]]:
    """With GELU, on one image."""
    return _activated(nn.functional.gelu)


def silu_network() -> tuple[nn.Module, Tensor, Callable[[Tensor], Tensor]]:
    """With SiLU, on one image."""
    return _activated(nn.functional.silu)


def tanh_network() -> tuple[nn.Module, Tensor, Callable[[Tensor], Tensor]]:
    """With tanh, on one image."""
    return _activated(torch.tanh)


def _activated(
    activation: Callable[[Tensor], Tensor],
) -> tuple[nn.Module, Tensor, Callable[[Tensor], Tensor]]:
    images = torch.randn(1, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    return SmallNetwork(activation), images, loss
