"""What has an extent of zero costs nothing on any machine, and never divides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from weft.mapper.lowering.lower import lower
from weft.mapper.tracing.trace import TraceError, trace
from weft.sim.workload import Product, VectorOp, Workload
from weft.simulation import Settings, simulate_workload

MACHINES = ("sat-8x8", "h100-sxm")

Function = Callable[[torch.Tensor], Any]


class Beside(nn.Module):
    """A layer, and beside it what ``function`` makes of its output."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        made = self.function(y)
        parts = made if isinstance(made, (tuple, list)) else (made,)
        floating = [part for part in parts if part.is_floating_point()]
        return y.square().mean() + sum(part.sum() for part in floating)


def beside(function: Function) -> Callable[[], Any]:
    return lambda: (Beside(function), torch.randn(4, 8), lambda loss: loss)


def empty(y: torch.Tensor, *shape: int) -> torch.Tensor:
    """An empty part of ``y``, through which gradients flow."""
    return y.flatten()[:0].reshape(shape)


def costs(workload: Workload) -> dict[str, int]:
    """Elements and multiply-accumulates by op, of what is no sum or fill of its results."""
    found: dict[str, int] = {}
    for item in workload.items:
        size = item.macs_dense if isinstance(item, Product) else item.elements
        found[getattr(item, "op", "other")] = found.get(getattr(item, "op", "other"), 0) + size
    return found


OPS: dict[str, Function] = {
    "cat": lambda y: torch.cat([y.new_empty(0), y.flatten()]),
    "mm": lambda y: empty(y, 0, 8) @ y.t(),
    "mm over nothing": lambda y: empty(y, 4, 0) @ empty(y, 0, 6),
    "addmm over nothing": lambda y: torch.addmm(y[0], empty(y, 3, 0), empty(y, 0, 8)),
    "bmm": lambda y: torch.bmm(empty(y, 0, 4, 8), empty(y, 0, 8, 3)),
    "mv": lambda y: torch.mv(empty(y, 0, 8), y[0]),
    "linear of nothing": lambda y: functional.linear(empty(y, 0, 8), y),
    "attention of nothing": lambda y: functional.scaled_dot_product_attention(
        empty(y, 2, 0, 8), y.reshape(2, 2, 8), y.reshape(2, 2, 8)
    ),
    "convolution": lambda y: functional.conv2d(
        empty(y, 0, 2, 4, 4), y.flatten()[:18].reshape(1, 2, 3, 3)
    ),
    "softmax": lambda y: empty(y, 0, 8).softmax(-1),
    "softmax of empty rows": lambda y: empty(y, 3, 0).softmax(-1),
    "log_softmax": lambda y: empty(y, 0, 8).log_softmax(-1),
    "layer_norm": lambda y: functional.layer_norm(empty(y, 0, 8), (8,)),
    "group_norm": lambda y: functional.group_norm(empty(y, 0, 8, 4), 2),
    "batch_norm": lambda y: functional.batch_norm(
        empty(y, 0, 8), torch.zeros(8), torch.ones(8), training=False
    ),
    "sum": lambda y: empty(y, 0, 8).sum(0),
    "mean": lambda y: empty(y, 3, 0).mean(0),
    "max": lambda y: empty(y, 0, 8).max(1),
    "cumsum": lambda y: empty(y, 0, 8).cumsum(1),
    "sort": lambda y: empty(y, 0, 8).sort(),
    "sort of one": lambda y: y[:, :1].sort(),
    "topk of none": lambda y: y.topk(0),
    "topk": lambda y: empty(y, 0, 8).topk(2),
    "gather": lambda y: y.gather(1, torch.zeros(4, 0, dtype=torch.long)),
    "scatter_add": lambda y: y.scatter_add(1, torch.zeros(4, 0, dtype=torch.long), empty(y, 4, 0)),
    "index": lambda y: y[torch.zeros(0, dtype=torch.long)],
    "index_put": lambda y: y.index_put((torch.zeros(0, dtype=torch.long),), empty(y, 0, 8)),
    "index_add": lambda y: y.index_add(0, torch.zeros(0, dtype=torch.long), empty(y, 0, 8)),
    "index_select": lambda y: y.index_select(0, torch.zeros(0, dtype=torch.long)),
    "embedding": lambda y: functional.embedding(torch.zeros(0, dtype=torch.long), y),
    "gelu": lambda y: functional.gelu(empty(y, 0, 8)),
    "power": lambda y: empty(y, 0, 8) ** 3,
    "dropout": lambda y: functional.dropout(empty(y, 0, 8), 0.5),
    "where": lambda y: torch.where(empty(y, 0, 8) > 0, empty(y, 0, 8), 0.0),
    "max_pool": lambda y: functional.max_pool2d(empty(y, 0, 2, 4, 4), 2),
    "avg_pool": lambda y: functional.avg_pool2d(empty(y, 0, 2, 4, 4), 2),
    "adaptive_pool": lambda y: functional.adaptive_avg_pool2d(empty(y, 0, 2, 4, 4), 1),
    "pad": lambda y: functional.pad(empty(y, 0, 8), (1, 1)),
    "repeat": lambda y: y.repeat(0, 1),
    "stack": lambda y: torch.stack([empty(y, 0, 8), empty(y, 0, 8)]),
    "split": lambda y: y.split([0, 8], dim=1),
    "cross_entropy": lambda y: functional.cross_entropy(
        empty(y, 0, 8), torch.zeros(0, dtype=torch.long), reduction="sum"
    ),
    "mse_loss": lambda y: functional.mse_loss(empty(y, 0, 8), empty(y, 0, 8), reduction="sum"),
    "random": lambda y: torch.randn(0, 8) * empty(y, 0, 8),
    "cdist": lambda y: torch.cdist(empty(y, 0, 8), y),
}


