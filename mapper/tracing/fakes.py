"""Give a module fake parameters and buffers for a while, and leave no trace of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from weft.mapper.tracing.known import Known, attach

__all__ = ["faked", "keywords_on_cpu", "to_fake"]

_CPU = torch.device("cpu")


def to_fake(tensor: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    """A fake with the shape, dtype, strides and gradient flag of ``tensor``; no gradient.

    It is on the CPU wherever the tensor is, so that a trace is the same on every machine.
    """
    if tensor.device.type != "cpu":
        return _on_cpu(tensor, mode)
    if isinstance(tensor, FakeTensor):
        return tensor
    fake = mode.from_tensor(tensor, static_shapes=True)
    fake.grad = None
    attach(fake, Known(tensor))
    return fake


def _on_cpu(tensor: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    shape, strides = tuple(tensor.shape), tensor.stride()
    with mode:
        fake = torch.empty_strided(shape, strides, dtype=tensor.dtype, device="cpu")
        if isinstance(tensor, nn.Parameter):
            return nn.Parameter(fake, requires_grad=tensor.requires_grad)
    return fake.requires_grad_(tensor.requires_grad)


def keywords_on_cpu(keywords: dict[str, Any] | None) -> dict[str, Any]:
    """Keywords of an op, its device the CPU if it names one."""
    if not keywords:
        return {}
    return {**keywords, "device": _CPU} if keywords.get("device") is not None else keywords


@contextmanager
def faked(model: nn.Module, mode: FakeTensorMode) -> Iterator[None]:
    """Inside, every tensor that the module holds is fake; afterwards the module is as before.

    Parameters, buffers, and tensors in plain attributes or in lists and dicts of them (the flat
    weights of an LSTM) are exchanged; one tensor held in many places becomes one fake. Every
    attribute that the model sets meanwhile is taken back.
    """
    saved = [(module, _snapshot(module)) for module in model.modules()]
    memo: dict[int, torch.Tensor] = {}

    def exchange(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) not in memo:
            memo[id(value)] = to_fake(value, mode)
        return memo[id(value)]

    try:
        for module, _ in saved:
            _exchange(module, exchange)
        yield
    finally:
        for module, snapshot in saved:
            _restore(module, snapshot)


_Snapshot = tuple[dict[str, Any], dict[str, Any]]


def _snapshot(module: nn.Module) -> _Snapshot:
    """The attributes of a module, and copies of the lists and dicts among them."""
    attributes = dict(module.__dict__)
    containers = {
        key: value.copy() for key, value in attributes.items() if type(value) in _CONTAINERS
    }
    return attributes, containers


def _restore(module: nn.Module, snapshot: _Snapshot) -> None:
    attributes, containers = snapshot
    for key, copy in containers.items():
        container = attributes[key]
        container.clear()
        container.extend(copy) if isinstance(container, list) else container.update(copy)
    module.__dict__.clear()
    module.__dict__.update(attributes)


def _exchange(module: nn.Module, exchange: Any) -> None:
    for key, value in list(module.__dict__.items()):
        if isinstance(value, torch.Tensor):
            module.__dict__[key] = exchange(value)
        elif type(value) is list:
            value[:] = [exchange(item) for item in value]
        elif type(value) in _CONTAINERS and key not in ("_modules", "_non_persistent_buffers_set"):
            value.update({k: exchange(item) for k, item in value.items()})


_CONTAINERS = (list, dict, type(nn.Module()._parameters))
