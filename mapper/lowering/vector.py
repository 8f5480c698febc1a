"""Ops of the vector unit; the table beside this module says what each costs."""

from __future__ import annotations

from math import prod
from typing import Any

from weft.mapper.graph import Op, Tensor
from weft.mapper.lowering.context import Lowering
from weft.mapper.lowering.registry import lowers
from weft.mapper.lowering.table import BACKWARD_SWEEPS, MOVES, OVERWRITES, POINTWISE, SWEEPS
from weft.sim.lanes import Over
from weft.sim.vector_programs import ELEMENTWISE, compile_program
from weft.sim.workload import Stage, VectorOp

__all__ = ["lower_pointwise"]


def lower_pointwise(lowering: Lowering, op: Op, passes: int) -> None:
    """One sweep over the output, fusable behind the producer of a full-sized input."""
    if op.name.startswith("pow") and op.arguments[1:2] == (2,):
        passes = POINTWISE["square"]
    _emit(
        lowering,
        op,
        elements=_largest(lowering.outputs(op)),
        passes=passes,
        reads=sum(tensor.distinct for tensor in _read(lowering, op)),
        elementwise=True,
        programs=tuple(name for name in (op.name, op.name.rstrip("_")) if name in ELEMENTWISE)[:1],
    )


_REDUCTIONS = frozenset(
    [
        "sum",
        "mean",
        "amax",
        "amin",
        "max",
        "min",
        "any",
        "all",
        "var",
        "std",
        "var_mean",
        "std_mean",
        "logsumexp",
    ]
)


@lowers(*SWEEPS)
def _sweep(lowering: Lowering, op: Op) -> None:
    row = SWEEPS[op.name]
    inputs = _read(lowering, op)
    source = inputs[0]
    channels = row.channels or (op.name in _REDUCTIONS and _apart(op, source))
    again = inputs[: 2 if op.name in BACKWARD_SWEEPS else 1]
    _emit(
        lowering,
        op,
        elements=_largest(inputs[:1]),
        passes=row.passes,
        reads=sum(t.distinct for t in inputs) + (row.sweeps - 1) * sum(t.distinct for t in again),
        rows=_rows(lowering, op, source, row.channels) if row.programs else 0,
        channels=channels,
        programs=row.programs,
    )


def _rows(lowering: Lowering, op: Op, source: Tensor, channels: bool) -> int:
    """How many rows the op sums over: PyTorch's arguments say."""
    name, given = op.name, op.arguments
    backward = name in BACKWARD_SWEEPS
    if channels:
        return source.shape[1] if len(source.shape) > 1 else 1
    if "softmax" in name:
        axis = given[2 if backward else 1]
        return source.elements // max(1, source.shape[axis] if source.shape else 1)
    if "group_norm" in name:
        return given[5] * given[8] if backward else given[3] * given[6]
    if "layer_norm" in name or "rms_norm" in name:
        return source.elements // max(1, prod(given[2 if backward else 1]))
    return lowering.outputs(op)[0].elements


def _apart(op: Op, source: Tensor) -> bool:
    """Whether what is summed lies apart: the last axis stays, or in an image the channels."""
    axes = op.arguments[1] if len(op.arguments) > 1 else None
    if isinstance(axes, int) and not isinstance(axes, bool):
        axes = [axes]
    if not isinstance(axes, (list, tuple)) or not axes:
        return False
    rank = len(source.shape)
    summed = {int(axis) % rank for axis in axes} if rank else set[int]()
    image = rank == 4 and 1 not in summed and summed >= {2, 3}
    return rank - 1 not in summed or image


@lowers(*MOVES)
def _move(lowering: Lowering, op: Op) -> None:
    _emit(
        lowering,
        op,
        elements=_written(lowering, op),
        reads=sum(tensor.distinct for tensor in _read(lowering, op)),
        programs=("copy",),
    )


@lowers("embedding", "index_select", "index", "gather", "take", "take_along_dim",
        "_unsafe_index", "masked_select")  # fmt: skip
def _gather(lowering: Lowering, op: Op) -> None:
    """As many elements of the table as there are in the output, and the indices.

    Rows by indices that the host knows when it writes the program are loads and a copy; loads have
    no addresses that the data decide, so other gathers have a price but no program.
    """
    inputs = _read(lowering, op)
    output = _written(lowering, op)
    indices = sum(tensor.distinct for tensor in inputs[1:])
    _emit(
        lowering,
        op,
        elements=output,
        reads=min(output, inputs[0].distinct) + indices,
        programs=("copy",) if op.name == "embedding" and _known(lowering, op) else (),
    )


