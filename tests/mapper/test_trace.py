"""Tracing leaves no trace, says what is wrong in one line, and records what ran."""

from __future__ import annotations

import copy
import random
import subprocess
import sys
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn

from weft.mapper.tracing.graph import TrainingGraph
from weft.mapper.tracing.trace import OPTIMIZERS, TraceError, trace
from weft.sim.workload import Stage


class Stateful(nn.Module):
    """Changes whatever a module can change while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.recurrent = nn.LSTM(4, 5, batch_first=True)
        self.dropout = nn.Dropout(0.5)
        self.mean: torch.Tensor
        self.register_buffer("mean", torch.zeros(5))
        self.calls = 0
        self.seen: list[torch.Tensor] = []
        self.scale = torch.tensor(2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        x = self.norm(self.convolution(x)).flatten(2).transpose(1, 2)
        y, _ = self.recurrent(self.dropout(x))
        self.seen.append(y)
        self.mean = 0.9 * self.mean + 0.1 * y.detach().mean((0, 1))
        return y * self.scale


def snapshot(model: nn.Module) -> dict[str, Any]:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "objects": {name: id(tensor) for name, tensor in tensors.items()},
        "values": {name: tensor.detach().clone() for name, tensor in tensors.items()},
        "versions": {name: tensor._version for name, tensor in tensors.items()},
        "gradients": {name: tensor.grad for name, tensor in tensors.items()},
        "training": [module.training for module in model.modules()],
        "attributes": [set(vars(module)) for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    for key in ("objects", "versions", "training", "attributes", "hooks"):
        assert before[key] == after[key], key
    for name, value in before["values"].items():
        assert torch.equal(value, after["values"][name]), name
    for name, gradient in before["gradients"].items():
        assert after["gradients"][name] is gradient, name


def test_a_module_stays_exactly_as_it_was() -> None:
    model, x = Stateful(), torch.randn(2, 3, 6, 6)
    model.dropout.eval()
    model(x).sum().backward()
    model.seen.clear()
    twin = copy.deepcopy(model)
    before, input_version = snapshot(model), x._version
    states = torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)
    trace(model, x, optimizer="adamw")
    assert_same(before, snapshot(model))
    assert model.calls == 1
    assert model.seen == []
    assert x._version == input_version
    assert x.grad is None
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert repr(np.random.get_state(legacy=False)) == repr(states[2])
    torch.manual_seed(3)
    expected = twin(x)
    torch.manual_seed(3)
    assert torch.equal(model(x), expected)


def test_a_module_stays_as_it_was_when_the_trace_fails() -> None:
    model = Stateful()
    before = snapshot(model)
    with pytest.raises(TraceError):
        trace(model, torch.randn(2, 5, 6, 6))
    assert_same(before, snapshot(model))
    model(torch.randn(2, 3, 6, 6))


def test_a_builder_needs_no_memory() -> None:
    def build() -> tuple[nn.Module, Any]:
        wide = 1 << 20  # 4 TiB of weights
        return nn.Linear(wide, wide), torch.randn(8, wide)

    assert trace(build).parameter_count == (1 << 40) + (1 << 20)


def test_a_builder_may_read_small_values_while_it_builds() -> None:
    def build() -> tuple[nn.Module, Any]:
        widths = [int(w) for w in torch.linspace(4, 8, 3).tolist()]
        layers = [nn.Linear(a, b) for a, b in zip([4, *widths], widths, strict=False)]
        return nn.Sequential(*layers), torch.randn(2, 4)

    assert [p.shape for p in trace(build).parameters][0::2] == [(4, 4), (6, 4), (8, 6)]


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.depth: torch.Tensor
        self.register_buffer("depth", torch.tensor(3))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        for _ in range(int(self.depth)):
            x = self.layer(x)
            if torch.isfinite(x).all() and torch.rand(()) > 0.1:
                x = x.relu()
        return x[mask.nonzero()[:, 0]]


def test_control_flow_may_read_inputs_buffers_and_random_numbers() -> None:
    graph = trace(Branching(), (torch.randn(3, 4), torch.tensor([1, 0, 1])))
    forward = [op.name for op in graph.ops if op.stage is Stage.FF]
    assert forward.count("addmm") == 3
    assert forward.count("relu") == 3
    assert {t.shape for op in graph.ops if op.name == "index" for t in graph.outputs_of(op)} == {
        (2, 4)
    }


class Unforeseeable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(400, 400)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        return y if y.sum() > 0 else -y


class Silent(nn.Module):
    def forward(self, x: torch.Tensor) -> str:
        return "no tensor"


def lambda_returning(value: Any) -> Any:
    return lambda: value


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((Silent(), torch.ones(2)), {}, "Silent returned str without a floating-point tensor"),
        ((nn.Linear(3, 4), torch.ones(2, 5)), {}, r"Linear \(aten.addmm.default\): RuntimeError"),
        ((nn.Linear(3, 4),), {}, "Linear needs example inputs"),
        ((nn.LazyLinear(4), torch.ones(2, 3)), {}, "LazyLinear: parameter weight has no shape yet"),
        ((nn.ReLU(), torch.ones(2, 3)), {}, "the loss of ReLU depends on no parameter"),
        ((nn.Linear(3, 4), torch.ones(2, 3), torch.relu), {}, r"the loss of Linear is \(2, 4\)"),
        ((nn.Linear(3, 4), torch.ones(2, 3)), {"optimizer": "lion"}, "optimizer 'lion'.*adamw"),
        ((nn.Linear(3, 4), torch.ones(2, 3)), {"attention": "x"}, "attention 'x'.*math, fused"),
        ((lambda_returning(5),), {}, r"returned int; expected \(model, example_inputs\)"),
        ((lambda: 1 / 0,), {}, "building .*ZeroDivisionError: division by zero"),
        (
            (lambda: (Unforeseeable(), torch.randn(8, 400)),),
            {},
            r"Unforeseeable \(aten._local_scalar_dense.default\): .*depends on the values",
        ),
    ],
)
def test_mistakes_become_one_line(
    arguments: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        trace(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True))
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(x))


@pytest.fixture(scope="module")
def graph() -> TrainingGraph:
    return trace(Norm(), torch.randn(5, 4))


def test_the_graph_is_a_digraph_of_ops_and_tensors(graph: TrainingGraph) -> None:
    digraph = graph.digraph
    assert isinstance(digraph, nx.DiGraph)
    assert nx.is_directed_acyclic_graph(digraph)
    assert {n for n in digraph if n >= 0} == set(range(len(graph.ops)))
    for _, node in digraph.nodes(data=True):
        assert {"op", "stage", "module", "input_shapes", "output_shapes"} <= set(node)
    for source, _, edge in digraph.edges(data=True):
        assert graph.tensors[edge["tensor"]].shape == edge["shape"]
        assert edge["shape"] in digraph.nodes[source]["output_shapes"]
    parameters = {
        data["module"] for _, data in digraph.nodes(data=True) if data["op"] == "parameter"
    }
    assert parameters == {"block.0.weight", "block.0.bias", "head.weight", "head.bias"}


def test_reading_a_graph_needs_no_torch() -> None:
    code = "import sys, weft.mapper.tracing.graph; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_same_model_gives_the_same_graph() -> None:
    first, second = (trace(lambda: (Norm(), torch.randn(5, 4))) for _ in range(2))
    assert first == second


def test_backward_ops_belong_to_the_module_of_their_forward_op(graph: TrainingGraph) -> None:
    places = {(op.name, op.path) for op in graph.ops if op.stage is Stage.BP}
    assert ("mm", "block.0") in places
    assert ("mm", "head") in places
    assert ("threshold_backward", "block.1") in places
    assert ("_log_softmax_backward_data", "loss") in places


def test_every_gradient_is_found(graph: TrainingGraph) -> None:
    for parameter in graph.parameters:
        assert graph.tensors[parameter.gradient].shape == parameter.shape


def test_writes_in_place_are_seen_by_readers(graph: TrainingGraph) -> None:
    relu = next(op for op in graph.ops if op.name == "relu_")
    head = next(op for op in graph.ops if op.name == "addmm" and op.path == "head")
    assert set(relu.outputs) & set(head.inputs)


@pytest.mark.parametrize(("optimizer", "state"), [("sgd", 0), ("sgd-momentum", 1), ("adamw", 2)])
def test_optimizers_by_name(optimizer: str, state: int) -> None:
    assert optimizer in OPTIMIZERS
    found = trace(Norm(), torch.randn(5, 4), optimizer=optimizer)
    assert (found.optimizer, found.optimizer_state) == (optimizer, state)
    assert any(op.stage is Stage.OPTIMIZER for op in found.ops)


def test_any_optimizer() -> None:
    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)

    found = trace(Norm(), torch.randn(5, 4), optimizer=optimizer)
    assert (found.optimizer, found.optimizer_state) == ("sgd-momentum", 1)
    found = trace(Norm(), torch.randn(5, 4), optimizer=torch.optim.RMSprop)
    assert (found.optimizer, found.optimizer_state) == ("rmsprop", 1)


def test_inputs_may_be_keywords_and_losses_functions() -> None:
    found = trace(Norm(), {"x": torch.randn(7, 4)}, lambda y: y.square().sum(), name="mine")
    assert (found.model, found.batch) == ("mine", 7)
    assert {op.name for op in found.ops if op.path == "loss" and op.stage is Stage.FF} == {
        "pow",
        "sum",
    }


def test_models_on_the_meta_device_take_ordinary_inputs() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    found = trace(model, torch.randn(3, 4))
    assert [p.gradient is not None for p in found.parameters] == [True] * 6
    assert all(p.is_meta for p in model.parameters())


def test_a_builder_may_build_on_a_device_that_is_not_there() -> None:
    class OnDevice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(40, 40, device="cuda")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x + torch.ones(40, device=x.device))

    for device in ("cuda", "cpu", "meta"):
        found = trace(lambda: (OnDevice(), torch.randn(30, 40, device=device)))  # noqa: B023
        assert all(parameter.gradient is not None for parameter in found.parameters)


def test_weights_of_a_loss_keep_their_gradients() -> None:
    outside, gradient = torch.ones(3, requires_grad=True), torch.full((3,), 7.0)
    outside.grad = gradient
    trace(Norm(), torch.randn(5, 4), lambda y: (y * outside).sum())
    assert outside.grad is gradient
    assert gradient.tolist() == [7.0] * 3
    outside.grad = None
    trace(Norm(), torch.randn(5, 4), lambda y: (y * outside).sum())
    assert outside.grad is None


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_does_not_matter(context: Any) -> None:
    with context():
        found = trace(lambda: (Norm(), torch.randn(5, 4)))
    assert all(parameter.gradient is not None for parameter in found.parameters)


def test_a_compiled_module_is_traced_as_what_it_wraps() -> None:
    found = trace(torch.compile(Norm()), torch.randn(5, 4))  # type: ignore[arg-type]
    assert found.model == "Norm"
    assert found.parameters[0].name == "block.0.weight"


def test_a_loss_may_be_a_module_and_may_read_parameters() -> None:
    model = Norm()
    measure = nn.MSELoss()

    def loss(y: torch.Tensor) -> torch.Tensor:
        penalty = sum(parameter.square().sum() for parameter in model.parameters())
        return measure(y, torch.zeros(5, 3)) + 1e-4 * penalty

    found = trace(model, torch.randn(5, 4), loss)
    assert {op.path for op in found.ops if op.name == "mse_loss"} == {"loss"}
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.gradient is not None for parameter in found.parameters)