@pytest.mark.parametrize("name", OPS)
def test_an_op_of_nothing_is_nothing(name: str) -> None:
    workload = lower(trace(beside(OPS[name])))
    for position, item in enumerate(workload.items):
        assert (item.macs_dense if isinstance(item, Product) else item.elements) > 0
        assert all(0 <= source < position for source in item.inputs)
        if isinstance(item, VectorOp) and item.scan is not None:
            assert item.scan.elements > 0
    for machine in MACHINES:
        assert simulate_workload(workload, Settings().on(machine)).time_s > 0


PRODUCTS = [name for name in OPS if "mm" in name or "nothing" in name or name == "convolution"]


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_of_nothing_is_none(name: str) -> None:
    assert len(lower(trace(beside(OPS[name]))).products) == 2  # the layer's own


def test_an_empty_part_of_a_cat_is_not_there() -> None:
    alone = lower(trace(beside(lambda y: torch.cat([y.flatten()]))))
    with_empty = lower(trace(beside(lambda y: torch.cat([y.new_empty(0), y.flatten()]))))
    assert costs(with_empty) == costs(alone)


@pytest.mark.parametrize("inputs", [torch.zeros(0, 8), (torch.zeros(0, 8), torch.zeros(4, 8))])
def test_a_batch_of_no_samples_is_refused(inputs: Any) -> None:
    with pytest.raises(TraceError, match=r"\(0, 8\).*no samples") as caught:
        trace(nn.Bilinear(8, 8, 3) if isinstance(inputs, tuple) else nn.Linear(8, 8), inputs)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 3),
    depth=st.integers(0, 3),
    columns=st.integers(0, 3),
    batch=st.integers(0, 2),
)
def test_any_product_costs_its_extents(rows: int, depth: int, columns: int, batch: int) -> None:
    class Batched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(batch, depth, columns))
            self.layer = nn.Linear(depth, depth, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) @ self.weight

    inputs = {"x": torch.zeros(batch, rows, depth)}
    if not batch:
        with pytest.raises(TraceError, match="no samples"):
            trace(Batched(), inputs, lambda y: y.sum())
        return
    workload = lower(trace(Batched(), inputs, lambda y: y.sum()))
    layer = 2 * batch * rows * depth * depth
    assert workload.macs_dense == layer + 3 * batch * rows * depth * columns
    run = simulate_workload(workload, Settings().on("sat-8x8"))
    assert run.result.total.macs_dense == workload.macs_dense