def _known(lowering: Lowering, op: Op) -> bool:
    """Whether the op's indices are inputs or constants of the step, not worked out in it."""
    makers = lowering.waits_for((lowering.tensor(op.arguments[1]).index,))
    items = [lowering.items[place] for place in makers]
    return all(
        isinstance(item, VectorOp) and (not item.reads or item.op.endswith("_like"))
        for item in items
    )


@lowers("embedding_dense_backward", "index_put", "index_put_", "_index_put_impl_", "index_add",
        "index_add_", "scatter_add", "scatter_add_", "scatter", "scatter_", "scatter_reduce",
        "index_copy", "index_copy_", "_unsafe_index_put", "masked_scatter")  # fmt: skip
def _scatter(lowering: Lowering, op: Op) -> None:
    """The target is cleared or copied, then every element of the source added to its place."""
    inputs = _read(lowering, op)
    in_place = op.name.endswith("_")
    source = inputs[0] if op.name == "embedding_dense_backward" else inputs[-1]
    indices = sum(t.distinct for t in inputs[1:] if t is not source)
    target = 0 if in_place else _written(lowering, op)
    copied = 0 if in_place or op.name == "embedding_dense_backward" else inputs[0].distinct
    _emit(
        lowering,
        op,
        elements=source.elements + target,
        reads=2 * source.distinct + indices + copied,
        writes=source.elements + target,
        programs=("add",) if op.name == "embedding_dense_backward" and _known(lowering, op) else (),
    )


@lowers("nll_loss_forward", "nll_loss2d_forward")
def _loss(lowering: Lowering, op: Op) -> None:
    """One score and one label per row."""
    rows = lowering.tensor(op.arguments[1]).elements
    _emit(lowering, op, elements=rows, reads=2 * rows)


@lowers("nll_loss_backward", "nll_loss2d_backward")
def _loss_backward(lowering: Lowering, op: Op) -> None:
    """Clear the gradient, then one element per row."""
    rows = lowering.tensor(op.arguments[2]).elements
    _emit(lowering, op, elements=_written(lowering, op) + rows, reads=rows + 1)


@lowers("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool1d", "avg_pool2d",
        "avg_pool3d", "max_pool2d", "max_pool3d", "mkldnn_max_pool2d")  # fmt: skip
