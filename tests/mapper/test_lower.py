"""What each op of a training graph becomes."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.mapper.counting import Build
from tests.mapper.test_trace_against_flop_counter import BUILDS
from weft.mapper.lowering.context import owner_and_leaf
from weft.mapper.lowering.lower import edge_layers, lower
from weft.mapper.lowering.registry import REGISTRY
from weft.mapper.lowering.table import FREE, MOVES, OVERWRITES, POINTWISE, SWEEPS
from weft.mapper.planning.plan import make_plan
from weft.mapper.planning.unbuilt import without_unbuilt
from weft.mapper.scheduling.schedule import Scheduler
from weft.mapper.tracing.trace import trace
from weft.sim.machine import load_machine
from weft.sim.program import Channel, check_program, expand
from weft.sim.workload import Product, Role, Stage, UpdateOp, VectorOp, Workload


def workload(build: Build, **options: Any) -> Workload:
    return lower(trace(build, **options))


def named(found: Workload, name: str, stage: Stage) -> Product:
    return next(p for p in found.products if (p.name, p.stage) == (name, stage))


def vector(found: Workload, op: str) -> VectorOp:
    return next(item for item in found.items if isinstance(item, VectorOp) and item.op == op)


class Residual(nn.Module):
    """Two convolutions around a shortcut, a pooled classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=2)
        self.shortcut = nn.Conv2d(8, 8, 1, stride=2, bias=False)
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = self.inner(x) + self.shortcut(x)
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def residual() -> Workload:
    return workload(lambda: (Residual(), torch.randn(4, 3, 8, 8)))


def test_sizes_of_a_grouped_convolution_in_each_stage(residual: Workload) -> None:
    sizes = {
        stage: (p.m, p.k, p.n, p.batch)
        for stage in (Stage.FF, Stage.BP, Stage.WU)
        for p in [named(residual, "inner", stage)]
    }
    assert sizes == {
        Stage.FF: (4 * 4 * 4, 4 * 9, 4, 2),
        Stage.BP: (4 * 4 * 4, 4 * 9, 4, 2),
        Stage.WU: (4 * 9, 4 * 4 * 4, 4, 2),
    }


def test_operands_say_what_they_are(residual: Workload) -> None:
    forward = named(residual, "inner", Stage.FF)
    backward = named(residual, "inner", Stage.BP)
    update = named(residual, "inner", Stage.WU)
    pixels, kernel, out = 4 * 8 * 8 * 8, 8 * 4 * 9, 4 * 8 * 4 * 4
    assert (forward.left.role, forward.left.elements) == (Role.ACTIVATION, pixels)
    assert (forward.right.role, forward.right.elements) == (Role.WEIGHT, kernel)
    assert (backward.left.role, backward.left.elements) == (Role.GRADIENT, out)
    assert backward.right == forward.right
    assert (update.left, update.right) == (forward.left, backward.left)
    assert update.output.parameter == forward.right.parameter == "inner.weight"
    assert (update.output.role, backward.output.role) == (Role.WEIGHT, Role.GRADIENT)


def test_convolutions_keep_their_geometry(residual: Workload) -> None:
    geometry = named(residual, "inner", Stage.WU).convolution
    assert geometry is not None
    assert geometry == named(residual, "inner", Stage.FF).convolution
    assert (geometry.images, geometry.in_channels, geometry.out_channels) == (4, 4, 4)
    assert (geometry.in_size, geometry.out_size) == ((8, 8), (4, 4))
    assert (geometry.kernel, geometry.stride, geometry.padding) == ((3, 3), (2, 2), (1, 1))


def test_the_first_layer_has_no_input_gradient(residual: Workload) -> None:
    stages = {p.stage for p in residual.products if p.name == "stem"}
    assert stages == {Stage.FF, Stage.WU}


def test_stem_and_classifier(residual: Workload) -> None:
    roles = edge_layers(residual)
    assert roles.stem == {"stem"}
    assert roles.classifier == {"head"}


