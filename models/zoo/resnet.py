"""Residual networks of He et al., arXiv 1512.03385, in the v1.5 form (stride in the 3x3)."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Basic", "Bottleneck", "ResNet", "resnet18", "resnet18_tiny", "resnet34", "resnet50"]


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution and batch normalisation; same size at stride 1."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class _Residual(nn.Module):
    """relu(body(x) + shortcut(x)); the shortcut projects where shapes differ."""

    expansion: int

    def __init__(self, body: nn.Sequential, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = body
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _convolution(inputs, outputs, 1, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.body(x) + self.shortcut(x))


class Basic(_Residual):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        body = nn.Sequential(
            _convolution(inputs, width, 3, stride),
            nn.ReLU(inplace=True),
            _convolution(width, width, 3),
        )
        super().__init__(body, inputs, width, stride)


class Bottleneck(_Residual):
    """1x1 down, 3x3, 1x1 up to four times the width."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        outputs = width * self.expansion
        body = nn.Sequential(
            _convolution(inputs, width, 1),
            nn.ReLU(inplace=True),
            _convolution(width, width, 3, stride),
            nn.ReLU(inplace=True),
            _convolution(width, outputs, 1),
        )
        super().__init__(body, inputs, outputs, stride)


class ResNet(nn.Module):
    """Stem, four groups of residual blocks that double width and halve size, pool, classifier.

    Args:
        block: ``Basic`` or ``Bottleneck``.
        depths: blocks in each group.
        classes: outputs.
        small: a 3x3 stem at full size, for images of 32 or 64 pixels.
    """

    def __init__(
        self,
        block: type[Basic] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        classes: int,
        *,
        small: bool = False,
    ) -> None:
        super().__init__()
        self.stem = _convolution(3, 64, 3) if small else _convolution(3, 64, 7, 2)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        inputs = 64
        groups: list[nn.Module] = []
        for index, depth in enumerate(depths):
            width = 64 << index
            blocks: list[nn.Module] = []
            for position in range(depth):
                stride = 2 if index and not position else 1
                blocks.append(block(inputs, width, stride))
                inputs = width * block.expansion
            groups.append(nn.Sequential(*blocks))
        self.groups = nn.Sequential(*groups)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.groups(self.pool(self.relu(self.stem(x))))
        return self.classifier(self.average(x).flatten(1))


def resnet18(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """ResNet-18 for ImageNet."""
    return ResNet(Basic, (2, 2, 2, 2), classes)


def resnet18_tiny(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """ResNet-18 with a 3x3 stem and no first pool, as is usual for small images."""
    return ResNet(Basic, (2, 2, 2, 2), classes, small=True)


def resnet34(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """ResNet-34 for ImageNet."""
    return ResNet(Basic, (3, 4, 6, 3), classes)


def resnet50(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """ResNet-50 v1.5 for ImageNet."""
    return ResNet(Bottleneck, (3, 4, 6, 3), classes)
