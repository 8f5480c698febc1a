"""Trace one training step of any eager PyTorch model, in shapes only.

Forward, loss, the backward that autograd itself runs, and the optimizer step pass through one
dispatch mode over fake tensors: every op is seen as PyTorch dispatches it, and nothing is
computed or stored.
"""

from __future__ import annotations

import logging
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from weft.mapper.tracing.assumptions import Assumptions
from weft.mapper.tracing.building import BuildMode
from weft.mapper.tracing.conversions import any_matching, conversions, values_for_numpy
from weft.mapper.tracing.fakes import faked, to_fake
from weft.mapper.tracing.graph import ParameterUse, TrainingGraph
from weft.mapper.tracing.loss import default_loss
from weft.mapper.tracing.modules import ModuleStack
from weft.mapper.tracing.recorder import Recorder

__all__ = ["OPTIMIZERS", "Optimizer", "TraceError", "built_module", "trace"]

Builder = Callable[[], Any]
Loss = Callable[[Any], torch.Tensor]
Optimizer = str | Callable[[Any], torch.optim.Optimizer]

# Fused: one op for the whole step instead of a dozen for each parameter.
OPTIMIZERS: Mapping[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, fused=True),
    "sgd-momentum": lambda parameters: torch.optim.SGD(
        parameters, lr=0.1, momentum=0.9, weight_decay=1e-4, fused=True
    ),
    "adam": lambda parameters: torch.optim.Adam(parameters, fused=True),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, fused=True),
}
"""Optimizers by name."""

_MESSAGE_CHARACTERS = 240


class TraceError(ValueError):
    """The model cannot be traced; the message is one line that says why."""


class _Subject(NamedTuple):
    """``used`` are the assumptions that its builder rests on."""

    model: nn.Module
    inputs: Any
    loss_fn: Loss | None
    name: str
    used: frozenset[str] = frozenset()


def trace(
    model_or_builder: nn.Module | Builder,
    example_inputs: Any = None,
    loss_fn: Loss | None = None,
    *,
    optimizer: Optimizer = "sgd-momentum",
    attention: str = "math",
    name: str | None = None,
    assumptions: Assumptions | None = None,
) -> TrainingGraph:
    """Record one training step as a graph of ops.

    Args:
        model_or_builder: a module, which stays exactly as it is (parameters, buffers, gradients,
            training flag, random state), or a callable that returns ``model``,
            ``(model, example_inputs)`` or ``(model, example_inputs, loss_fn)``. A callable is
            called under fake tensors, so the model takes no memory however large.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments.
        loss_fn: called with the model's output, returns a scalar tensor. Without one the loss
            is that of :func:`weft.mapper.tracing.loss.default_loss`.
        optimizer: a key of :data:`OPTIMIZERS` or a callable from parameters to an optimizer.
        attention: "math" lets PyTorch split ``scaled_dot_product_attention`` into matrix
            products and a softmax; "fused" keeps the fused kernel wherever PyTorch would use
            one on a CPU (no dropout), whose backward computes the scores again.
        name: the model's name in the graph, by default its class.
        assumptions: what to assume where the data decide how much is computed; told in the
            graph's notes where used.

    Raises:
        TraceError: the model, its inputs or its loss do not fit together, or its control flow
            depends on weights, activations or random numbers in a way that no assumption names.
    """
    _check_choices(optimizer, attention)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    assumed = assumptions or Assumptions()
    with (
        _random_state_kept() as drew,
        _quiet(),
        torch.inference_mode(mode=False),
        torch.enable_grad(),
    ):
        with conversions():
            subject = _subject(mode, model_or_builder, example_inputs, loss_fn, name)
            with mode, faked(subject.model, mode):
                graph, used = _run(mode, subject, optimizer, attention, assumed)
        used |= {"seeded"} if drew() else set()
    return replace(graph, notes=assumed.notes(used))


def built_module(model_or_builder: nn.Module | Builder) -> nn.Module:
    """The module itself, or what a builder makes under fake tensors: names and shapes, no memory.

    Raises:
        TraceError: the builder fails, or returns no module.
    """
    if isinstance(model_or_builder, nn.Module):
        return model_or_builder
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with _random_state_kept(), _quiet(), torch.inference_mode(mode=False), torch.enable_grad():
        return _subject(mode, model_or_builder, None, None, None).model


