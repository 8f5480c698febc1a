"""Pooling and interpolation: ops over windows of an image."""

from __future__ import annotations

from math import prod
from typing import Any

from weft.mapper.lowering.context import Lowering
from weft.mapper.lowering.emission import emit, written
from weft.mapper.lowering.registry import lowers
from weft.mapper.tracing.graph import Op
from weft.sim.lanes import Over
from weft.sim.lanes.programs import compile_program
from weft.sim.workload import Scan

__all__: list[str] = []


@lowers("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool1d", "avg_pool2d",
        "avg_pool3d", "max_pool2d", "max_pool3d", "mkldnn_max_pool2d")  # fmt: skip
def _pool(lowering: Lowering, op: Op) -> None:
    """A sweep over each output's window; overlapping windows stay in the unit."""
    source = lowering.tensor(op.arguments[0])
    emit(
        lowering,
        op,
        elements=lowering.outputs(op)[0].elements,
        passes=_pool_passes(op.name, _window(op.arguments[1], op.name)),
        reads=source.distinct,
        programs=(_pool_program(op.name),),
    )


def _pool_passes(name: str, window: int) -> int:
    """Lane operations per output: those of every element of its window, and around them."""
    found = compile_program(_pool_program(name), Over.LANES)
    return found.passes * window + found.row_passes


def _pool_program(name: str) -> str:
    if "with_indices" in name or "adaptive_max" in name:
        return "max_pool_places"
    return "avg_pool" if "avg" in name else "max_pool"


@lowers("avg_pool2d_backward", "avg_pool3d_backward")
def _average_pool_backward(lowering: Lowering, op: Op) -> None:
    """Each output gradient is added to its whole window."""
    gradient = lowering.tensor(op.arguments[0])
    emit(
        lowering,
        op,
        elements=gradient.elements,
        passes=_window(op.arguments[2], op.name),
        reads=gradient.distinct,
        programs=("add",),
    )


@lowers("max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward")
def _max_pool_backward(lowering: Lowering, op: Op) -> None:
    """Each pixel looks whether it is the largest of the windows that it lies in."""
    window = _window(op.arguments[2], op.name)
    _look_back(lowering, op, window)


@lowers("adaptive_max_pool2d_backward", "adaptive_max_pool3d_backward")
def _adaptive_max_pool_backward(lowering: Lowering, op: Op) -> None:
    gradient = lowering.tensor(op.arguments[0])
    _look_back(lowering, op, -(-written(lowering, op) // max(1, gradient.elements)))


def _look_back(lowering: Lowering, op: Op, window: int) -> None:
    """Of max_pool_backward what a window costs, per window, and what a pixel costs, per pixel."""
    gradient, target = lowering.tensor(op.arguments[0]), written(lowering, op)
    none = compile_program("max_pool_backward", Over.LANES).row_passes
    one = compile_program("max_pool_backward", Over.LANES, constants=(0.0, 0.0)).row_passes - none
    pixels = -(-target // max(1, gradient.elements))
    emit(
        lowering,
        op,
        elements=gradient.elements,
        passes=one * window + none * pixels,
        reads=2 * gradient.distinct,
        programs=("max_pool_backward",),
    )


@lowers("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_adaptive_avg_pool2d_backward",
        "_adaptive_avg_pool3d_backward", "adaptive_max_pool2d", "adaptive_max_pool3d",
        "adaptive_avg_pool2d", "adaptive_avg_pool3d")  # fmt: skip
def _adaptive_pool(lowering: Lowering, op: Op) -> None:
    """Windows that cover the input once; backward a copy per element."""
    first = lowering.tensor(op.arguments[0])
    outputs = lowering.outputs(op)[0].elements
    if op.name.endswith("backward"):
        made = written(lowering, op)
        emit(lowering, op, elements=made, reads=first.distinct, programs=("copy",))
        return
    passes = _pool_passes(op.name, -(-first.elements // max(1, outputs)))
    name = (_pool_program(op.name),)
    emit(lowering, op, elements=outputs, passes=passes, reads=first.distinct, programs=name)


@lowers("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
        "_upsample_nearest_exact1d", "_upsample_nearest_exact2d",
        "_upsample_nearest_exact3d")  # fmt: skip
def _nearest(lowering: Lowering, op: Op) -> None:
    source = lowering.tensor(op.arguments[0])
    elements = written(lowering, op)
    emit(lowering, op, elements=elements, reads=source.distinct, programs=("copy",))


@lowers("upsample_nearest1d_backward", "upsample_nearest2d_backward",
        "upsample_nearest3d_backward", "_upsample_nearest_exact2d_backward")  # fmt: skip
def _nearest_backward(lowering: Lowering, op: Op) -> None:
    """Every gradient is added to its pixel."""
    gradient = lowering.tensor(op.arguments[0])
    emit(lowering, op, elements=gradient.elements, reads=gradient.distinct, programs=("add",))


@lowers("upsample_linear1d", "upsample_linear1d_backward", "upsample_bilinear2d",
        "upsample_bilinear2d_backward", "upsample_trilinear3d", "upsample_trilinear3d_backward",
        "upsample_bicubic2d", "upsample_bicubic2d_backward", "_upsample_bilinear2d_aa",
        "_upsample_bilinear2d_aa_backward", "_upsample_bicubic2d_aa",
        "_upsample_bicubic2d_aa_backward")  # fmt: skip
def _interpolate(lowering: Lowering, op: Op) -> None:
    """Sums of a few pixels by weights that the sizes decide; backward of a few gradients."""
    first, made = lowering.tensor(op.arguments[0]), lowering.outputs(op)[0]
    large = max(first, made, key=lambda tensor: tensor.elements)
    fine = first if op.name.endswith("_backward") else made
    coarse = made if fine is first else first
    taps = _taps(op.name, coarse.shape[2:], fine.shape[2:])
    terms = fine.elements * taps
    emit(
        lowering,
        op,
        elements=large.elements,
        passes=taps,
        reads=first.distinct,
        rows=made.elements if terms % made.elements == 0 else fine.elements,
        programs=("dot",),
        scan=Scan(terms, 1, first.distinct + taps * prod(fine.shape[2:]), made.elements),
    )


def _taps(name: str, source: tuple[int, ...], target: tuple[int, ...]) -> int:
    """Pixels of one result: 2 or, cubic, 4 in each direction; antialiased as many as it spans."""
    each = 4 if "cubic" in name else 2
    if "_aa" not in name:
        return each ** len(source)
    return prod(-(-each * max(a, b) // b) for a, b in zip(source, target, strict=True))


def _window(kernel: Any, name: str) -> int:
    """Elements of a pooling window; one size stands for all dimensions."""
    sizes: list[int] = list(kernel) if isinstance(kernel, (tuple, list)) else [kernel]
    dimensions = 3 if "3d" in name else 1 if "1d" in name else 2
    return prod(sizes) if len(sizes) > 1 else sizes[0] ** dimensions
