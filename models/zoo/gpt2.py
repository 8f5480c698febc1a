"""GPT-2 of Radford et al., "Language Models are Unsupervised Multitask Learners" (2019)."""

from __future__ import annotations

import torch
from torch import nn

from weft.models.zoo.attention import SelfAttention

__all__ = ["GPT2", "GPT2Block", "char_gpt", "gpt2", "gpt2_xl"]


class GPT2Block(nn.Module):
    """Causal attention, then two linear layers, each behind a norm and around a residual."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, causal=True, dropout=dropout)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.mlp(self.norm2(x)))


class GPT2(nn.Module):
    """Decoder-only transformer; the head is tied to the token embedding.

    ``forward`` takes tokens [batch, T] and returns logits [batch, T, vocabulary].

    Raises:
        ValueError: more tokens than the context holds.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        context: int,
        vocabulary: int,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.context = context
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(GPT2Block(width, heads, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        self.apply(_initialise)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        if length > self.context:
            raise ValueError(f"sequence of {length} tokens; the context holds {self.context}")
        x = self.tokens(tokens) + self.positions(torch.arange(length, device=tokens.device))
        return self.head(self.norm(self.blocks(self.dropout(x))))


def _initialise(module: nn.Module) -> None:
    """Weights from a normal distribution of 0.02, as in the paper's code."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def gpt2(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """GPT-2 small."""
    return GPT2(768, 12, 12, 1024, classes)


def gpt2_xl(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """GPT-2 XL."""
    return GPT2(1600, 48, 25, 1024, classes)


def char_gpt(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """A character model small enough to train on one processor; its context is its input."""
    return GPT2(48, 2, 4, input_shape[0], classes, dropout=0.0)