def _check_choices(optimizer: Optimizer, attention: str) -> None:
    if isinstance(optimizer, str) and optimizer not in OPTIMIZERS:
        raise TraceError(f"optimizer {optimizer!r} is not known; allowed: {', '.join(OPTIMIZERS)}")
    if attention not in ("math", "fused"):
        raise TraceError(f"attention {attention!r} is not known; allowed: math, fused")


def _subject(
    mode: FakeTensorMode,
    model_or_builder: nn.Module | Builder,
    inputs: Any,
    loss_fn: Loss | None,
    name: str | None,
) -> _Subject:
    model: Any = model_or_builder
    building = BuildMode()
    if not isinstance(model, nn.Module):
        with _errors(f"building {_callable_name(model)}"), mode, building:
            built = model()
        if isinstance(built, (tuple, list)) and len(built) in (2, 3):
            model, inputs = built[0], built[1]
            loss_fn = built[2] if len(built) == 3 else loss_fn
        else:
            model = built
    if not isinstance(model, nn.Module):
        raise TraceError(
            f"{_callable_name(model_or_builder)} returned {type(model).__name__}; "
            "expected (model, example_inputs) or (model, example_inputs, loss_fn)"
        )
    model = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    if inputs is None:
        raise TraceError(f"{type(model).__name__} needs example inputs to be traced")
    _check_batch(type(model).__name__, inputs)
    for parameter, value in model.named_parameters():
        if nn.parameter.is_lazy(value):
            raise TraceError(
                f"{type(model).__name__}: parameter {parameter} has no shape yet; "
                "run the model once on real inputs before tracing it"
            )
    used = frozenset(building.used)
    return _Subject(model, inputs, loss_fn, name or type(model).__name__, used)


def _check_batch(name: str, inputs: Any) -> None:
    if _batch(inputs) == 0:
        empty = next(leaf for leaf in _tensors(inputs) if leaf.dim())
        raise TraceError(
            f"{name}: the first input is {tuple(empty.shape)}, a batch of no samples; "
            "a step needs at least one"
        )


def _run(
    mode: FakeTensorMode,
    subject: _Subject,
    optimizer: Optimizer,
    attention: str,
    assumptions: Assumptions,
) -> tuple[TrainingGraph, set[str]]:
    """The graph, and the names of the assumptions that it rests on."""
    model = subject.model
    inputs = pytree.tree_map_only(torch.Tensor, _to_fake(mode), subject.inputs)
    with ExitStack() as stack:
        stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        if attention == "math":
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        modules = stack.enter_context(ModuleStack(model))
        recorder = stack.enter_context(Recorder(modules, _to_fake(mode), assumptions))
        stack.enter_context(values_for_numpy(recorder.value_of))
        stack.enter_context(any_matching(recorder.replay.used))
        stack.callback(recorder.restore_gradients)
        _register(recorder, model, inputs)
        with _errors(subject.name, recorder):
            output = _call(model, inputs)
            loss = _loss(subject, output)
        recorder.phase = "backward"
        with _errors(f"backward of {subject.name}", recorder):
            loss.backward()
        parameters = _parameters(recorder, model)
        recorder.phase = "optimizer"
        kind, state = _step(recorder, model, optimizer)
        graph = TrainingGraph(
            model=subject.name,
            batch=_batch(inputs),
            ops=tuple(recorder.ops),
            tensors=tuple(recorder.tensors),
            parameters=parameters,
            loss=recorder.index_of(loss),
            optimizer=kind,
            optimizer_state=state,
        )
        return graph, recorder.replay.used | subject.used


def _call(model: nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, (tuple, list)):
        return model(*inputs)
    return model(inputs)


def _loss(subject: _Subject, output: Any) -> torch.Tensor:
    loss = default_loss(output) if subject.loss_fn is None else subject.loss_fn(output)
    if loss is None:
        raise TraceError(
            f"{subject.name} returned {type(output).__name__} without a floating-point tensor "
            "and no loss_fn is given; nothing to train"
        )
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        shape = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise TraceError(f"the loss of {subject.name} is {shape}; expected a scalar tensor")
    if not loss.requires_grad:
        raise TraceError(f"the loss of {subject.name} depends on no parameter; nothing to train")
    return loss