def _pool(lowering: Lowering, op: Op) -> None:
    """A sweep over each output's window; overlapping windows stay in the unit."""
    source = lowering.tensor(op.arguments[0])
    _emit(
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
    _emit(
        lowering,
        op,
        elements=gradient.elements,
        passes=_window(op.arguments[2], op.name),
        reads=gradient.distinct,
        programs=("copy",),
    )


@lowers("max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward")
def _max_pool_backward(lowering: Lowering, op: Op) -> None:
    """Each pixel looks whether it is the largest of the windows that it lies in."""
    window = _window(op.arguments[2], op.name)
    _look_back(lowering, op, window)


@lowers("adaptive_max_pool2d_backward", "adaptive_max_pool3d_backward")
def _adaptive_max_pool_backward(lowering: Lowering, op: Op) -> None:
    gradient = lowering.tensor(op.arguments[0])
    _look_back(lowering, op, -(-_written(lowering, op) // max(1, gradient.elements)))


def _look_back(lowering: Lowering, op: Op, window: int) -> None:
    """Of max_pool_backward what a window costs, per window, and what a pixel costs, per pixel."""
    gradient, target = lowering.tensor(op.arguments[0]), _written(lowering, op)
    none = compile_program("max_pool_backward", Over.LANES).row_passes
    one = compile_program("max_pool_backward", Over.LANES, constants=(0.0, 0.0)).row_passes - none
    pixels = -(-target // max(1, gradient.elements))
    _emit(
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
        written = _written(lowering, op)
        _emit(lowering, op, elements=written, reads=first.distinct, programs=("copy",))
        return
    passes = _pool_passes(op.name, -(-first.elements // max(1, outputs)))
    name = (_pool_program(op.name),)
    _emit(lowering, op, elements=outputs, passes=passes, reads=first.distinct, programs=name)


@lowers("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
        "upsample_nearest1d_backward", "upsample_nearest2d_backward",
        "upsample_nearest3d_backward", "_upsample_nearest_exact2d")  # fmt: skip
def _nearest(lowering: Lowering, op: Op) -> None:
    first = lowering.tensor(op.arguments[0])
    elements = max(first.elements, _written(lowering, op))
    _emit(lowering, op, elements=elements, reads=first.distinct)


@lowers("upsample_bilinear2d", "upsample_bilinear2d_backward", "upsample_linear1d",
        "_upsample_bilinear2d_aa", "upsample_bicubic2d", "upsample_bicubic2d_backward",
        "upsample_linear1d_backward", "grid_sampler_2d")  # fmt: skip
def _interpolate(lowering: Lowering, op: Op) -> None:
    """Taps of the interpolation: 2 linear, 4 bilinear, 16 bicubic multiply-adds per element."""
    first = lowering.tensor(op.arguments[0])
    taps = 16 if "bicubic" in op.name else 2 if "linear1d" in op.name else 4
    elements = max(first.elements, _written(lowering, op))
    _emit(lowering, op, elements=elements, passes=taps, reads=first.distinct)


@lowers("mv", "addmv", "dot", "vdot")
def _matrix_vector(lowering: Lowering, op: Op) -> None:
    """One multiply-add per element of the matrix; PyTorch's counter does not call it a product."""
    inputs = _read(lowering, op)
    elements = _largest(inputs)
    _emit(lowering, op, elements=elements, reads=sum(tensor.distinct for tensor in inputs))


@lowers("topk")
def _topk(lowering: Lowering, op: Op) -> None:
    """An insertion sorter: k compares for each element."""
    source = lowering.tensor(op.arguments[0])
    _emit(lowering, op, elements=source.elements, passes=op.arguments[1], reads=source.distinct)


@lowers("sort", "argsort", "kthvalue", "median")
def _sort(lowering: Lowering, op: Op) -> None:
    """A bitonic network (Batcher 1968): log n (log n + 1) / 2 compares for each element."""
    source = lowering.tensor(op.arguments[0])
    levels = max(1, (max(source.shape, default=1) - 1).bit_length())
    _emit(
        lowering,
        op,
        elements=source.elements,
        passes=levels * (levels + 1) // 2,
        reads=source.distinct,
    )


def _emit(
    lowering: Lowering,
    op: Op,
    *,
    elements: int,
    reads: int,
    passes: int = 1,
    writes: int | None = None,
    elementwise: bool = False,
    rows: int = 0,
    channels: bool = False,
    programs: tuple[str, ...] = (),
) -> None:
    stage = op.stage
    if stage is Stage.BP and lowering.makes_only_parameter_gradients(op):
        stage = Stage.WU
    lowering.emit(
        VectorOp(
            name=lowering.place(op),
            stage=stage,
            op=op.name,
            elements=elements,
            reads=reads,
            writes=_written(lowering, op) if writes is None else writes,
            passes=passes,
            elementwise=elementwise,
            inputs=lowering.waits_for(_full_sized_first(lowering, op, elements)),
            rows=rows,
            channels=channels,
            programs=programs,
        ),
        op.outputs,
    )


def _full_sized_first(lowering: Lowering, op: Op, elements: int) -> list[int]:
    """Inputs with as many elements as the op first, of these the one made last first."""
    return sorted(
        op.inputs,
        key=lambda i: (
            lowering.graph.tensors[i].elements != elements,
            -max(lowering.waits_for((i,)), default=-1),
        ),
    )


def _read(lowering: Lowering, op: Op) -> list[Tensor]:
    """Distinct tensors that the op really reads."""
    unread = set(op.writes) if op.name.rstrip("_") in OVERWRITES else set[int]()
    return [tensor for tensor in lowering.inputs(op) if tensor.index not in unread]


def _written(lowering: Lowering, op: Op) -> int:
    return sum(tensor.elements for tensor in lowering.outputs(op))


def _largest(tensors: list[Tensor]) -> int:
    return max((tensor.elements for tensor in tensors), default=0)


def _window(kernel: Any, name: str) -> int:
    """Elements of a pooling window; one size stands for all dimensions."""
    sizes: list[int] = list(kernel) if isinstance(kernel, (tuple, list)) else [kernel]
    dimensions = 3 if "3d" in name else 1 if "1d" in name else 2
    return prod(sizes) if len(sizes) > 1 else sizes[0] ** dimensions