def test_an_input_norm_does_not_hide_the_stem() -> None:
    model = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    roles = edge_layers(workload(lambda: (model, torch.randn(3, 8))))
    assert (roles.stem, roles.classifier) == ({"1"}, {"3"})


def test_a_recurrent_network_without_a_head_has_one_classifier() -> None:
    roles = edge_layers(workload(BUILDS["lstm"]))
    assert len(roles.classifier) == 1


def test_every_parameter_is_updated_once_after_its_gradient(residual: Workload) -> None:
    updates = [item for item in residual.items if isinstance(item, UpdateOp)]
    assert {u.parameter: u.elements for u in updates} == {
        "stem.weight": 216, "norm.weight": 8, "norm.bias": 8, "inner.weight": 288,
        "inner.bias": 8, "shortcut.weight": 64, "head.weight": 80, "head.bias": 10,
    }  # fmt: skip
    assert all((u.optimizer, u.state) == ("sgd-momentum", 1) for u in updates)
    for update in updates:
        (source,) = update.inputs
        maker = residual.items[source]
        if isinstance(maker, Product):
            assert maker.output.parameter == update.parameter


def test_traffic_of_a_batch_norm(residual: Workload) -> None:
    forward = vector(residual, "_native_batch_norm_legit")
    pixels = 4 * 8 * 8 * 8
    assert forward.elements == pixels
    assert 2 * pixels <= forward.reads <= 2 * pixels + 4 * 8
    assert pixels <= forward.writes <= pixels + 4 * 8
    backward = vector(residual, "native_batch_norm_backward")
    assert 4 * pixels <= backward.reads <= 4 * pixels + 5 * 8


def test_an_elementwise_op_comes_after_its_full_sized_input(residual: Workload) -> None:
    add = next(
        item
        for item in residual.items
        if isinstance(item, VectorOp) and item.op == "add" and item.stage is Stage.FF
    )
    assert add.elementwise
    assert {residual.items[i].name for i in add.inputs} == {"inner", "shortcut"}
    assert add.inputs[0] == max(add.inputs)


@pytest.mark.parametrize("name", BUILDS)
def test_workloads_are_well_formed(name: str) -> None:
    found = workload(BUILDS[name])
    assert not found.uncosted
    for position, item in enumerate(found.items):
        assert all(0 <= source < position for source in item.inputs)
        if isinstance(item, VectorOp):
            assert item.elements > 0 or item.reads == item.writes == 0
            assert item.passes > 0
        if isinstance(item, Product):
            assert min(item.m, item.k, item.n, item.batch) > 0
            check_operands(item)


def check_operands(product: Product) -> None:
    """A plain product's operands hold at most its matrices' elements, and the output all."""
    if product.convolution is None:
        m, k, n, batch = product.m, product.k, product.n, product.batch
        assert product.left.elements <= m * k * batch
        assert product.right.elements <= k * n * batch
        assert product.output.elements == m * n * batch


def test_uses_of_a_shared_weight_are_numbered() -> None:
    found = workload(BUILDS["shared weight"])
    assert [p.name for p in found.products if p.stage is Stage.FF] == [
        "layer", "layer#2", "layer#3"
    ]  # fmt: skip
    assert [p.name for p in found.products if p.stage is Stage.WU] == [
        "layer#3", "layer#2", "layer"
    ]  # fmt: skip
    assert {p.right.parameter for p in found.products if p.stage is Stage.BP} == {"layer.weight"}


def test_products_of_an_attention_are_told_apart() -> None:
    found = workload(BUILDS["transformer"])
    names = [p.name for p in found.products if p.stage is Stage.FF]
    assert "encoder.layers.0.self_attn:qk" in names
    assert "encoder.layers.0.self_attn:pv" in names
    assert "encoder.layers.0.self_attn:in_proj_weight" in names
    assert "encoder.layers.0.self_attn.out_proj" in names
    assert len(set(names)) == len(names)


def test_a_tied_weight_is_named_by_layer_and_by_parameter() -> None:
    found = workload(BUILDS["attention"])
    assert named(found, "head", Stage.FF).right.parameter == "embedding.weight"
    assert named(found, "head", Stage.WU).output.parameter == "embedding.weight"


