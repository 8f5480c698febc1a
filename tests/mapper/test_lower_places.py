"""Ops at places: what the lanes go through, what a GPU does, and what no lane program does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from weft.mapper.lowering.lower import lower
from weft.mapper.planning.plan import make_plan
from weft.mapper.planning.unbuilt import without_unbuilt
from weft.mapper.scheduling.schedule import Scheduler
from weft.mapper.tracing.trace import trace
from weft.sim.lanes import Over
from weft.sim.lanes.programs import PROGRAMS, compile_program
from weft.sim.machine import load_machine
from weft.sim.program import Vector, expand
from weft.sim.workload import Scan, VectorOp, Workload

Tensor = torch.Tensor
WIDTH, SAMPLES = 24, 6


class Scored(nn.Module):
    """A layer, and an op on what it makes."""

    def __init__(self, then: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(16, WIDTH)
        self.then = then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.layer(x))


def step_of(then: Callable[[Tensor], Tensor]) -> Workload:
    return lower(trace(lambda: (Scored(then), torch.randn(SAMPLES, 16))))


def found(step: Workload, op: str) -> VectorOp:
    return next(item for item in step.items if isinstance(item, VectorOp) and item.op == op)


def passes(name: str, *constants: float) -> int:
    return compile_program(name, PROGRAMS[name].overs[-1], constants=constants).passes


BUILT: dict[str, Callable[[Tensor], Any]] = {
    "topk": lambda x: x.topk(2).values,
    "sort": lambda x: x.sort().values,
    "kthvalue": lambda x: x.kthvalue(3).values,
    "argmax": lambda x: x * functional.one_hot(x.argmax(1), WIDTH),
    "max with places": lambda x: x.max(1).values,
    "gather": lambda x: x.gather(1, x.argmin(1, keepdim=True)),
    "scatter": lambda x: x.scatter(1, x.argmin(1, keepdim=True), 0.0),
    "cumsum": lambda x: x.cumsum(1) + x.cumprod(1) + x.cummax(1).values,
    "prod": lambda x: x.prod(1) + x.nansum(1) + x.count_nonzero(1),
    "interpolation": lambda x: functional.interpolate(
        x.reshape(SAMPLES, 2, 3, 4), scale_factor=2, mode="bilinear"
    ),
    "nearest": lambda x: functional.interpolate(x.reshape(SAMPLES, 2, 3, 4), scale_factor=2),
    "complex": lambda x: torch.view_as_real(
        torch.polar(x.abs(), x) * torch.view_as_complex(x.reshape(SAMPLES, WIDTH // 2, 2))[:, :1]
    ),
    "angles": lambda x: torch.atan2(x, x + 1) + torch.asin(torch.tanh(x)) + torch.sinh(x),
    "matrix times vector": lambda x: x.mv(x[0]),
    "random": lambda x: x * torch.randn_like(x) * torch.rand_like(x),
    "mirrored edges": lambda x: functional.pad(
        x.reshape(SAMPLES, 2, 3, 4), (1, 1, 1, 1), "reflect"
    ),
    "powers": lambda x: x.pow(3) + x.abs().pow(x) + 2.0**x,
    "errors": lambda x: functional.mse_loss(x, x * 2) + functional.huber_loss(x, x * 2),
    "moments": lambda x: torch.var_mean(x, 1)[0],
    "slopes": lambda x: functional.prelu(x, x[0, :1]),
    "shrinking": lambda x: functional.softshrink(x) + functional.hardshrink(x),
}


@pytest.mark.parametrize("name", BUILT)
def test_the_lanes_have_a_program_for_every_op(name: str) -> None:
    step = step_of(BUILT[name])
    ops = [item for item in step.items if isinstance(item, VectorOp)]
    assert not step.uncosted
    assert not [op.op for op in ops if op.unbuilt]
    assert all(program in PROGRAMS for op in ops for program in op.programs)
    plan = make_plan(step, Scheduler(load_machine("sat-8x8")))
    assert not plan.workload.uncosted
    issued = [
        work.passes * work.elements
        for instruction in expand(plan.program.body)
        if isinstance(work := instruction.work, Vector)
    ]
    assert sum(issued) >= sum((op.scan or op).elements * (op.scan or op).passes for op in ops)


UNBUILT: dict[str, Callable[[Tensor], Tensor]] = {
    "index_select": lambda x: x.index_select(0, x.argmax(0) % SAMPLES),
    "index_add": lambda x: x.index_add(0, x[0, :SAMPLES].argsort(), x),
    "i0": torch.special.i0,
    "grid_sampler_2d": lambda x: functional.grid_sample(
        x.reshape(SAMPLES, 2, 3, 4), torch.tanh(x[:, :8]).reshape(SAMPLES, 2, 2, 2),
        align_corners=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNBUILT)
def test_what_has_no_program_is_listed_and_not_priced_in_lanes(name: str) -> None:
    step = step_of(UNBUILT[name])
    named = {op.op for op in without_unbuilt(step).uncosted}
    assert any(name in op for op in named)


def test_a_loss_by_labels_goes_through_all_scores_on_lanes_only() -> None:
    step = step_of(lambda x: x)  # whose default loss is that of classes
    forward, backward = (found(step, f"nll_loss_{way}") for way in ("forward", "backward"))
    scores = SAMPLES * WIDTH
    assert (forward.elements, forward.reads) == (SAMPLES, 2 * SAMPLES)
    assert forward.scan == Scan(scores, passes("lookup"), scores + 2 * SAMPLES, SAMPLES)
    assert backward.scan == Scan(scores, passes("one_hot"), 3 * SAMPLES, scores)


def test_an_error_is_worked_out_for_every_element_although_one_number_leaves() -> None:
    error = found(step_of(lambda x: functional.mse_loss(x, 2 * x)), "mse_loss")
    assert (error.elements, error.passes) == (SAMPLES * WIDTH, 3)


def test_few_are_selected_and_many_sorted_for() -> None:
    few = found(step_of(lambda x: x.topk(2).values), "topk")
    assert few.programs == ("largest",)
    assert few.scan is not None
    assert few.scan.passes == passes("largest", 2.0)
    many = found(step_of(lambda x: x.topk(20).values), "topk")
    assert many.programs == ("sort_step", "sort_move")
    assert many.scan is not None
    stages = 15  # of 24 elements, as of 32
    assert many.scan.elements == SAMPLES * WIDTH // 2 * stages


def test_rows_by_indices_that_the_host_can_work_out_are_copied() -> None:
    class Relative(nn.Module):
        """Attention's positions by distance, in buckets."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, WIDTH)
            self.table = nn.Embedding(9, WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            near = torch.arange(SAMPLES)
            apart = (near[None] - near[:, None]).abs().clamp(max=8)
            return self.layer(x) + self.table(apart).sum(0)

    step = lower(trace(lambda: (Relative(), torch.randn(SAMPLES, 16))))
    assert found(step, "embedding").programs == ("copy",)
    assert found(step, "embedding_dense_backward").programs == ("add",)


def test_rows_apart_and_rows_over_everything_cost_the_same_per_element() -> None:
    for name in ("lookup", "one_hot", "scatter", "scatter_add", "argmax"):
        ways = {compile_program(name, over).passes for over in (Over.ALL, Over.APART)}
        assert len(ways) == 1
