"""Convolutions of one to three dimensions, plain, grouped, dilated and transposed."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from weft.mapper.lowering.context import Lowering
from weft.mapper.lowering.registry import lowers
from weft.mapper.tracing.graph import Op, Tensor
from weft.sim.workload import Convolution, Operand, Product, Role, Stage, VectorOp

__all__: list[str] = []


@dataclass(frozen=True)
class _Geometry:
    """Sizes of a convolution; ``grid`` are the positions at which the kernel is laid."""

    convolution: Convolution
    groups: int
    grid: int
    kernel: int

    @property
    def positions(self) -> int:
        return self.convolution.images * self.grid


@lowers("convolution", "_convolution", "convolution_overrideable", "cudnn_convolution",
        "_slow_conv2d_forward")  # fmt: skip
def _forward(lowering: Lowering, op: Op) -> None:
    arguments = op.arguments
    source, weight = lowering.tensor(arguments[0]), lowering.tensor(arguments[1])
    output = lowering.outputs(op)[0]
    g = _geometry(
        source, weight, output, *arguments[3:6], transposed=arguments[6], groups=arguments[8]
    )
    c = g.convolution
    if c.transposed:
        sizes = (g.positions, c.in_channels, c.out_channels * g.kernel, g.groups)
    else:
        sizes = (g.positions, c.in_channels * g.kernel, c.out_channels, g.groups)
    made = lowering.forward_product(
        op,
        sizes,
        source,
        weight,
        Operand(Role.ACTIVATION, output.elements, output.index),
        convolution=c,
        kind="convolution",
    )
    if arguments[2] is not None:
        lowering.add_bias(op, made, lowering.tensor(arguments[2]))


@lowers("convolution_backward")
def _backward(lowering: Lowering, op: Op) -> None:
    arguments = op.arguments
    gradient, source, weight = (lowering.tensor(argument) for argument in arguments[:3])
    g = _geometry(
        source, weight, gradient, *arguments[4:7], transposed=arguments[7], groups=arguments[9]
    )
    outputs = iter(lowering.outputs(op))
    wanted = arguments[10]
    makes = [next(outputs) if want else None for want in wanted]
    name = next((f.layer for f in lowering.forward_of(op)), None) or lowering.layer(
        op, lowering.operand(weight).parameter
    )
    if makes[0] is not None:
        _input_gradient(lowering, op, name, g, gradient, weight, makes[0])
    if makes[1] is not None:
        _weight_gradient(lowering, op, name, g, gradient, source, weight, makes[1])
    if makes[2] is not None:
        lowering.emit(
            VectorOp(
                name=name,
                stage=Stage.WU,
                op="bias_gradient",
                elements=gradient.elements,
                reads=gradient.distinct,
                writes=makes[2].elements,
                inputs=lowering.waits_for((gradient.index,)),
                rows=makes[2].elements,
                channels=True,
                programs=("sum",),
            ),
            (makes[2].index,),
        )


def _input_gradient(
    lowering: Lowering,
    op: Op,
    name: str,
    g: _Geometry,
    gradient: Tensor,
    weight: Tensor,
    output: Tensor,
) -> None:
    c = g.convolution
    lowering.emit(
        Product(
            name=name,
            stage=Stage.BP,
            op="convolution_backward",
            m=g.positions,
            k=c.out_channels * g.kernel,
            n=c.in_channels,
            batch=g.groups,
            left=lowering.operand(gradient, Role.GRADIENT),
            right=lowering.operand(weight),
            output=Operand(Role.GRADIENT, output.elements, output.index),
            inputs=lowering.waits_for((gradient.index, weight.index)),
            convolution=c,
        ),
        (output.index,),
    )


def _weight_gradient(
    lowering: Lowering,
    op: Op,
    name: str,
    g: _Geometry,
    gradient: Tensor,
    source: Tensor,
    weight: Tensor,
    output: Tensor,
) -> None:
    c = g.convolution
    rows = c.in_channels if c.transposed else c.in_channels * g.kernel
    columns = c.out_channels * g.kernel if c.transposed else c.out_channels
    kernel = lowering.operand(weight)
    is_weight = kernel.role is Role.WEIGHT
    lowering.emit(
        Product(
            name=name,
            stage=Stage.WU if is_weight else Stage.BP,
            op="convolution_backward",
            m=rows,
            k=g.positions,
            n=columns,
            batch=g.groups,
            left=lowering.operand(source, Role.ACTIVATION),
            right=lowering.operand(gradient, Role.GRADIENT),
            output=Operand(
                Role.WEIGHT if is_weight else Role.GRADIENT,
                output.elements,
                output.index,
                kernel.parameter,
            ),
            inputs=lowering.waits_for((gradient.index, source.index)),
            convolution=c,
        ),
        (output.index,),
    )


def _geometry(
    source: Tensor,
    weight: Tensor,
    output: Tensor,
    stride: Any,
    padding: Any,
    dilation: Any,
    *,
    transposed: bool,
    groups: int,
) -> _Geometry:
    dimensions = len(weight.shape) - 2
    images = source.shape[0] if len(source.shape) == dimensions + 2 else 1
    in_size, out_size = source.shape[-dimensions:], output.shape[-dimensions:]
    kernel = weight.shape[2:]
    first, second = weight.shape[:2]
    if transposed:
        in_channels, out_channels = first // groups, second
    else:
        in_channels, out_channels = second, first // groups
    convolution = Convolution(
        images=images,
        in_channels=in_channels,
        out_channels=out_channels,
        in_size=_plane(in_size, 1, fold=True),
        out_size=_plane(out_size, 1, fold=True),
        kernel=_plane(kernel, 1, fold=True),
        stride=_plane(_each(stride, dimensions), 1),
        padding=_plane(_each(padding, dimensions), 0),
        dilation=_plane(_each(dilation, dimensions), 1),
        transposed=transposed,
    )
    grid = prod(in_size if transposed else out_size)
    return _Geometry(convolution, groups, grid, prod(kernel))


def _each(value: Any, dimensions: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * dimensions if len(values) == 1 else values


def _plane(sizes: tuple[int, ...], missing: int, *, fold: bool = False) -> tuple[int, int]:
    """(height, width) of one to three sizes; depth goes into height, or is left out."""
    if len(sizes) == 1:
        return missing, sizes[0]
    return (prod(sizes[:-1]) if fold else sizes[-2]), sizes[-1]
