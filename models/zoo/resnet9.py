"""ResNet-9 of David Page, "How to train your ResNet" (2018), the DAWNBench CIFAR-10 entry."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["ResNet9", "resnet9"]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    """x + two 3x3 blocks of x."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_block(width, width), _block(width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class ResNet9(nn.Module):
    """Eight 3x3 convolutions, two of the pairs residual, and a classifier."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = _block(3, 64)
        self.layer1 = nn.Sequential(_block(64, 128), nn.MaxPool2d(2), _Residual(128))
        self.layer2 = nn.Sequential(_block(128, 256), nn.MaxPool2d(2))
        self.layer3 = nn.Sequential(_block(256, 512), nn.MaxPool2d(2), _Residual(512))
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.classifier = nn.Linear(512, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        # Page scales the logits by 1/8 so that the loss starts where the learning rate expects.
        return self.classifier(self.pool(x).flatten(1)) * 0.125


def resnet9(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """ResNet-9 for 32x32 images."""
    return ResNet9(classes)
