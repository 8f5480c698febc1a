"""Products of a traced step equal what PyTorch's own counter counts, op by op."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from weft.mapper.loss import default_loss
from weft.mapper.lower import lower
from weft.mapper.trace import trace

Build = Callable[[], tuple[nn.Module, Any]]


def counted(build: Build) -> dict[str, int]:
    """Multiply-accumulates by op, by PyTorch, on meta tensors."""
    with torch.device("meta"):
        model, inputs = build()
        with FlopCounterMode(display=False) as counter:
            output = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
            loss = default_loss(output)
            assert loss is not None
            loss.backward()
    total = counter.get_flop_counts().get("Global", {})
    return {str(op).removeprefix("aten."): count // 2 for op, count in total.items() if count}


def traced(build: Build) -> dict[str, int]:
    """Multiply-accumulates by op, by weft."""
    totals: Counter[str] = Counter()
    for product in lower(trace(build)).products:
        totals[product.op] += product.macs_dense
    return dict(totals)


def linear() -> tuple[nn.Module, Any]:
    model = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 5, bias=False))
    return model, torch.randn(7, 12)


def convolutional() -> tuple[nn.Module, Any]:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, dilation=2, padding=2),
        nn.ConvTranspose2d(16, 4, 3, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 10),
    )
    return model, torch.randn(2, 3, 32, 32)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.head = nn.Linear(32, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = x + functional.scaled_dot_product_attention(x, x, x, is_causal=True)
        return self.head(x)


def attention() -> tuple[nn.Module, Any]:
    return Attention(), torch.randint(0, 50, (2, 9))


@pytest.mark.parametrize("build", [linear, convolutional, attention])
def test_macs_per_op(build: Build) -> None:
    assert traced(build) == counted(build)
