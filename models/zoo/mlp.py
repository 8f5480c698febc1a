"""Multilayer perceptrons."""

from __future__ import annotations

from math import prod

from torch import nn

__all__ = ["lenet_300_100"]


def lenet_300_100(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """LeNet-300-100 (LeCun et al. 1998), with ReLU; its input is any flattened image."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(prod(input_shape), 300),
        nn.ReLU(),
        nn.Linear(300, 100),
        nn.ReLU(),
        nn.Linear(100, classes),
    )
