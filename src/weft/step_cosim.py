"""One training step of a small network on the Verilog, against engine, reference and torch.

The schedule is the one that ``weft simulate`` makes; ``weft.mapper.placement.place`` gives it
addresses, this module fills the memory, and ``weft.emulation`` says what must lie there afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weft.emulation import LayerPatterns, Stepped, adamw, emulate_step, kept, sgd_momentum
from weft.guest import guest
from weft.mapper.placement.place import Hyperparameters, Placed, place
from weft.mapper.placement.tensors import Grid
from weft.mapper.planning.plan import Plan
from weft.mapper.scheduling.words import LayoutError, columns_of_pass
from weft.rtl.cosimulation.cosim import CosimResult, run_and_keep
from weft.rtl.cosimulation.product import Case
from weft.rtl.cosimulation.replaced import NONE, Replaced
from weft.rtl.cosimulation.simulate import IDEAL, Pauses
from weft.sim.engine import Engine
from weft.sim.machine import Machine
from weft.sim.pattern import Pattern
from weft.sim.workload import Stage
from weft.simulation import Settings, simulate_model
from weft.subject import find_subject

__all__ = ["Checked", "StepResult", "StepValues", "compared", "cosim_step", "prepare"]

Bytes = NDArray[np.uint8]
Halves = NDArray[np.float16]

PAGE = 4096


@dataclass(frozen=True)
class Checked:
    """A tensor held against torch's emulation, value by value."""

    tensor: str
    values: int
    different: int


@dataclass(frozen=True)
class StepResult:
    """The co-simulation of a step; ``scheduled_cycles`` is what ``weft simulate`` says of it."""

    cosim: CosimResult
    scheduled_cycles: int
    checked: tuple[Checked, ...]

    @property
    def agrees(self) -> bool:
        same = all(check.different == 0 for check in self.checked)
        return self.cosim.agrees and same and self.scheduled_cycles == self.cosim.rtl_cycles


def compared(tensor: str, found: Bytes, wanted: Bytes, value_bytes: int) -> Checked:
    """How many values differ: one does where any of its bytes does."""
    differing = (found != wanted).reshape(-1, value_bytes).any(axis=1)
    return Checked(tensor, len(differing), int(differing.sum()))


def cosim_step(
    model: str,
    settings: Settings,
    *,
    seed: int = 0,
    rates: Hyperparameters | None = None,
    pauses: Pauses = IDEAL,
    wave: Path | None = None,
    replaced: Callable[[Machine], Replaced] = lambda machine: NONE,
) -> StepResult:
    """Train ``model`` for one step on the Verilog of ``settings.hardware``.

    ``seed`` draws weights, the optimizer's state and input. ``replaced`` gives the modules of the
    machine that come from other files.

    Raises:
        LayoutError: a network or machine whose tensors cannot lie in words.
        ValueError: a setting that is unknown or does not fit.
    """
    rates = rates or Hyperparameters()
    subject = find_subject(model, None, None)
    with guest(subject.name, subject.folder):
        plan, step, case = prepare(subject.build, subject.name, settings, seed, rates)
    own = replaced(plan.machine)
    result, memory = run_and_keep(case, plan.machine, pauses=pauses, wave=wave, replaced=own)
    scheduled = Engine(plan.machine).run(plan.program).cycles
    return StepResult(result, scheduled, tuple(step.check(case, memory, rates)))


def prepare(
    build: Callable[[], Any], name: str, settings: Settings, seed: int, rates: Hyperparameters
) -> tuple[Plan, StepValues, Case]:
    """Schedule the step that ``build`` makes, give it addresses, and fill the memory.

    Raises:
        LayoutError, ValueError: as ``cosim_step``.
    """
    run = simulate_model(build, settings=settings, name=name)
    if run.schedules is None:
        raise LayoutError(f"{settings.hardware} runs no program; a step needs a SAT machine")
    plan = run.schedules.plans[0]
    placed = place(plan, rates)
    torch.manual_seed(seed)
    network, example, loss_fn = _built(build())
    _draw(network)
    step = StepValues(placed, plan, network, example, loss_fn)
    case = step.case(f"{Path(name).name} {settings.recipe} {settings.pattern} seed {seed}")
    return plan, step, case


