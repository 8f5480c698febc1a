"""What may steer a trace: constants and what the user gave, or an assumption with a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from weft.mapper.lowering.lower import lower
from weft.mapper.tracing.assumptions import Assumptions, dealt_out, quantiles, spread
from weft.mapper.tracing.trace import TraceError, trace

Function = Callable[[torch.Tensor], Any]


class Steered(nn.Module):
    """A layer of ``width``, and what ``function`` makes of its output."""

    def __init__(self, function: Function, width: int = 8) -> None:
        super().__init__()
        self.layer, self.other = nn.Linear(width, width), nn.Linear(width, width)
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        return self.other(y) if self.function(y) else y


BY_DATA: dict[str, Function] = {
    "sum": lambda y: y.sum() > 0,
    "sum kept": lambda y: y.sum(1, keepdim=True)[:1] > 0,
    "item": lambda y: y[0, 0].item() > 0,
    "norm": lambda y: int(y.norm()) % 2,
    "largest": lambda y: y.max() > 1,
    "of a cast": lambda y: y.long().sum() > 0,
    "copied": lambda y: torch.zeros(1).copy_(y[0, :1]) > 0,
}


@pytest.mark.parametrize("width", [1, 8, 400])
@pytest.mark.parametrize("name", BY_DATA)
def test_what_the_data_decide_is_refused_whatever_the_size(name: str, width: int) -> None:
    for given in (
        (Steered(BY_DATA[name], width), torch.randn(4, width)),
        (lambda: (Steered(BY_DATA[name], width), torch.randn(4, width)),),
    ):
        with pytest.raises(TraceError, match="depends on the values") as caught:
            trace(*given)
        assert "\n" not in str(caught.value)


class ByWeight(nn.Module):
    def __init__(self, *, trained: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.gate = nn.Parameter(torch.ones(1), requires_grad=trained)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) if self.gate > 0 else self.layer(self.layer(x))


@pytest.mark.parametrize("trained", [True, False])
def test_weights_never_steer(trained: bool) -> None:
    for given in (
        (ByWeight(trained=trained), torch.randn(4, 8)),
        (lambda: (ByWeight(trained=trained), torch.randn(4, 8)),),
    ):
        with pytest.raises(TraceError, match="depends on the values"):
            trace(*given)


def test_fractions_that_were_given_may_be_random_and_never_steer() -> None:
    class ByInput(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) if x.sum() > 0 else self.layer(self.layer(x))

    for given in ((ByInput(), torch.randn(4, 8)), (lambda: (ByInput(), torch.randn(4, 8)),)):
        with pytest.raises(TraceError, match="depends on the values"):
            trace(*given)
    assert trace(ByInput(), torch.ones(4, 8)).notes == ()
    assert trace(lambda: (ByInput(), torch.full((4, 8), 0.5))).notes == ()


def test_random_numbers_that_steer_are_spread_evenly_and_told() -> None:
    steered = Steered(lambda y: torch.rand(()) > 0.1)
    found = [trace(steered, torch.randn(4, 8)) for _ in range(3)]
    assert found[0] == found[1] == found[2]
    assert [note for note in found[0].notes if note.startswith("assumed (random)")]
    none = Steered(lambda y: (torch.rand(100) < 0.3).sum().item() == 30)
    assert len(lower(trace(none, torch.randn(4, 8))).products) == 5


def test_numbers_that_python_draws_are_the_same_in_every_run() -> None:
    import random

    import numpy as np

    steered = Steered(lambda y: random.random() + np.random.rand() > 1)
    found = [trace(steered, torch.randn(4, 8)) for _ in range(4)]
    assert all(graph == found[0] for graph in found)
    assert [note for note in found[0].notes if note.startswith("assumed (seeded)")]


class Constant(nn.Module):
    """Reads values while it is built, as DINOv2, SigLIP and Hiera do."""

    def __init__(self) -> None:
        super().__init__()
        rates = [x.item() for x in torch.linspace(0, 0.5, 4)]
        widths = torch.tensor([8, 8, 6]).numpy()
        table = torch.zeros(5, dtype=torch.long)
        table[2:] = 1
        self.layers = nn.ModuleList(nn.Linear(8, int(w)) for w in widths[: int(table.sum())])
        self.rate = rates[-1]
        self.trunc = nn.Parameter(nn.init.trunc_normal_(torch.empty(70, 70), std=0.02))
        self.name = f"{torch.tensor(3)}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum((layer(x).sum() for layer in self.layers), self.trunc.sum()) * self.rate


def test_constants_are_followed_while_building() -> None:
    graph = trace(lambda: (Constant(), torch.randn(4, 8)), loss_fn=lambda y: y)
    assert [p.shape for p in graph.parameters if p.name.endswith("weight")] == [
        (8, 8), (8, 8), (6, 8)
    ]  # fmt: skip


class ByLength(nn.Module):
    """Counts, lengths and masks that the user gave."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor, mask: torch.Tensor) -> Any:
        longest = int(lengths.max())
        return self.layer(x[:, :longest])[mask[:, :longest]]


def test_lengths_and_masks_that_were_given_are_followed() -> None:
    def inputs() -> tuple[torch.Tensor, ...]:
        lengths = torch.tensor([3, 5])
        return torch.randn(2, 9, 8), lengths, torch.arange(9)[None] < lengths[:, None]

    for graph in (trace(ByLength(), inputs()), trace(lambda: (ByLength(), inputs()))):
        assert graph.notes == ()
        assert (8, 5) in {t.shape for op in graph.ops for t in graph.outputs_of(op)}
        assert lower(graph).macs_dense == 2 * 2 * 5 * 8 * 5


