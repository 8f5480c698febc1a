"""LLaMA of Touvron et al., arXiv 2302.13971, and Llama 2, arXiv 2307.09288."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from weft.models.zoo.attention import split_heads

__all__ = ["Llama", "LlamaBlock", "llama_7b", "llama_70b"]


Rotation = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine [T, size / 2] of what each position turns its pairs by."""


def rotation(length: int, size: int, device: torch.device) -> Rotation:
    """Rotary position embeddings (arXiv 2104.09864), the same for every layer."""
    frequencies = 10000.0 ** (-torch.arange(0, size, 2, device=device) / size)
    angles = torch.outer(torch.arange(length, device=device).float(), frequencies)
    return angles.cos(), angles.sin()


def rotate(x: torch.Tensor, turn: Rotation) -> torch.Tensor:
    """Rotate pairs (i, i + size / 2) of x [batch, heads, T, size] by their positions."""
    first, second = x.chunk(2, dim=-1)
    cosine, sine = (part.to(x.dtype) for part in turn)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


class LlamaAttention(nn.Module):
    """Causal attention with rotary positions; several query heads share a key and value head."""

    def __init__(self, width: int, heads: int, shared_heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.shared_heads = shared_heads
        size = width // heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, shared_heads * size, bias=False)
        self.value = nn.Linear(width, shared_heads * size, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x: torch.Tensor, turn: Rotation) -> torch.Tensor:
        query = rotate(split_heads(self.query(x), self.heads), turn)
        key = rotate(split_heads(self.key(x), self.shared_heads), turn)
        value = split_heads(self.value(x), self.shared_heads)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=self.heads != self.shared_heads
        )
        return self.output(mixed.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)) (arXiv 2002.05202)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class LlamaBlock(nn.Module):
    """Attention and SwiGLU, each behind a root-mean-square norm and around a residual."""

    def __init__(self, width: int, heads: int, shared_heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.RMSNorm(width, eps=1e-5)
        self.attention = LlamaAttention(width, heads, shared_heads)
        self.norm2 = nn.RMSNorm(width, eps=1e-5)
        self.mlp = SwiGLU(width, hidden)

    def forward(self, x: torch.Tensor, turn: Rotation) -> torch.Tensor:
        x = x + self.attention(self.norm1(x), turn)
        return x + self.mlp(self.norm2(x))


class Llama(nn.Module):
    """Decoder-only transformer with its own output head.

    ``forward`` takes tokens [batch, T] and returns logits [batch, T, vocabulary].

    Raises:
        ValueError: more tokens than the context holds.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        shared_heads: int,
        hidden: int,
        context: int,
        vocabulary: int,
    ) -> None:
        super().__init__()
        self.context = context
        self.head_size = width // heads
        self.tokens = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(
            LlamaBlock(width, heads, shared_heads, hidden) for _ in range(depth)
        )
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        if length > self.context:
            raise ValueError(f"sequence of {length} tokens; the context holds {self.context}")
        turn = rotation(length, self.head_size, tokens.device)
        x = self.tokens(tokens)
        for block in self.blocks:
            x = block(x, turn)
        return self.head(self.norm(x))


def llama_7b(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """LLaMA 7B; context 2048."""
    return Llama(4096, 32, 32, 32, 11008, 2048, classes)


def llama_70b(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Llama 2 70B: 8 key and value heads for 64 query heads; context 4096."""
    return Llama(8192, 80, 64, 8, 28672, 4096, classes)
