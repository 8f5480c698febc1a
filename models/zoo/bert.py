"""BERT of Devlin et al., arXiv 1810.04805, with its masked-language-model head."""

from __future__ import annotations

import torch
from torch import nn

from weft.models.zoo.attention import SelfAttention

__all__ = ["Bert", "BertBlock", "bert_base"]


class BertBlock(nn.Module):
    """Attention and two linear layers, each followed by a residual and a norm."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, dropout=dropout)
        self.norm1 = nn.LayerNorm(width, eps=1e-12)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.norm2 = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(x + self.dropout(self.attention(x)))
        return self.norm2(x + self.dropout(self.mlp(x)))


class Bert(nn.Module):
    """Encoder and head; the head's matrix is tied to the token embedding.

    ``forward`` takes tokens [batch, T], all of one segment, and returns logits
    [batch, T, vocabulary].

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
        self.segments = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(BertBlock(width, heads, dropout) for _ in range(depth)))
        self.transform = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=1e-12)
        )
        self.head = nn.Linear(width, vocabulary)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        if length > self.context:
            raise ValueError(f"sequence of {length} tokens; the context holds {self.context}")
        places = torch.arange(length, device=tokens.device)
        segments = self.segments(torch.zeros_like(tokens))
        x = self.tokens(tokens) + self.positions(places) + segments
        return self.head(self.transform(self.blocks(self.dropout(self.norm(x)))))


def bert_base(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """BERT-Base."""
    return Bert(768, 12, 12, 512, classes)
