"""Multi-head self-attention through PyTorch's scaled dot product."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["SelfAttention", "split_heads"]


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[batch, T, heads * d] to [batch, heads, T, d]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class SelfAttention(nn.Module):
    """Queries, keys and values from one linear layer, attention, and an output layer."""

    def __init__(
        self, width: int, heads: int, *, causal: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.dropout = dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            split_heads(part, self.heads) for part in self.query_key_value(x).chunk(3, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            is_causal=self.causal,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.output(mixed.transpose(1, 2).flatten(2))