def _built(made: Any) -> tuple[nn.Module, Tensor, Callable[[Tensor], Tensor]]:
    if not isinstance(made, tuple) or len(made) != 3:
        raise LayoutError("a step needs a callable that returns (model, example input, loss_fn)")
    network, example, loss_fn = made
    if isinstance(example, tuple) and len(example) == 1:
        (example,) = example
    if not isinstance(example, Tensor):
        raise LayoutError("a step needs a model of one input tensor")
    return network, example.detach().half(), loss_fn


def _draw(network: nn.Module) -> None:
    for parameter in network.parameters():
        parameter.data.copy_(torch.randn(parameter.shape) * parameter[0].numel() ** -0.5)


class StepValues:
    """Values of one step: what memory holds before, and what torch says it holds afterwards."""

    def __init__(
        self,
        placed: Placed,
        plan: Plan,
        network: nn.Module,
        example: Tensor,
        loss_fn: Callable[[Tensor], Tensor],
    ) -> None:
        self.placed, self.example = placed, example
        forward = [item for item in plan.workload.products if item.stage is Stage.FF]
        self.reads_images = forward[0].convolution is not None
        self.makes_images = forward[-1].convolution is not None
        self.width = columns_of_pass(plan.machine.array)
        self.parameters = {name: p.detach() for name, p in network.named_parameters()}
        missing = sorted(set(self.parameters) - set(placed.weights))
        if missing:
            raise LayoutError(f"parameter {missing[0]} is no product's weight; words hold those")
        # Second moments are never negative.
        self.states = {
            name: tuple(
                torch.randn(p.shape).abs() * 1e-4
                if state == "second"
                else torch.randn(p.shape) * 0.01
                for state in placed.states
            )
            for name, p in self.parameters.items()
        }
        self.made: Stepped = emulate_step(network, example, loss_fn, self._patterns())

    def _patterns(self) -> dict[str, LayerPatterns]:
        return {
            name: LayerPatterns(_pair(weight.ff), _pair(weight.bp))
            for name, weight in self.placed.weights.items()
        }

    def case(self, name: str) -> Case:
        """The program with its memory."""
        images = {
            **{tensor: self._input(tensor) for tensor in self.placed.inputs},
            **self._weights(self.parameters, self.states),
        }
        tensors: dict[str, int] = {}
        end = 0
        for tensor, size in self.placed.sizes.items():
            tensors[tensor] = end
            end += -(-size // PAGE) * PAGE
        memory = np.zeros(end, np.uint8)
        for tensor, image in images.items():
            if image.size != self.placed.sizes[tensor]:
                raise LayoutError(f"{tensor} has {image.size} bytes, not what the program says")
            memory[tensors[tensor] : tensors[tensor] + image.size] = image
        return Case(name, self.placed.program, memory, tensors, None)

    def _input(self, tensor: str) -> Bytes:
        grid = self.placed.grids[tensor]
        if self.placed.inputs[tensor] == "activation":
            return _pixels(self.example, grid, images=self.reads_images)
        return _pixels(self.made.output_gradient, grid, images=self.makes_images)

    def _weights(
        self, masters: dict[str, Tensor], states: dict[str, tuple[Tensor, ...]]
    ) -> dict[str, Bytes]:
        """Every image that follows from the master weights and the optimizer's state."""
        images: dict[str, Bytes] = {}
        for name, weight in self.placed.weights.items():
            half = masters[name].half()
            images[f"{name}:master"] = _rows(masters[name]).reshape(-1).view(np.uint8)
            for state, values in zip(self.placed.states, states[name], strict=True):
                images[f"{name}:{state}"] = _rows(values).reshape(-1).view(np.uint8)
            images[f"{name}:half"] = _rows(half).reshape(-1).view(np.uint8)
            for stage, pattern, axis in (("ff", weight.ff, 1), ("bp", weight.bp, 0)):
                if pattern is None:
                    continue
                mask = _rows(kept(half, _pair(pattern), axis))
                values = _rows(half)
                if stage == "bp":
                    mask, values = mask.swapaxes(1, 2), values.swapaxes(1, 2)
                packed = _compressed(values, mask, pattern, self.width)
                images[f"{name}:{stage}"], images[f"{name}:{stage} planes"] = packed
        return images

    def check(self, case: Case, memory: Bytes, rates: Hyperparameters) -> list[Checked]:
        """Every weight, its state and its layouts after the step, against torch."""
        masters: dict[str, Tensor] = {}
        states: dict[str, tuple[Tensor, ...]] = {}
        for name in self.placed.weights:
            old, gradient = self.parameters[name], self.made.gradients[name]
            masters[name], *new = self._stepped(old, self.states[name], gradient, rates)
            states[name] = tuple(new)
        wanted = self._weights(masters, states)
        grid = self.placed.grids[self.placed.output]
        wanted["output"] = _pixels(self.made.output, grid, images=self.makes_images)
        checks: list[Checked] = []
        for tensor, image in wanted.items():
            first = case.tensors[self.placed.output if tensor == "output" else tensor]
            parts = ("master", *self.placed.states)
            size = 4 if tensor.endswith(tuple(f":{part}" for part in parts)) else 2
            size = 1 if tensor.endswith("planes") else size
            checks.append(compared(tensor, memory[first : first + image.size], image, size))
        return checks

    def _stepped(
        self,
        weight: Tensor,
        states: tuple[Tensor, ...],
        gradient: Tensor,
        rates: Hyperparameters,
    ) -> tuple[Tensor, ...]:
        if len(states) == 2:
            return adamw(weight, states[0], states[1], gradient, rates.constants("adamw"))
        constants = rates.constants("sgd-momentum")
        if states:
            return sgd_momentum(weight, states[0], gradient, constants)
        return sgd_momentum(weight, torch.full_like(weight, -0.0), gradient, constants)[:1]


def _pair(pattern: Pattern | None) -> tuple[int, int] | None:
    return None if pattern is None else (pattern.n, pattern.m)


def _rows(weight: Tensor) -> NDArray[Any]:
    """[out, in, ...] as [taps, in, out]."""
    flat = weight.reshape(*weight.shape[:2], -1)
    return np.ascontiguousarray(flat.permute(2, 1, 0).numpy())


def _pixels(values: Tensor, grid: Grid, *, images: bool) -> Bytes:
    """Images [B, C, H, W], or rows with the channels last, inside the grid's border."""
    image = np.zeros(grid.shape, np.float16)
    if images:
        values = values.permute(0, 2, 3, 1)
    inside = values.numpy().reshape(grid.images, grid.height, grid.width, grid.channels)
    edge = grid.border
    image[:, edge : edge + grid.height, edge : edge + grid.width] = inside
    return image.reshape(-1).view(np.uint8)


def _compressed(
    values: Halves, mask: NDArray[np.bool_], pattern: Pattern, width: int
) -> tuple[Bytes, Bytes]:
    """Kept values [pass][tap][group][N][columns], and the planes of their indices."""
    taps, rows, columns = values.shape
    shape = (taps, rows // pattern.m, pattern.m, columns // width, width)
    order = np.argsort(~mask.reshape(shape), axis=2, kind="stable")[:, :, : pattern.n]
    chosen = np.take_along_axis(values.reshape(shape), order, axis=2)
    laid = np.ascontiguousarray(chosen.transpose(3, 0, 1, 2, 4))
    index = np.ascontiguousarray(order.transpose(3, 0, 1, 2, 4)).reshape(-1)
    planes = [
        np.packbits((index >> bit & 1).astype(np.uint8), bitorder="little")
        for bit in range(pattern.index_bits)
    ]
    return laid.reshape(-1).view(np.uint8), np.concatenate(planes)
