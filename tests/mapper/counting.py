"""Multiply-accumulates by op: PyTorch's own counter beside weft's trace."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from weft.mapper.lowering.lower import lower
from weft.mapper.tracing.loss import default_loss
from weft.mapper.tracing.trace import trace

Build = Callable[[], tuple[nn.Module, Any]]


def grouped_backward(
    gradient: Any, source: Any, weight: Any, *arguments: Any, out_shape: Any = None
) -> int:
    """FLOP of a convolution's backward that are right for groups.

    The counter of PyTorch up to 2.13 counts the weight gradient ``groups`` times
    (pytorch/pytorch pull request 183405 divides by them).
    """
    _bias, _stride, _padding, _dilation, transposed, _output_padding, _groups, mask = arguments
    positions = prod((source if transposed else gradient)[2:])
    return 2 * gradient[0] * positions * prod(weight) * sum(map(bool, mask[:2]))


def matrix_vector(matrix: Any, vector: Any, **_: Any) -> int:
    """FLOP of a matrix times a vector, which PyTorch's counter does not know."""
    return 2 * prod(matrix)


def added_matrix_vector(_bias: Any, matrix: Any, vector: Any, **_: Any) -> int:
    """As ``matrix_vector``, with something added."""
    return 2 * prod(matrix)


VECTORS = {
    torch.ops.aten.mv: matrix_vector,
    torch.ops.aten.dot: matrix_vector,
    torch.ops.aten.addmv: added_matrix_vector,
}


def counted(build: Build, *, device: str = "cpu", grouped: bool = False) -> dict[str, int]:
    """What PyTorch counts in a real step; attention as products, RNN cells as their linears."""
    groups = {torch.ops.aten.convolution_backward: grouped_backward} if grouped else {}
    counter = FlopCounterMode(display=False, custom_mapping={**VECTORS, **groups})
    with warnings.catch_warnings(), torch.device(device):
        warnings.simplefilter("ignore")
        return _counted(build, counter)


def _counted(build: Build, counter: FlopCounterMode) -> dict[str, int]:
    with torch.backends.mkldnn.flags(enabled=False):
        model, inputs = build()
        with counter, sdpa_kernel(SDPBackend.MATH):
            loss = default_loss(call(model, inputs))
            assert loss is not None
            loss.backward()
    total = counter.get_flop_counts().get("Global", {})
    return {str(op).removeprefix("aten."): count // 2 for op, count in total.items() if count}


def call(model: nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def traced(build: Build) -> dict[str, int]:
    """What weft finds, from the builder."""
    totals: Counter[str] = Counter()
    for product in lower(trace(build)).products:
        totals[product.op] += product.macs_dense
    return dict(totals)