class Experts(nn.Module):
    """A mixture as it is usually written: one expert after the other, on its own tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(8, 4)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        chosen = self.router(x).softmax(-1).topk(2).indices
        mask = functional.one_hot(chosen, 4).permute(2, 1, 0)
        out = torch.zeros_like(x)
        for expert in mask.sum((1, 2)).nonzero():
            _, token = torch.where(mask[expert[0]])
            out.index_add_(0, token, self.experts[int(expert)](x[token]))
        return out


def test_experts_are_balanced_and_told() -> None:
    graph = trace(Experts(), torch.randn(12, 8))
    assert [note for note in graph.notes if note.startswith("assumed (balanced)")]
    products = lower(graph).products
    rows = {p.name: p.m for p in products if p.name.startswith("experts") and p.stage == "ff"}
    assert rows == {f"experts.{expert}": 6 for expert in range(4)}


def test_an_expert_without_tokens_costs_nothing() -> None:
    graph = trace(Experts(), torch.randn(1, 8))
    names = {p.name for p in lower(graph).products if p.name.startswith("experts")}
    assert names == {"experts.0", "experts.1"}


class Selecting(nn.Module):
    def __init__(self, select: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.layer, self.select = nn.Linear(8, 8), select

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.select(self.layer(x)))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize(
    "select",
    [
        lambda y: y[y[:, 0] > 0],
        lambda y: y[(y[:, 0] > 0).nonzero()[:, 0]],
        lambda y: y[torch.where(y[:, 0] > 0)],
        lambda y: y.masked_select(y[:, :1] > 0).reshape(-1, 8),
    ],
)
def test_a_mask_that_the_data_decide_keeps_a_settable_share(select: Any, share: float) -> None:
    graph = trace(
        Selecting(select), torch.randn(40, 8), lambda y: y.sum(), assumptions=Assumptions(share)
    )
    rows = round(40 * share)
    assert lower(graph).macs_dense == (2 * 40 + 3 * rows) * 64
    assert graph.notes == (
        f"assumed (selected-share): a mask that the data decide keeps {share:.0%} of its elements",
    )


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_lies_between_none_and_all(share: float) -> None:
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        Assumptions(share)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (4, 6)])
def test_what_is_assumed_is_spread_evenly(shape: tuple[int, ...]) -> None:
    count = torch.Size(shape).numel()
    assert int(spread(shape, 0.5).sum()) == count // 2
    even = quantiles(shape)
    assert ((even >= 0) & (even < 1)).all()
    counts = dealt_out((*shape, 3), -1, 3).flatten().bincount(minlength=3)
    assert counts.tolist() == [count] * 3


CAST: dict[str, Callable[[nn.Module], nn.Module]] = {
    "bfloat16": lambda model: model.bfloat16(),
    "half": lambda model: model.half(),
    "double": lambda model: model.double(),
    "to": lambda model: model.to("cpu"),
    "to a device that is not there": lambda model: model.to("cuda"),
    "to a type": lambda model: model.to(torch.bfloat16),
    "to empty": lambda model: model.to_empty(device="cpu"),
    "twice": lambda model: model.half().float(),
    "apply": lambda model: model.apply(lambda module: None),
}


@pytest.mark.parametrize("name", CAST)
def test_a_builder_may_cast_and_move_its_module(name: str) -> None:
    def build() -> tuple[nn.Module, Any]:
        model = nn.Sequential(nn.Embedding(9, 8), nn.LayerNorm(8), nn.Linear(8, 9, bias=False))
        model[2].weight = model[0].weight
        model = CAST[name](model)
        assert model[2].weight is model[0].weight
        return model, torch.ones(2, 3, dtype=torch.long)

    graph = trace(build)
    assert graph.parameters[0].names == ("0.weight", "2.weight")
    dtype = {"bfloat16": "bfloat16", "half": "float16", "double": "float64"}.get(name, "float32")
    dtype = "bfloat16" if name == "to a type" else dtype
    assert {graph.tensors[p.tensor].dtype for p in graph.parameters} == {dtype}


def test_a_traced_module_is_one_like_any_other() -> None:
    plain = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))

    def build() -> tuple[Any, Any]:
        made = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        return torch.jit.trace(made, torch.randn(2, 8)), torch.randn(2, 8)

    expected = lower(trace(plain, torch.randn(2, 8))).macs_dense
    assert lower(trace(build)).macs_dense == expected
    traced: Any = torch.jit.trace(plain, torch.randn(2, 8))
    assert lower(trace(traced, torch.randn(2, 8))).macs_dense == expected


def test_quantization_aware_training_is_traced() -> None:
    def build() -> tuple[nn.Module, Any]:
        from torch.ao import quantization

        model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).train()
        model.qconfig = quantization.get_default_qat_qconfig("x86")  # type: ignore[assignment]
        return quantization.prepare_qat(model), torch.randn(2, 8)

    workload = lower(trace(build))
    assert not workload.uncosted
    assert workload.macs_dense == 2 * 2 * 64 + 3 * 2 * 32


def test_a_loss_over_alignments_follows_the_lengths_that_were_given() -> None:
    loss = nn.CTCLoss()
    labels, given, lengths = torch.ones(2, 9), torch.full((2,), 50), torch.tensor([7, 9])
    graph = trace(
        nn.Sequential(nn.Linear(8, 20), nn.LogSoftmax(-1)),
        torch.randn(50, 2, 8),
        lambda y: loss(y, labels.long(), given, lengths),
    )
    states = {t.shape for op in graph.ops if op.name == "_ctc_loss" for t in graph.outputs_of(op)}
    assert states == {(2,), (2, 50, 19)}
    assert not lower(graph).uncosted