def test_a_weight_on_the_left_is_brought_to_the_right() -> None:
    product = named(workload(BUILDS["weight on the left"]), "WeightOnTheLeft", Stage.FF)
    assert (product.right.role, product.right.parameter) == (Role.WEIGHT, "weight")
    assert product.left.role is Role.ACTIVATION


def test_a_pruned_weight_is_still_a_weight() -> None:
    found = workload(BUILDS["pruned"])
    forward = next(p for p in found.products if p.stage is Stage.FF)
    update = next(p for p in found.products if p.stage is Stage.WU and p.output.elements == 128)
    assert (forward.right.role, forward.right.parameter) == (Role.WEIGHT, "0.weight_orig")
    assert update.output.parameter == "0.weight_orig"
    assert forward.name == update.name == "0"


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("a.b.weight", ("a.b", "weight")),
        ("weight", ("", "weight")),
        ("a.weight_orig", ("a", "weight")),
        ("a.b.parametrizations.weight.original", ("a.b", "weight")),
        ("parametrizations.weight.original1", ("", "weight")),
        ("a.weight_v", ("a", "weight")),
        ("lstm.weight_ih_l0", ("lstm", "weight_ih_l0")),
    ],
)
def test_layers_keep_their_names_when_weights_are_wrapped(
    parameter: str, expected: tuple[str, str]
) -> None:
    assert owner_and_leaf(parameter) == expected


def test_recomputed_products_run_forward_a_second_time() -> None:
    found = workload(BUILDS["checkpoint"])
    forward = [p.name for p in found.products if p.stage is Stage.FF]
    assert {"block.0", "block.0:recompute"} <= set(forward)
    assert "block.0:recompute" not in {p.name for p in found.products if p.stage is not Stage.FF}


class Fused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.layer(x).unflatten(-1, (4, 4)).transpose(1, 2)
        return functional.scaled_dot_product_attention(q, q, q)


def test_fused_attention_keeps_scores_out_of_memory() -> None:
    found = workload(lambda: (Fused(), torch.randn(2, 9, 16)), attention="fused")
    softmax = vector(found, "softmax")
    assert softmax.reads == softmax.writes == 0
    assert softmax.elements == 2 * 4 * 9 * 9
    assert sum(p.op == "attention" for p in found.products) == 2
    assert sum(p.op == "attention_backward" for p in found.products) == 5


@pytest.mark.parametrize("name", ["silu", "mish"])
def test_a_gradient_with_a_kernel_of_its_own_is_one_op(name: str) -> None:
    def build() -> tuple[nn.Module, Any]:
        return nn.Sequential(nn.Linear(8, 8), _Applied(name), nn.Linear(8, 4)), torch.randn(6, 8)

    found = workload(build)
    assert vector(found, f"{name}_backward").elements == 48
    assert not [item for item in found.items if isinstance(item, VectorOp) and item.op == "sigmoid"]


