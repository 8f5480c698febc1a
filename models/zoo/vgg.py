"""VGG with batch normalisation (Simonyan and Zisserman, arXiv 1409.1556), for 32x32 images."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["VGG", "vgg19_cifar"]

_VGG19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""(channels, convolutions) of each group; a 2x2 pool ends each group."""


class VGG(nn.Module):
    """Groups of 3x3 convolutions, then two hidden linear layers of 512."""

    def __init__(self, groups: tuple[tuple[int, int], ...], classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for channels, convolutions in groups:
            for _ in range(convolutions):
                layers += [
                    nn.Conv2d(inputs, channels, 3, padding=1),
                    nn.BatchNorm2d(channels),
                    nn.ReLU(inplace=True),
                ]
                inputs = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(512, 512),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(512, 512),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(512, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


def vgg19_cifar(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """VGG-19 with batch normalisation for 32x32 images.

    Raises:
        ValueError: the five pools do not leave one pixel for the classifier.
    """
    height, breadth = input_shape[1:]
    if not (32 <= height < 64 and 32 <= breadth < 64):
        raise ValueError(
            f"image is {height}x{breadth}; vgg19-cifar100 takes 32 to 63 pixels a side"
        )
    return VGG(_VGG19, classes)
