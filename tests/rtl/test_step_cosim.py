"""Whole training steps: what ``weft simulate`` schedules, in Verilog, with torch's values."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from tests.rtl.small_network import small_network
from weft import emulation
from weft.emulation import LayerPatterns, emulate_step, sgd_momentum
from weft.mapper.placement.place import Hyperparameters, place
from weft.mapper.pricing.settings import GpuSettings, SatSettings
from weft.mapper.scheduling.words import LayoutError
from weft.rtl.cosimulation.simulate import Pauses
from weft.sim.engine import Engine
from weft.sim.machine import load_machine
from weft.sim.reference.stepper import run_program
from weft.simulation import Settings, simulate_model
from weft.step_cosim import cosim_step, prepare

WORDS = "sat-4x4-words"
MODEL = f"{Path(__file__).with_name('small_network.py')}:small_network"
BDWP = Settings(recipe="bdwp", pattern="2:8", dense_stem=False, dense_classifier=False).on(WORDS)


def test_a_scheduled_step_in_verilog_gives_torchs_weights() -> None:
    result = cosim_step(MODEL, BDWP)
    assert result.agrees, (result.cosim.differences, result.checked)
    run = simulate_model(small_network, settings=BDWP)
    assert run.cycles == result.cosim.rtl_cycles == result.cosim.engine_cycles > 50_000
    assert result.cosim.reference_cycles == run.cycles
    halves = [check for check in result.checked if check.tensor.endswith(":half")]
    assert sum(check.values for check in halves) == 9 * 16 * 16 + 9 * 16 * 32 + 32 * 16
    units = {step.queue for step in result.cosim.instructions}
    assert units == {"LOAD", "STORE", "STCE", "SORE", "WUVE"}


@pytest.mark.parametrize(
    ("change", "pauses"),
    [
        ({"pattern": "4:8"}, Pauses(50, 60, 30, 40, 20)),
        ({"pattern": "1:4", "dense_stem": True}, Pauses()),
        ({"optimizer": "adamw"}, Pauses()),
        ({"machine": SatSettings(WORDS, "overlap,double-buffering,offline-scheduling")}, Pauses()),
    ],
)
def test_other_steps_agree_too(change: dict[str, object], pauses: Pauses) -> None:
    result = cosim_step(MODEL, dataclasses.replace(BDWP, **change), seed=3, pauses=pauses)  # pyright: ignore
    assert result.cosim.agrees, result.cosim.differences
    assert not any(check.different for check in result.checked)
    assert (result.cosim.rtl_cycles == result.scheduled_cycles) == (pauses == Pauses())


@pytest.mark.parametrize("activation", ["gelu", "silu", "tanh"])
def test_a_step_with_another_activation_agrees(activation: str) -> None:
    model = f"{Path(__file__).with_name('small_network.py')}:{activation}_network"
    result = cosim_step(model, BDWP, seed=6)
    assert result.agrees, (result.cosim.differences, result.checked)


@pytest.mark.deep
def test_a_larger_step_agrees() -> None:
    machine = Path(__file__).with_name("small_network.py")
    result = cosim_step(f"{machine}:larger_network", BDWP, seed=4)
    assert result.agrees, (result.cosim.differences, result.checked)
    assert result.cosim.rtl_cycles > 500_000


Activation = Callable[[Tensor], Tensor]
ACTIVE: list[Activation] = [
    torch.relu, functional.gelu, functional.silu, torch.tanh, torch.sigmoid, functional.hardswish,
    functional.hardsigmoid, functional.mish,
]  # fmt: skip


class Residual(nn.Module):
    """A strided first convolution, a branch that is added back, and scores of each pixel."""

    def __init__(
        self, channels: int, kernel: int, stride: int, scores: int, activation: Activation
    ) -> None:
        super().__init__()
        self.activation = activation
        self.first = _conv(16, channels, 3, stride, 1)
        self.branch = _conv(channels, channels, kernel, 1, kernel // 2)
        self.head = nn.Linear(channels, scores, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.activation(self.first(images))
        found = self.activation(self.branch(stem) + stem)
        scores: Tensor = self.head(found.permute(0, 2, 3, 1))
        return scores


def _conv(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
    layer.weight = nn.Parameter(layer.weight.contiguous(memory_format=torch.channels_last))
    return layer


class Perceptron(nn.Module):
    """Linear layers only."""

    def __init__(self, sizes: list[int], activation: Activation = torch.relu) -> None:
        super().__init__()
        self.activation = activation
        pairs = itertools.pairwise(sizes)
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        scores: Tensor = self.layers[-1](x)
        return scores


Built = tuple[nn.Module, Tensor, Callable[[Tensor], Tensor]]


@st.composite
def networks(draw: st.DrawFn) -> Callable[[], Built]:
    """Builders of small networks that words can hold."""
    sixteens = st.integers(1, 3).map(lambda count: 16 * count)
    activation = draw(st.sampled_from(ACTIVE))
    if draw(st.booleans()):
        sizes = draw(st.lists(sixteens, min_size=3, max_size=4))
        rows = 4 * draw(st.integers(1, 9))
        return lambda: (Perceptron(sizes, activation), torch.randn(rows, sizes[0]), _loss)
    channels, scores = draw(sixteens), draw(sixteens)
    kernel, stride = draw(st.sampled_from([1, 3])), draw(st.sampled_from([1, 2]))
    images, size = draw(st.integers(1, 3)), draw(st.sampled_from([4, 8]))

    def build() -> Built:
        example = torch.randn(images, 16, size, size).contiguous(memory_format=torch.channels_last)
        return Residual(channels, kernel, stride, scores, activation), example, _loss

    return build


def _loss(scores: Tensor) -> Tensor:
    return (scores * scores).mean()


def _two_layers() -> Built:
    return Perceptron([16, 48, 16]), torch.randn(4, 16), _loss


@example(_two_layers, "1:4", "sgd-momentum", True)  # its last product would like to run last
@given(
    networks(),
    st.sampled_from(["1:4", "2:4", "2:8", "4:8"]),
    st.sampled_from(["sgd", "sgd-momentum", "adamw"]),
    st.booleans(),
)
@settings(max_examples=16, deadline=None)
def test_any_network_steps_as_torch_does(
    build: Callable[[], Built], pattern: str, optimizer: str, dense_stem: bool
) -> None:
    """Without the Verilog: the reference steps the placed program, the engine times it."""
    chosen = dataclasses.replace(BDWP, pattern=pattern, optimizer=optimizer, dense_stem=dense_stem)
    plan, step, case = prepare(build, "network", chosen, 5, Hyperparameters())
    machine = load_machine("sat-4x4-words")
    ran = run_program(case.program, machine, case.memory, case.tensors)
    assert ran.cycles == Engine(machine).run(plan.program).cycles
    assert Engine(machine).run(case.program).cycles == ran.cycles
    checks = step.check(case, ran.memory, Hyperparameters())
    assert [check for check in checks if check.different] == []


def test_the_emulation_is_near_pytorch_itself() -> None:
    torch.manual_seed(0)
    network, images, loss = small_network()
    dense = {f"{name}.weight": LayerPatterns() for name in ("first", "second", "head")}
    made = emulate_step(network, images.half(), loss, dense)
    network.zero_grad()
    loss(network(images)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        error = (made.gradients[name].float() - parameter.grad).norm() / parameter.grad.norm()
        assert 1e-6 < error < 5e-3, (name, error)


def test_the_order_of_a_sum_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights agree bit for bit only if sums are taken in the machine's order."""
    torch.manual_seed(0)
    network, images, loss = small_network()
    two = LayerPatterns((2, 8), (2, 8))
    patterns = {"first.weight": two, "second.weight": two, "head.weight": two}
    forwards = emulate_step(network, images.half(), loss, patterns)
    in_order = emulation._running_sum
    monkeypatch.setattr(
        emulation, "_running_sum", lambda left, right: in_order(left.flip(1), right.flip(0))
    )
    backwards = emulate_step(network, images.half(), loss, patterns)
    different = forwards.gradients["second.weight"] != backwards.gradients["second.weight"]
    assert 0 < different.sum() < different.numel()


