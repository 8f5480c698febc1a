"""Vision Transformers of Dosovitskiy et al., arXiv 2010.11929."""

from __future__ import annotations

import torch
from torch import nn

from weft.models.zoo.attention import SelfAttention

__all__ = ["ViT", "ViTBlock", "vit_b16", "vit_cifar"]


class ViTBlock(nn.Module):
    """Attention, then two linear layers, each behind a layer norm and around a residual."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Patches, a class token, learned positions, pre-norm blocks, and a linear classifier.

    Raises:
        ValueError: the image is not a whole number of patches.
    """

    def __init__(
        self,
        image: tuple[int, ...],
        patch: int,
        width: int,
        depth: int,
        heads: int,
        hidden: int,
        classes: int,
    ) -> None:
        super().__init__()
        height, breadth = image[1:]
        if height % patch or breadth % patch:
            raise ValueError(
                f"image is {height}x{breadth}; both must be multiples of the patch, {patch}"
            )
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        tokens = (height // patch) * (breadth // patch) + 1
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, tokens, width).normal_(std=0.02))
        self.blocks = nn.Sequential(*(ViTBlock(width, heads, hidden) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        x = self.norm(self.blocks(x + self.positions))
        return self.classifier(x[:, 0])


def vit_b16(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """ViT-Base with 16x16 patches; positions are made for ``input_shape``."""
    return ViT(input_shape, 16, 768, 12, 12, 3072, classes)


def vit_cifar(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The ViT usual on CIFAR: 4x4 patches, 6 blocks of width 512 with 8 heads."""
    return ViT(input_shape, 4, 512, 6, 8, 512, classes)
