"""A training step in torch with the machine's arithmetic: halves in memory, single sums in order.

Written from the arithmetic alone, without program, schedule or layout, so that the Verilog can be
held against it: products of halves are exact in FP32, sums begin at +0 and take their terms one by
one (FF and BP: kernel position, then channel; WU: image, row, column), and results are rounded to
halves. Activations but ReLU are their lane programs, operation by operation. Everything else (the
loss, what depends on what) is PyTorch's own autograd.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from weft.mapper.placement.tensors import ACTIVATIONS
from weft.models.sparse.groups import group_mask
from weft.sim.lanes import CODES, Emit, Kind, LaneOp, Source
from weft.sim.lanes.functions import Function, evaluate
from weft.sim.lanes.programs import compile_program

__all__ = [
    "LayerPatterns",
    "Stepped",
    "adamw",
    "emulate_step",
    "kept",
    "lane_values",
    "sgd_momentum",
]

Grouping = tuple[int, int] | None
"""(N, M), or None for dense."""


@dataclass(frozen=True)
class LayerPatterns:
    """How a layer's weight is pruned in FF (along its inputs) and in BP (along its outputs)."""

    ff: Grouping = None
    bp: Grouping = None


@dataclass(frozen=True)
class Stepped:
    """What one pass forward and back made, in halves: outputs, their gradient, and those of
    the weights by parameter name, in PyTorch's shapes."""

    output: Tensor
    output_gradient: Tensor
    gradients: dict[str, Tensor]


def kept(weight: Tensor, pattern: Grouping, axis: int) -> Tensor:
    """Which elements of a weight [out, in, ...] stay: groups along ``axis`` 1 (in) or 0 (out)."""
    if pattern is None:
        return torch.ones_like(weight, dtype=torch.bool)
    flat = weight.reshape(*weight.shape[:2], -1)
    if axis == 1:
        return group_mask(flat, *pattern).reshape(weight.shape)
    grouped = flat.reshape(1, weight.shape[0], -1)
    return group_mask(grouped, *pattern).reshape(weight.shape)


def _running_sum(left: Tensor, right: Tensor) -> Tensor:
    """left [P, K] right [K, N] in FP32, term by term along K, rounded to halves."""
    left, right = left.float(), right.float()
    total = torch.zeros(left.shape[0], right.shape[1])
    for k in range(left.shape[1]):
        total = total + left[:, k : k + 1] * right[k]
    return total.half()