def test_the_update_is_near_torchs_sgd() -> None:
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.randn(1000))
    optimizer = torch.optim.SGD([parameter], lr=0.05, momentum=0.9, weight_decay=1e-4)
    weight, momentum = parameter.detach().clone(), torch.zeros(1000)
    for _ in range(3):
        gradient = torch.randn(1000).half()
        weight, momentum = sgd_momentum(weight, momentum, gradient, (0.05, 0.9, 1e-4))
        parameter.grad = gradient.float()
        optimizer.step()
    torch.testing.assert_close(weight, parameter.detach(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("model", "change", "words"),
    [
        ("resnet18", {}, "cannot hold 3 channels in words of 16"),
        (MODEL, {"machine": SatSettings("sat-4x4")}, 'memory.layout = "blocks"'),
        (MODEL, {"machine": GpuSettings("h100-sxm"), "pattern": "2:4"}, "runs no program"),
        (MODEL, {"recipe": "dense", "pattern": ""}, "cannot hold dense weights transposed"),
        (MODEL, {"pattern": "2:16"}, "cannot hold planes of 36 bytes in beats of 8"),
        (MODEL, {"recipe": "sdgp"}, "cannot hold a mask of a gradient"),
    ],
)
def test_refuses_what_words_cannot_hold(model: str, change: dict[str, object], words: str) -> None:
    with pytest.raises(LayoutError, match=words):
        cosim_step(model, dataclasses.replace(BDWP, **change))  # pyright: ignore


def test_addresses_do_not_change_a_schedule() -> None:
    schedules = simulate_model(small_network, settings=BDWP).schedules
    assert schedules is not None
    (plan,) = schedules.plans
    placed = place(plan)
    engine = Engine(plan.machine)
    assert engine.run(placed.program).cycles == engine.run(plan.program).cycles
