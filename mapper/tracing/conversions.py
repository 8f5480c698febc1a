"""What PyTorch refuses to do with fake tensors, and models do while they are built or run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

from weft.mapper.tracing.known import attach, forget, known_of
from weft.mapper.tracing.replay import UnknownValueError

__all__ = ["any_matching", "conversions", "values_for_numpy"]

_SCALAR = torch.ops.aten._local_scalar_dense.default

ValueOf = Callable[[torch.Tensor], torch.Tensor]


@contextmanager
def conversions() -> Iterator[None]:
    """Modules of fake tensors can be cast, moved and mapped, and arrays made of known values.

    PyTorch swaps the tensors of such a module, which fails where anyone else refers to them; all
    fakes are on the CPU here, so that setting their data does what it does for real tensors.
    """
    original: Any = nn.Module._apply

    def apply(self: nn.Module, fn: Callable[[Any], Any], *recursion: Any, **named: Any) -> Any:
        own = [*self._parameters.values(), *self._buffers.values()]
        if not any(isinstance(tensor, FakeTensor) for tensor in own):
            return original(self, fn, *recursion, **named)
        if all((*recursion, *named.values())):
            for child in self.children():
                child._apply(fn)
        _apply_to_own(self, fn)
        return self

    with (
        _methods(nn.Module, _apply=apply),
        _methods(FakeTensor, to=_to, cuda=_stay),
        values_for_numpy(_known_value),
    ):
        yield


def _to(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """``to`` with every device the CPU: a trace is the same on every machine."""
    if args and isinstance(args[0], (str, int, torch.device)) and not isinstance(args[0], bool):
        args = ("cpu", *args[1:])
    if kwargs.get("device") is not None:
        kwargs["device"] = "cpu"
    return torch.Tensor.to(self, *args, **kwargs)


def _stay(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    return self


def _apply_to_own(module: nn.Module, fn: Callable[[Any], Any]) -> None:
    for parameter in module._parameters.values():
        if parameter is not None:
            with torch.no_grad():
                made = fn(parameter)
                if made is not parameter:
                    _take(parameter, made)
                if parameter.grad is not None:
                    parameter.grad = fn(parameter.grad)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = fn(buffer)


def _take(parameter: torch.Tensor, made: torch.Tensor) -> None:
    known = known_of(made)
    parameter.data = made
    forget(parameter)
    if known is not None:
        attach(parameter, known)


def _known_value(tensor: torch.Tensor) -> torch.Tensor:
    known = known_of(tensor)
    if known is None:
        raise UnknownValueError("a builder asks for it")
    return known.real


@contextmanager
def values_for_numpy(value_of: ValueOf) -> Iterator[None]:
    """``numpy()`` of a fake tensor, and its text, give the values that ``value_of`` knows."""

    def numpy(self: torch.Tensor, *, force: bool = False) -> Any:
        try:
            real = value_of(self)
        except UnknownValueError:
            raise DataDependentOutputException(_SCALAR) from None
        with _disable_current_modes():
            return torch.Tensor.numpy(real, force=force)

    def text(self: torch.Tensor, specification: str) -> str:
        if self.dim():
            return object.__format__(self, specification)
        try:
            return format(value_of(self).item(), specification)
        except UnknownValueError:
            return repr(self)

    with _methods(FakeTensor, numpy=numpy, __format__=text):
        yield


@contextmanager
def _methods(owner: type, **methods: Any) -> Iterator[None]:
    """The methods of a class exchanged."""
    before = {name: owner.__dict__.get(name) for name in methods}
    for name, method in methods.items():
        setattr(owner, name, method)
    try:
        yield
    finally:
        for name, method in before.items():
            delattr(owner, name) if method is None else setattr(owner, name, method)


@contextmanager
def any_matching(used: set[str]) -> Iterator[None]:
    """``scipy.optimize.linear_sum_assignment`` pairs rows and columns in their order.

    Detection losses match boxes to labels by it. Every matching has as many pairs and costs the
    same; its costs here are values that the data decide.
    """
    optimize = sys.modules.get("scipy.optimize")
    original = getattr(optimize, "linear_sum_assignment", None)
    if original is None:
        yield
        return

    def in_order(cost_matrix: Any, *options: Any, **named: Any) -> Any:
        if not isinstance(cost_matrix, FakeTensor):
            return original(cost_matrix, *options, **named)
        import numpy

        used.add("matching")
        pairs = numpy.arange(min(cost_matrix.shape))
        return pairs, pairs

    users = [
        module
        for module in list(sys.modules.values())
        if getattr(module, "__dict__", {}).get("linear_sum_assignment") is original
    ]
    for module in users:
        module.linear_sum_assignment = in_order  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in users:
            module.linear_sum_assignment = original  # type: ignore[attr-defined]