class _Applied(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.function = getattr(functional, name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.function(x)
        return made


class Filled(nn.Module):
    """Fills a tensor long after it was made, and after others that are waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        with torch.no_grad():
            held, other = torch.cumsum(y, 1), torch.cumsum(x, 1)
            held.fill_(3.0)
        return self.last(y * held * other)


@pytest.mark.parametrize("machine", ["sat-8x8", "sat-vcu1525"])
def test_what_loads_nothing_waits_for_nobody(machine: str) -> None:
    found = workload(lambda: (Filled(), torch.randn(32, 64)))
    fill = vector(found, "fill_")
    assert fill.reads == 0
    assert fill.inputs
    plan = make_plan(found, Scheduler(load_machine(machine)))
    check_program(plan.program)
    held = dict.fromkeys(Channel, 0)
    for instruction in expand(plan.program.body):
        for channel in instruction.signals:
            held[channel] += 1
        for channel in instruction.waits:
            held[channel] -= 1
    assert held[Channel.STORED] == 0


def test_an_embedding_reads_rows_and_not_the_table() -> None:
    def build() -> tuple[nn.Module, Any]:
        table = nn.Sequential(nn.Embedding(1000, 16), nn.Linear(16, 2))
        return table, torch.randint(0, 1000, (4, 5))

    gather = vector(workload(build), "embedding")
    assert (gather.reads, gather.writes) == (4 * 5 * 16 + 4 * 5, 4 * 5 * 16)


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        return torch.fft.rfft(y).abs() + torch.special.i0(x)[:, :3]


def test_nothing_is_dropped_in_silence() -> None:
    found = workload(lambda: (Unknown(), torch.randn(6, 4)))
    assert {u.op for u in found.uncosted} >= {"aten._fft_r2c.default"}
    assert vector(found, "i0").unbuilt
    on_lanes = without_unbuilt(found)
    assert {u.op for u in on_lanes.uncosted} >= {"aten._fft_r2c.default", "i0"}
    assert not any(isinstance(item, VectorOp) and item.unbuilt for item in on_lanes.items)
    fft = next(u for u in found.uncosted if u.op == "aten._fft_r2c.default")
    assert (fft.name, fft.stage, fft.elements, fft.count) == ("Unknown", Stage.FF, 18, 1)


@pytest.mark.parametrize("name", BUILDS)
def test_every_op_is_accounted_for(name: str) -> None:
    """Each op outside the optimizer has a rule, is a view, is free, or is in the tables."""
    graph = trace(BUILDS[name])
    for op in graph.ops:
        in_place = op.name.rstrip("_") if op.name.endswith("_") else op.name
        known = (REGISTRY, FREE, POINTWISE)
        assert (
            op.stage is Stage.OPTIMIZER
            or op.view
            or any(op.name in table or in_place in table for table in known)
        ), op.op


@pytest.mark.parametrize("table", [FREE, MOVES, OVERWRITES, POINTWISE, SWEEPS, REGISTRY])
def test_tables_name_real_ops(table: Any) -> None:
    aten, profiler = torch.ops.aten, torch.ops.profiler
    others = {"nms"}  # of torchvision
    known = [*dir(aten), *others]
    missing = [
        n for n in table if n not in known and not (hasattr(aten, n) or hasattr(profiler, n))
    ]
    assert not missing


def test_who_waits_for_an_op_left_out_waits_for_what_it_waits_for() -> None:
    found = workload(lambda: (Unknown(), torch.randn(6, 4)))
    shorter = without_unbuilt(found)
    assert len(shorter.items) < len(found.items)
    for place, item in enumerate(shorter.items):
        assert all(0 <= source < place for source in item.inputs)
    before = {op.op: op for op in found.items if isinstance(op, VectorOp)}
    after = {op.op: op for op in shorter.items if isinstance(op, VectorOp)}
    assert set(before) - set(after) == {u.op for u in shorter.uncosted} & set(before)
    assert without_unbuilt(shorter) is shorter


def test_windows_of_pools_are_swept_once() -> None:
    def build() -> tuple[nn.Module, Any]:
        layers = nn.Conv2d(3, 4, 1), nn.MaxPool2d(3, 2), nn.AvgPool2d((2, 1)), nn.Flatten()
        return nn.Sequential(*layers), torch.randn(2, 3, 9, 9)

    found = workload(build)
    # Nine elements of four operations and five around them; two of one and two around them.
    assert vector(found, "max_pool2d_with_indices").passes == 9 * 4 + 5
    assert vector(found, "avg_pool2d").passes == 2 * 1 + 2
    assert vector(found, "avg_pool2d").elements == prod((2, 4, 2, 4))


def test_dropout_and_activation_are_elementwise() -> None:
    class Feed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.dropout(functional.gelu(self.layer(x)), 0.1)

    found = workload(lambda: (Feed(), torch.randn(4, 8)))
    gelu = vector(found, "gelu")
    assert gelu.elementwise
    assert (gelu.reads, gelu.writes, gelu.elements) == (32, 32, 32)
    assert isinstance(found.items[gelu.inputs[0]], VectorOp)
    assert found.items[gelu.inputs[0]].name == "layer"
