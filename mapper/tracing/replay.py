"""Compute small values of a trace after all, where the model's control flow asks for them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from weft.mapper.tracing.assumptions import Assumptions, dealt_out, quantiles, spread
from weft.mapper.tracing.graph import Op, Reference, Tensor
from weft.mapper.tracing.known import MOST_ELEMENTS

__all__ = ["CONSTANT", "MASK", "UNKNOWN", "Replay", "UnknownValueError"]

UNKNOWN, MASK, CONSTANT = range(3)
"""What a value follows from: the data; masks of it, of which a share is kept; constants."""

_CHOSEN = {"topk": 1, "sort": 1, "argsort": 0, "argmax": 0, "argmin": 0, "multinomial": 0}
"""Ops that choose places by score, and which output the places are."""

_RANDOM = {
    "rand": "uniform", "rand_like": "uniform", "randn": "normal", "randn_like": "normal",
    "randint": "whole", "randint_like": "whole", "randperm": "order", "uniform_": "uniform",
    "uniform": "uniform", "normal_": "normal", "random_": "whole", "bernoulli": "bernoulli",
    "bernoulli_": "bernoulli", "exponential_": "exponential",
}  # fmt: skip
_GIVEN = {"bernoulli"}
"""Random ops whose values follow from those of their input too."""


class UnknownValueError(Exception):
    """The value depends on something that a trace over shapes does not have."""


class Replay:
    """Values of recorded tensors, where they follow from constants or from a named assumption.

    ``levels`` has for every tensor what its value follows from, kept up by :meth:`note`. Weights
    and activations are unknown, however small. ``used`` collects the assumptions made.
    """

    def __init__(self, ops: list[Op], tensors: list[Tensor], assumptions: Assumptions) -> None:
        self.assumptions = assumptions
        self.used: set[str] = set()
        self.known: dict[int, torch.Tensor] = {}
        self.functions: list[Any] = []
        self._levels: dict[int, int] = {}
        self._by_assumption: dict[int, str] = {}
        self._ops, self._tensors = ops, tensors

    def know(self, index: int, value: torch.Tensor, assumption: str = "") -> None:
        """The value of a tensor that no op makes, or that is assumed."""
        self.known[index] = value
        self._levels[index] = CONSTANT
        if assumption:
            self._by_assumption[index] = assumption

    def note(self, op: Op, function: Any) -> None:
        """A new op: what its outputs follow from."""
        self.functions.append(function)
        level = self._level(op)
        places = _places(op)
        for index in op.outputs:
            own = level
            tensor = self._tensors[index]
            if index == places:
                own = CONSTANT
            elif level == UNKNOWN and tensor.dtype == "bool" and tensor.elements > 1:
                own = MASK
            if own:
                self._levels[index] = own

    def level(self, index: int) -> int:
        return self._levels.get(index, UNKNOWN)

    def _level(self, op: Op) -> int:
        if _if_finite(op) is not None:
            return CONSTANT
        if op.name in _RANDOM and op.name not in _GIVEN:
            return CONSTANT
        if op.name == "all" and len(op.arguments) == 1:
            return MASK
        # What is written over is not read, and what a tensor is like is not either.
        unread = set(op.writes) if op.name in ("zero_", "fill_", "copy_") else set[int]()
        if _only_alike(op):
            return CONSTANT
        return min(
            (self.level(index) for index in op.inputs if index not in unread), default=CONSTANT
        )

    def run(self, function: Any, arguments: Any, keywords: Any) -> Any:
        """What an op would return for arguments in which tensors are references.

        Raises:
            UnknownValueError: an argument is not known.
        """
        with _disable_current_modes(), torch.no_grad():
            return function(*self._real(arguments), **self._real(keywords))

    def value(self, index: int) -> torch.Tensor:
        """The value of one tensor.

        Raises:
            UnknownValueError: the data decide it, and no assumption has a name for it.
        """
        with _disable_current_modes(), torch.no_grad():
            return self._value(index)

    def _value(self, index: int) -> torch.Tensor:
        if index not in self.known:
            tensor = self._tensors[index]
            if tensor.producer is None or not self.level(index):
                raise UnknownValueError(f"tensor {index}")
            if tensor.elements > MOST_ELEMENTS:
                raise UnknownValueError(f"tensor {index} with {tensor.elements} elements")
            try:
                self._replay(self._ops[tensor.producer], index)
            except UnknownValueError:
                if tensor.dtype != "bool" or tensor.elements < 2:
                    raise
                self.used.add("selected-share")
                self.known[index] = spread(tensor.shape, self.assumptions.selected_share)
        if index in self._by_assumption:
            self.used.add(self._by_assumption[index])
        return self.known[index]

    def _replay(self, op: Op, wanted: int) -> None:
        assumed = self._assumed(op, wanted)
        if assumed is not None:
            self.known[wanted] = assumed
            return
        named = set[int]()
        _references((op.arguments, op.keywords), named)
        if not named.issuperset(op.inputs):
            raise UnknownValueError("read after a write into the storage of another tensor")
        copies = {index: self._written(op, index) for index in op.writes}
        if _only_alike(op):
            copies = {index: self._alike(index) for index in op.inputs}
        arguments, keywords = self._real(op.arguments, copies), self._real(op.keywords, copies)
        result = self.functions[op.index](*arguments, **keywords)
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        made = [copies[index] for index in op.writes] or results
        for index, value in zip(op.outputs, made, strict=False):
            self.known[index] = value

    def _written(self, op: Op, index: int) -> torch.Tensor:
        """A copy of what an op writes into."""
        if self.level(index):
            return self._value(index).clone()
        tensor = self._tensors[index]
        return torch.zeros(tensor.shape, dtype=getattr(torch, tensor.dtype))

    def _alike(self, index: int) -> torch.Tensor:
        """Something of a tensor's shape and type."""
        tensor = self._tensors[index]
        return torch.zeros((), dtype=getattr(torch, tensor.dtype)).expand(tensor.shape)

    def _assumed(self, op: Op, wanted: int) -> torch.Tensor | None:
        """What a named assumption says of an output, if one does."""
        tensor = self._tensors[wanted]
        dtype: torch.dtype = getattr(torch, tensor.dtype)
        answer = _if_finite(op)
        if answer is not None:
            self.used.add("finite")
            return torch.full(tensor.shape, answer, dtype=dtype)
        if op.name in _RANDOM:
            self.used.add("random")
            return self._random(op, tensor, dtype)
        level = min((self.level(index) for index in op.inputs), default=CONSTANT)
        if level == UNKNOWN and _places(op) == wanted:
            self.used.add("balanced")
            axis, length = self._row(op)
            return dealt_out(tensor.shape, axis, length)
        if op.name == "all" and level < CONSTANT and len(op.arguments) == 1:
            self.used.add("checks")
            return torch.ones(tensor.shape, dtype=dtype)
        if level == UNKNOWN and tensor.dtype == "bool":
            self.used.add("selected-share")
            return spread(tensor.shape, self.assumptions.selected_share)
        return None

    def _row(self, op: Op) -> tuple[int, int]:
        """The axis along which an op chooses, and how many it chooses among."""
        source = self._tensors[op.inputs[0]]
        place = 2 if op.name == "topk" else 1
        given = op.keywords.get("dim")
        if given is None and len(op.arguments) > place:
            given = op.arguments[place]
        axis = given if isinstance(given, int) and not isinstance(given, bool) else -1
        if not source.shape or (given is None and op.name in ("argmax", "argmin")):
            return 0, source.elements
        kept = len(self._tensors[op.outputs[-1]].shape) == len(source.shape)
        return (axis if kept else -1), source.shape[axis]

    def _random(self, op: Op, tensor: Tensor, dtype: torch.dtype) -> torch.Tensor:
        even = quantiles(tensor.shape)
        kind = _RANDOM[op.name]
        first, second = (
            [a for a in op.arguments[1:3] if isinstance(a, (int, float))] + [None, None]
        )[:2]
        if kind == "order":
            return torch.arange(tensor.elements, dtype=dtype)
        if kind == "bernoulli":
            share = op.keywords.get("p", first)
            if share is None:
                argument = op.arguments[1] if len(op.arguments) > 1 else op.arguments[0]
                share = self._value(argument.index) if isinstance(argument, Reference) else 0.5
            return (even < share).to(dtype)
        if kind == "normal":
            made = torch.special.ndtri(even)
            if op.name == "normal_":
                made = (first or 0.0) + made * (1.0 if second is None else second)
            return made.to(dtype)
        if kind == "exponential":
            return (-torch.log1p(-even) / (first or 1.0)).to(dtype)
        low, high = self._range(op, kind)
        return (low + even * (high - low)).to(dtype)

    @staticmethod
    def _range(op: Op, kind: str) -> tuple[float, float]:
        """The least and the greatest value of evenly distributed numbers."""
        numbers = [a for a in op.arguments if isinstance(a, (int, float))]
        if kind == "whole" and numbers:
            return (numbers[0], numbers[1]) if len(numbers) > 1 else (0, numbers[0])
        if op.name.startswith("uniform") and len(numbers) > 1:
            return numbers[0], numbers[1]
        low, high = op.keywords.get("from", 0.0), op.keywords.get("to", 1.0)
        return low, high

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


def _places(op: Op) -> int:
    """The output that holds the places chosen by score, -1 for none."""
    position = _CHOSEN.get(op.name, 1 if op.name in ("max", "min") else -1)
    return op.outputs[position] if 0 <= position < len(op.outputs) else -1


def _only_alike(op: Op) -> bool:
    """Whether the op reads no values, only a shape or a type."""
    return op.name.endswith("_like") or op.name.startswith("new_")


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