def _step(recorder: Recorder, model: nn.Module, optimizer: Optimizer) -> tuple[str, int]:
    """Run the optimizer's step; its kind, and its state tensors per parameter."""
    trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
    factory = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
    with _errors("optimizer step", recorder):
        made = factory(trained)
        made.step()
    kind = optimizer if isinstance(optimizer, str) else _optimizer_kind(made)
    shaped = [
        sum(isinstance(t, torch.Tensor) and t.shape == p.shape for t in state.values())
        for p, state in made.state.items()
        if p.dim()
    ]
    return kind, max(shaped, default=0)


def _optimizer_kind(optimizer: torch.optim.Optimizer) -> str:
    kind = type(optimizer).__name__.lower()
    momentum = any(group.get("momentum") for group in optimizer.param_groups)
    return "sgd-momentum" if kind == "sgd" and momentum else kind


def _register(recorder: Recorder, model: nn.Module, inputs: Any) -> None:
    for name, parameter in model.named_parameters():
        recorder.register(parameter, "parameter", name)
    for name, buffer in model.named_buffers():
        recorder.register(buffer, "buffer", name)
    for path, leaf in pytree.tree_leaves_with_path(inputs):
        if isinstance(leaf, torch.Tensor):
            recorder.register(leaf, "input", pytree.keystr(path))


def _parameters(recorder: Recorder, model: nn.Module) -> tuple[ParameterUse, ...]:
    names: dict[int, list[str]] = {}
    parameters: dict[int, torch.Tensor] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
        parameters[id(parameter)] = parameter
    return tuple(
        ParameterUse(
            name=aliases[0],
            shape=tuple(parameters[key].shape),
            tensor=recorder.register(parameters[key], "parameter", aliases[0]),
            gradient=recorder.index_of(parameters[key].grad),
            names=tuple(aliases),
        )
        for key, aliases in names.items()
    )


def _batch(inputs: Any) -> int:
    return next((int(tensor.shape[0]) for tensor in _tensors(inputs) if tensor.dim()), 1)


def _tensors(inputs: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, torch.Tensor)]


def _to_fake(mode: FakeTensorMode) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tensor: to_fake(tensor, mode)


def _callable_name(value: Any) -> str:
    return getattr(value, "__qualname__", None) or type(value).__name__


@contextmanager
def _random_state_kept() -> Iterator[Callable[[], bool]]:
    """Random numbers are those of seed 0 for a while; gives whether Python or NumPy drew any."""
    numpy = sys.modules.get("numpy")
    states = torch.get_rng_state(), random.getstate()
    array_state = None if numpy is None else numpy.random.get_state()
    torch.manual_seed(0)
    random.seed(0)
    if numpy is not None:
        numpy.random.seed(0)
    seeded = random.getstate(), None if numpy is None else _text(numpy.random.get_state())

    def drew() -> bool:
        now = None if numpy is None else _text(numpy.random.get_state())
        return (random.getstate(), now) != seeded

    try:
        yield drew
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        if numpy is not None:
            numpy.random.set_state(array_state)


def _text(state: Any) -> str:
    return str((state[0], state[1].tobytes(), *state[2:]))


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings, and no log of what is raised as an error anyway."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled


@contextmanager
def _errors(where: str, recorder: Recorder | None = None) -> Iterator[None]:
    """Turn whatever the model raises into a :class:`TraceError` of one line."""
    try:
        yield
    except TraceError:
        raise
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise TraceError(
            f"{where}{_place(recorder)}: control flow or a shape depends on the values of a "
            f"tensor ({error.func}); a trace over shapes cannot follow it"
        ) from error
    except Exception as error:
        text = " ".join(str(error).split()) or "no message"
        if len(text) > _MESSAGE_CHARACTERS:
            text = text[: _MESSAGE_CHARACTERS - 3] + "..."
        message = f"{where}{_place(recorder)}: {type(error).__name__}: {text}"
        raise TraceError(message) from error


def _place(recorder: Recorder | None) -> str:
    if recorder is None or recorder.failed_in is None:
        return ""
    path, op = recorder.failed_in
    return f" (module {path!r}, {op})" if path else f" ({op})"
