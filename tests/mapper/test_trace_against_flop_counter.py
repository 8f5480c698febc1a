"""Products of a traced step equal what PyTorch's own counter counts, op by op."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count

from tests.mapper.counting import Build, counted, traced
from weft.mapper.lowering.lower import lower
from weft.mapper.scheduling.geometry import problems
from weft.mapper.tracing.trace import trace
from weft.sim.workload import Stage


class Attention(nn.Module):
    """Tied embeddings, a packed attention, and a functional one."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        self.attention = nn.MultiheadAttention(32, 4, dropout=0.1, batch_first=True)
        self.head = nn.Linear(32, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = x + functional.scaled_dot_product_attention(x, x, x, is_causal=True)
        return self.head(x)


class TimesWeight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight.t()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight = ctx.saved_tensors
        return gradients[0] @ weight, gradients[0].t() @ x


class CustomFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.weight = nn.Parameter(torch.randn(5, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return TimesWeight.apply(self.first(x), self.weight)  # type: ignore[return-value]


class Repeated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(x.shape[0]):
            x = torch.tanh(self.layer(x))
        return x


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.first = nn.Linear(8, 8)
        self.block = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.last = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = checkpoint(self.block, self.first(x), use_reentrant=self.reentrant)
        return self.last(y)


class WeightOnTheLeft(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(7, 7)
        self.weight = nn.Parameter(torch.randn(6, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.matmul(self.weight, self.first(x))


class Detection(nn.Module):
    """Learned queries attend to an image: a parameter is an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.queries = nn.Embedding(5, 16)
        self.decoder = nn.TransformerDecoderLayer(16, 2, 32, batch_first=True)
        self.boxes = nn.Linear(16, 4)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        memory = self.patches(image).flatten(2).transpose(1, 2)
        queries = self.queries.weight[None].expand(image.shape[0], -1, -1)
        return {"logits": self.boxes(self.decoder(queries, memory))}


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.write = nn.Linear(8, 8)
        self.read = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        cache = torch.zeros(x.shape[0], 4, 8)
        cache[:, 1] = self.write(x)
        return self.read(cache)


class Einsum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 8, 6))
        self.vector = nn.Parameter(torch.randn(8))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.einsum("bnd,ndh->bnh", x, self.weight), x @ self.vector


def convolutional() -> nn.Module:
    return nn.Sequential(
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


def pruned() -> nn.Module:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


BUILDS: dict[str, Build] = {
    "linear": lambda: (nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)), torch.randn(5, 6)),
    "linear of a vector": lambda: (nn.Linear(4, 4), torch.randn(4)),
    "linear of rank 4": lambda: (nn.Linear(4, 4), torch.randn(2, 3, 5, 4)),
    "convolutional": lambda: (convolutional(), torch.randn(2, 3, 32, 32)),
    "conv without batch": lambda: (nn.Conv2d(3, 4, 3), torch.randn(3, 8, 8)),
    "conv circular": lambda: (
        nn.Conv2d(3, 4, 3, padding="same", padding_mode="circular"),
        torch.randn(2, 3, 8, 8),
    ),
    "attention": lambda: (Attention(), torch.randint(0, 50, (2, 9))),
    "transformer": lambda: (
        nn.Transformer(16, 2, 1, 1, 32, batch_first=True),
        (torch.randn(2, 5, 16), torch.randn(2, 4, 16)),
    ),
    "detection": lambda: (Detection(), torch.randn(2, 3, 8, 8)),
    "rnn": lambda: (nn.RNN(6, 8), torch.randn(5, 2, 6)),
    "gru": lambda: (nn.GRU(6, 8), torch.randn(5, 2, 6)),
    "lstm": lambda: (
        nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True),
        torch.randn(2, 5, 6),
    ),
    "lstm with projection": lambda: (nn.LSTM(6, 8, proj_size=4), torch.randn(5, 2, 6)),
    "rnn cell": lambda: (nn.RNNCell(6, 8), torch.randn(2, 6)),
    "lstm cell": lambda: (nn.LSTMCell(6, 8), torch.randn(2, 6)),
    "gru cell": lambda: (nn.GRUCell(6, 8), torch.randn(2, 6)),
    "custom function": lambda: (CustomFunction(), torch.randn(4, 8)),
    "shared weight": lambda: (Repeated(), torch.randn(3, 8)),
    "checkpoint": lambda: (Checkpointed(False), torch.randn(3, 8)),
    "checkpoint, reentrant": lambda: (Checkpointed(True), torch.randn(3, 8)),
    "weight on the left": lambda: (WeightOnTheLeft(), torch.randn(2, 8, 7)),
    "pruned": lambda: (pruned(), torch.randn(3, 8)),
    "in place": lambda: (InPlace(), torch.randn(2, 8)),
    "einsum": lambda: (Einsum(), torch.randn(2, 4, 8)),
}


@pytest.mark.parametrize("name", BUILDS)
def test_macs_per_op(name: str) -> None:
    assert traced(BUILDS[name]) == counted(BUILDS[name])


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Build, bool]:
    """A 1x1 convolution, so that an input gradient is needed, and then any convolution."""
    dimensions = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    channels = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(dimensions))
    stride = draw(st.integers(1, 3))
    dilation = draw(st.integers(1, 2))
    padding = draw(st.integers(0, 2))
    size = tuple(draw(st.integers(5, 8)) for _ in range(dimensions))
    images = draw(st.integers(1, 3))
    transposed = draw(st.booleans())
    bias = draw(st.booleans())
    plain: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    swapped: Any = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dimensions - 1]

    def build() -> tuple[nn.Module, Any]:
        options: dict[str, Any] = {
            "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
            "bias": bias,
        }  # fmt: skip
        second = (swapped if transposed else plain)(*channels, kernel, **options)
        model = nn.Sequential(plain(2, channels[0], 1), second)
        return model, torch.randn(images, 2, *size)

    return build, groups > 1


@settings(max_examples=40, deadline=None)
@given(convolutions())
def test_any_convolution(case: tuple[Build, bool]) -> None:
    build, grouped = case
    assert traced(build) == counted(build, device="meta", grouped=grouped)


@settings(max_examples=40, deadline=None)
@given(convolutions())
def test_what_is_scheduled_of_any_convolution_is_all_of_it(case: tuple[Build, bool]) -> None:
    """Extents and taps of every way to schedule a product multiply to what the counter counts."""
    for product in lower(trace(case[0])).products:
        for problem in problems(product):
            extent = problem.m.elements * problem.n.elements * problem.k.size
            assert extent * sum(problem.phases) * problem.batch == product.macs_dense


@settings(max_examples=15, deadline=None)
@given(
    batch=st.integers(1, 3),
    shared=st.integers(1, 2),
    heads=st.integers(1, 2),
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    depth=st.sampled_from([4, 8]),
    width=st.sampled_from([4, 8]),
)
def test_any_attention(
    batch: int, shared: int, heads: int, rows: int, columns: int, depth: int, width: int
) -> None:
    class Core(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q = nn.Linear(depth, depth)
            self.k = nn.Linear(depth, depth)
            self.v = nn.Linear(width, width)

        def forward(self, *x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.q(x[0]), self.k(x[1]), self.v(x[2])
            return functional.scaled_dot_product_attention(q, k, v, enable_gqa=shared > 1)

    query, key, value = (
        (batch, heads * shared, rows, depth),
        (batch, heads, columns, depth),
        (batch, heads, columns, width),
    )

    def build() -> tuple[nn.Module, Any]:
        return Core(), tuple(torch.randn(shape) for shape in (query, key, value))

    assert traced(build) == counted(build, device="meta")
    if depth == width:
        fused = lower(trace(build, attention="fused")).products
        forward = sum(p.macs_dense for p in fused if p.op == "attention")
        backward = sum(p.macs_dense for p in fused if p.op == "attention_backward")
        gradient = (batch, heads * shared, rows, width)
        assert forward * 2 == sdpa_flop_count(query, key, value)
        assert backward * 2 == sdpa_backward_flop_count(gradient, query, key, value)


@pytest.mark.parametrize("name", BUILDS)
def test_backward_products_are_their_forward_product_turned_round(name: str) -> None:
    products = [p for p in lower(trace(BUILDS[name])).products if p.convolution is None]
    forward = {p.name: p for p in products if p.stage is Stage.FF}
    weighted = {name.removesuffix(":recompute") for name, p in forward.items() if p.right.parameter}
    backward = [p for p in products if p.stage is not Stage.FF and p.name in weighted]
    for product in backward:
        m, k, n = forward[product.name].m, forward[product.name].k, forward[product.name].n
        expected = (m, n, k) if product.stage is Stage.BP else (k, m, n)
        assert (product.m, product.k, product.n) == expected, product.name
    assert {p.name for p in backward if p.stage is Stage.WU} == weighted


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 9), depth=st.integers(1, 9))
def test_any_product_with_a_vector(rows: int, depth: int) -> None:
    """PyTorch's counter does not know mv, dot and addmv; they multiply and accumulate too."""

    class Core(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(depth, depth, bias=False)
            self.vector = nn.Parameter(torch.randn(depth))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.linear(x)
            scores = torch.addmv(y[:, 0], y, self.vector) + torch.mv(y, self.vector)
            return scores.sum() + torch.dot(y[0], self.vector)

    def build() -> tuple[nn.Module, Any]:
        return Core(), torch.randn(rows, depth)

    found = traced(build)
    assert found == counted(build, device="meta")
    assert found["mv"] >= rows * depth
    assert found["dot"] == depth