def _windows(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Every window of padded images [B, C, H, W]: [pixels, taps C], a tap's channels together."""
    height = (x.shape[2] - kernel[0]) // stride[0] + 1
    width = (x.shape[3] - kernel[1]) // stride[1] + 1
    pixels = x.permute(0, 2, 3, 1)
    taps = [
        pixels[
            :,
            down : down + (height - 1) * stride[0] + 1 : stride[0],
            right : right + (width - 1) * stride[1] + 1 : stride[1],
        ]
        for down in range(kernel[0])
        for right in range(kernel[1])
    ]
    return torch.cat(taps, dim=-1).reshape(-1, len(taps) * x.shape[1])


def _padded(x: Tensor, rows: int, columns: int) -> Tensor:
    return functional.pad(x, (columns, columns, rows, rows))


class _Convolution(torch.autograd.Function):
    """A convolution, or with a kernel of 1 x 1 a linear layer, with the machine's sums."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        patterns: LayerPatterns,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> Tensor:
        outputs, _, *kernel = weight.shape
        ctx.save_for_backward(x, weight)
        ctx.patterns, ctx.stride, ctx.padding = patterns, stride, padding
        windows = _windows(_padded(x, *padding), (kernel[0], kernel[1]), stride)
        half = weight.half()
        pruned = half * kept(half, patterns.ff, 1)
        sums = _running_sum(windows, pruned.permute(2, 3, 1, 0).reshape(-1, outputs))
        height = (x.shape[2] + 2 * padding[0] - kernel[0]) // stride[0] + 1
        return sums.reshape(x.shape[0], height, -1, outputs).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        outputs, inputs, height, width = weight.shape
        half = weight.half()
        back = None
        if ctx.needs_input_grad[0]:
            if ctx.stride != (1, 1):
                raise ValueError("the input gradient of a strided convolution is not emulated")
            pruned = half * kept(half, ctx.patterns.bp, 0)
            # Kernel positions in their own order: the windows are read backwards.
            around = _padded(gradient, height - 1 - ctx.padding[0], width - 1 - ctx.padding[1])
            windows = _windows(around, (height, width), (1, 1))
            windows = windows.reshape(-1, height, width, outputs).flip(1, 2)
            sums = _running_sum(
                windows.reshape(len(windows), -1), pruned.permute(2, 3, 0, 1).reshape(-1, inputs)
            )
            back = sums.reshape(x.shape[0], *x.shape[2:], inputs).permute(0, 3, 1, 2)
        windows = _windows(_padded(x, *ctx.padding), (height, width), ctx.stride)
        pixels = gradient.permute(0, 2, 3, 1).reshape(-1, outputs)
        sums = _running_sum(windows.T, pixels)
        made = sums.reshape(height, width, inputs, outputs).permute(3, 2, 0, 1)
        return back, made.to(weight.dtype), None, None, None


def _convolution(layer: nn.Conv2d, patterns: LayerPatterns) -> Callable[..., Tensor]:
    def forward(input: Tensor) -> Tensor:  # noqa: A002 - as the layer has it
        stride, padding = tuple(layer.stride), layer.padding
        return _Convolution.apply(input, layer.weight, patterns, stride, padding)  # pyright: ignore

    return forward


def _linear(layer: nn.Linear, patterns: LayerPatterns) -> Callable[..., Tensor]:
    def forward(input: Tensor) -> Tensor:  # noqa: A002 - as the layer has it
        images = input.reshape(-1, input.shape[-1], 1, 1)
        weight = layer.weight[:, :, None, None]
        made = _Convolution.apply(images, weight, patterns, (1, 1), (0, 0))  # pyright: ignore
        return made.reshape(*input.shape[:-1], layer.out_features)

    return forward


class _Activations(TorchDispatchMode):
    """Activations of halves and their gradients as the machine works them out."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func._schema.name.removeprefix("aten::")
        if name.removesuffix("_backward") in ACTIVATIONS and args[0].dtype == torch.float16:
            return lane_values(name, [arg for arg in args if isinstance(arg, Tensor)])
        return func(*args, **(kwargs or {}))


def lane_values(name: str, operands: Sequence[Tensor]) -> Tensor:
    """What the lane program ``name`` makes of halves of one shape, in halves."""
    registers: dict[int, Tensor] = {}
    made = operands[0]
    for op in (op for phase in compile_program(name).phases for op in phase.ops):
        a, b, c = (_read(op, source, operands, registers) for source in (op.a, op.b, op.c))
        value = _lane(op, a, b, c)
        registers[op.target] = value
        if op.emit is Emit.HALF:
            made = value.half()
    return made


def _read(
    op: LaneOp, source: Source, operands: Sequence[Tensor], registers: Mapping[int, Tensor]
) -> Tensor:
    if source.code in (CODES["low"], CODES["high"]):
        value = operands[2 * op.pair + (source.code == CODES["high"])].float()
    elif source.code in registers:
        value = registers[source.code]
    else:
        bits = {CODES["one"]: 0x3F800000, CODES["minus_zero"]: 0x80000000}
        word = np.array([bits.get(source.code, op.constant)], np.uint32).view(np.float32)
        value = torch.from_numpy(word).expand(operands[0].shape)
    value = value.abs() if source.absolute else value
    return -value if source.negate else value


def _lane(op: LaneOp, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    match op.kind:
        case Kind.MAD:
            return a * b + c
        case Kind.MAX:
            return torch.where((a > b) | a.isnan(), a, b)
        case Kind.MIN:
            return torch.where((a < b) | a.isnan(), a, b)
        case Kind.LESS:
            return (a < b).float()
        case Kind.EQUAL:
            return (a == b).float()
        case Kind.PICK:
            return torch.where(a <= 0, c, b)
        case Kind.FUNCTION:
            return _unit(Function(op.function), a)
        case Kind.RANDOM:
            raise ValueError("no activation draws random numbers")


def emulate_step(
    model: nn.Module,
    example: Tensor,
    loss_fn: Callable[[Tensor], Tensor],
    patterns: Mapping[str, LayerPatterns],
) -> Stepped:
    """Run ``model`` forward and back on ``example`` in halves, with the machine's sums.

    Args:
        model: its weights are the master copies, in FP32.
        example: the input, in halves.
        loss_fn: of the output in FP32; its gradient is rounded to halves.
        patterns: by parameter name; these layers are emulated, others would run as they are.
    """
    copied = copy.deepcopy(model).float()
    for name, layer in copied.named_modules():
        chosen = patterns.get(f"{name}.weight")
        if chosen is None:
            continue
        if isinstance(layer, nn.Conv2d):
            layer.forward = _convolution(layer, chosen)
        elif isinstance(layer, nn.Linear):
            layer.forward = _linear(layer, chosen)
    with _Activations():
        output = copied(example)
    scores = output.detach().float().requires_grad_()
    loss_fn(scores).backward()
    assert scores.grad is not None
    gradient = scores.grad.half()
    with _Activations():
        output.backward(gradient)
    found = {
        name: parameter.grad.half()
        for name, parameter in copied.named_parameters()
        if parameter.grad is not None
    }
    return Stepped(output.detach(), gradient, found)


def sgd_momentum(
    weight: Tensor, momentum: Tensor, gradient: Tensor, constants: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """(weight, momentum) after a step, each operation rounded once, in the order of torch's SGD.

    ``constants``: learning rate, momentum, weight decay. torch.optim.SGD itself may fuse a
    multiplication with an addition.
    """
    rate, carried, decay = (torch.tensor(value, dtype=torch.float32) for value in constants)
    step = gradient.float() + decay * weight
    moved = carried * momentum + step
    return weight - rate * moved, moved


def adamw(
    weight: Tensor, first: Tensor, second: Tensor, gradient: Tensor, constants: tuple[float, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """(weight, first, second moment) after a step, each operation rounded once.

    ``constants``: decay, keep, rate, blend and epsilon, as the machine takes them
    (``weft.sim.reference.update.adamw_constants``).
    """
    decay, keep, rate, blend, epsilon = (
        torch.tensor(value, dtype=torch.float32) for value in constants
    )
    slope = gradient.float()
    first = first + blend * (slope - first)
    second = keep * second + (1 - keep) * (slope * slope)
    root = _unit(Function.RECIPROCAL, _unit(Function.RSQRT, second))
    step = first * _unit(Function.RECIPROCAL, root + epsilon)
    return decay * weight - rate * step, first, second


def _unit(which: Function, values: Tensor) -> Tensor:
    """An elementary function as the machine has it."""
    bits = values.contiguous().view(torch.int32).numpy().view(np.uint32)
    return torch.from_numpy(evaluate(which, bits).view(np.int32)).view(torch.float32)
