"""LLaMA of Touvron et al., arXiv 2302.13971, and Llama 2, arXiv 2307.09288."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from weft.models.zoo.attention import split_heads

__all__ = ["Llama", "LlamaBlock", "llama_7b", "llama_70b"]


def rotary_angles(length: int, size: int, device: torch.device) -> torch.Tensor:
    """Angles [T, size / 2] of rotary position embeddings (arXiv 2104.09864)."""
    frequencies = 10000.0 ** (-torch.arange(0, size, 2, device=device) / size)
    return torch.outer(torch.arange(length, device=device).float(), frequencies)


def rotate(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Rotate pairs (i, i + size / 2) of x [batch, heads, T, size] by their angles."""
    first, second = x.chunk(2, dim=-1)
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
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

    def forward(self, x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
        query = rotate(split_heads(self.query(x), self.heads), angles)
        key = rotate(split_heads(self.key(x), self.shared_heads), angles)
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

    def forward(self, x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x), angles)
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
        angles = rotary_angles(length, self.head_size, tokens.device)
        x = self.tokens(tokens)
        for block in self.blocks:
            x = block(x, angles)
        return self.head(self.norm(x))


def llama_7b(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """LLaMA 7B; context 2048."""
    return Llama(4096, 32, 32, 32, 11008, 2048, classes)


def llama_70b(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Llama 2 70B: 8 key and value heads for 64 query heads; context 4096."""
    return Llama(8192, 80, 64, 8, 28672, 4096, classes)
