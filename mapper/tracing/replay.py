"""Compute small values of a trace after all, where the model's control flow asks for them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily

from weft.mapper.tracing.graph import Op, Reference, Tensor

__all__ = ["Replay", "UnknownValueError"]

_MAX_ELEMENTS = 1 << 16


class UnknownValueError(Exception):
    """The value depends on something that a trace over shapes does not have."""


class Replay:
    """Values of recorded tensors, from inputs, buffers and constants whose values are known.

    Random numbers are those of seed 0. Whatever is asked whether it is finite, is: a training
    run that diverges is none to price. Activations and large tensors stay unknown.
    """

    def __init__(
        self,
        ops: list[Op],
        functions: list[Any],
        tensors: list[Tensor],
        known: dict[int, torch.Tensor],
    ) -> None:
        """``known`` holds the values of tensors that no op makes, and is added to."""
        self._ops, self._functions, self._tensors = ops, functions, tensors
        self._known = known

    def run(self, function: Any, arguments: Any, keywords: Any) -> Any:
        """What an op would return for arguments in which tensors are references.

        Raises:
            UnknownValueError: an argument is not known.
        """
        with unset_fake_temporarily(), torch.no_grad():
            return function(*self._real(arguments), **self._real(keywords))

    def _value(self, index: int) -> torch.Tensor:
        if index not in self._known:
            tensor = self._tensors[index]
            if tensor.producer is None:
                raise UnknownValueError(f"tensor {index}")
            if tensor.elements > _MAX_ELEMENTS and _if_finite(self._ops[tensor.producer]) is None:
                raise UnknownValueError(f"tensor {index} with {tensor.elements} elements")
            self._replay(self._ops[tensor.producer])
        return self._known[index]

    def _replay(self, op: Op) -> None:
        named = set[int]()
        _references((op.arguments, op.keywords), named)
        if not named.issuperset(op.inputs):
            raise UnknownValueError("read after a write into the storage of another tensor")
        answer = _if_finite(op)
        if answer is not None:
            self._known[op.outputs[0]] = torch.full(self._tensors[op.outputs[0]].shape, answer)
            return
        copies = {index: self._value(index).clone() for index in op.writes}
        arguments, keywords = self._real(op.arguments, copies), self._real(op.keywords, copies)
        torch.manual_seed(0)
        result = self._functions[op.index](*arguments, **keywords)
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        made = [*copies.values()] if copies else results
        for index, value in zip(op.outputs, made, strict=False):
            self._known[index] = value

    def _real(self, value: Any, copies: dict[int, torch.Tensor] | None = None) -> Any:
        if isinstance(value, Reference):
            known = None if copies is None else copies.get(value.index)
            return self._value(value.index) if known is None else known
        if isinstance(value, (tuple, list)):
            return [self._real(item, copies) for item in value]
        if isinstance(value, dict):
            return {key: self._real(item, copies) for key, item in value.items()}
        if isinstance(value, str) and value.startswith("torch."):
            return getattr(torch, value.removeprefix("torch."))
        return value


def _if_finite(op: Op) -> bool | None:
    """What a question whether something is finite answers when it is; None: no such question."""
    if op.name in ("isinf", "isnan"):
        return False
    if op.name not in ("eq", "ne") or len(op.arguments) < 2:
        return None
    left, right = op.arguments[:2]
    if left == right:  # x == x is how PyTorch asks for "not a number"
        return op.name == "eq"
    if isinstance(right, float) and math.isinf(right):
        return op.name == "ne"
    return None


def _references(value: Any, found: set[int]) -> None:
    if isinstance(value, Reference):
        found.add(value.index)
    elif isinstance(value, (tuple, list)):
        for item in value:
            _references(item, found)
    elif isinstance(value, dict):
        _references(list(value.values()), found)
