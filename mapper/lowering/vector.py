"""Ops of the vector unit; the table beside this module says what each costs."""

from __future__ import annotations

from math import prod

from weft.mapper.lowering.context import Lowering
from weft.mapper.lowering.emission import axis_of, emit, largest, read_tensors, written
from weft.mapper.lowering.registry import lowers
from weft.mapper.lowering.table import (
    ACCUMULATES,
    BACKWARD_SWEEPS,
    COMPONENTWISE,
    GENERATES,
    MOVES,
    POINTWISE,
    SWEEPS,
)
from weft.mapper.tracing.graph import Op, Reference, Tensor
from weft.sim.lanes.programs import ELEMENTWISE, SEVERAL, compile_program

__all__ = ["lower_pointwise"]


def lower_pointwise(lowering: Lowering, op: Op, passes: int) -> None:
    """One sweep over the output, fusable behind the producer of a full-sized input."""
    if any("complex" in t.dtype for t in (*lowering.inputs(op), *lowering.outputs(op))):
        _complex(lowering, op)
        return
    inputs = read_tensors(lowering, op)
    emit(
        lowering,
        op,
        elements=largest(lowering.outputs(op)),
        passes=passes,
        reads=sum(tensor.distinct for tensor in inputs),
        elementwise=True,
        programs=tuple(name for name in (op.name, op.name.rstrip("_")) if name in ELEMENTWISE)[:1],
    )


@lowers("pow", "pow_")
def _power(lowering: Lowering, op: Op) -> None:
    """By a number known before, by another tensor, or of a number."""
    base, exponent = op.arguments[:2]
    constants: tuple[float, ...] = ()
    if not isinstance(base, Reference):
        name = "exp"
    elif isinstance(exponent, Reference):
        name = "float_power"
    else:
        name, constants = "pow", (float(exponent),)
    emit(
        lowering,
        op,
        elements=largest(lowering.outputs(op)),
        passes=compile_program(name, constants=constants).passes,
        reads=sum(tensor.distinct for tensor in read_tensors(lowering, op)),
        elementwise=True,
        programs=(name,),
        constants=constants,
    )


@lowers("mse_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy")
def _loss(lowering: Lowering, op: Op) -> None:
    """An error for each element, and in most cases their sum."""
    inputs = read_tensors(lowering, op)
    if largest(inputs) == largest(lowering.outputs(op)):
        lower_pointwise(lowering, op, POINTWISE[op.name])
        return
    emit(
        lowering,
        op,
        elements=largest(inputs),
        passes=POINTWISE[op.name] + SWEEPS["sum"].passes,
        reads=sum(tensor.distinct for tensor in inputs),
        programs=(op.name, "sum"),
    )


@lowers("native_dropout", "_prelu_kernel_backward")
def _two_results(lowering: Lowering, op: Op) -> None:
    emit(
        lowering,
        op,
        elements=largest(lowering.outputs(op)),
        passes=compile_program(op.name).passes,
        reads=sum(tensor.distinct for tensor in read_tensors(lowering, op)),
        programs=(op.name,),
    )


_COMPLEX = {
    "mul": "complex_product",
    "div": "complex_quotient",
    "sgn": "complex_sign",
    "polar": "polar",
    "complex": "copy",
    "abs": "hypot",
    "angle": "atan2",
}
"""Programs of what mixes the two parts, or makes one of them or two."""


def _complex(lowering: Lowering, op: Op) -> None:
    """Two numbers for each element; what mixes them has a program of its own, or none."""
    name, made = op.name.rstrip("_"), written(lowering, op)
    reads = sum(
        tensor.distinct * (2 if "complex" in tensor.dtype else 1)
        for tensor in read_tensors(lowering, op)
    )
    program = name if name in COMPONENTWISE else _COMPLEX.get(name)
    parts = 2 if any("complex" in tensor.dtype for tensor in lowering.outputs(op)) else 1
    emit(
        lowering,
        op,
        elements=made if program in SEVERAL else parts * made,
        passes=compile_program(program).passes if program else 1,
        reads=reads,
        writes=parts * made,
        programs=(program,) if program else (),
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
        "prod",
        "nansum",
        "count_nonzero",
    ]
)
_WITH_PLACES = {"max": "argmax", "min": "argmin"}
"""What makes the second output, the places."""


@lowers(*SWEEPS)
def _sweep(lowering: Lowering, op: Op) -> None:
    row = SWEEPS[op.name]
    inputs = read_tensors(lowering, op)
    source = inputs[0]
    channels = row.channels or (op.name in _REDUCTIONS and _apart(op, source))
    again = inputs[: 2 if op.name in BACKWARD_SWEEPS else 1]
    programs, passes = row.programs, row.passes
    if op.name in _WITH_PLACES and len(op.outputs) > 1:
        places = SWEEPS[_WITH_PLACES[op.name]]
        programs, passes = (*places.programs, *programs), passes + places.passes
        channels = False
    emit(
        lowering,
        op,
        elements=largest(inputs[:1]),
        passes=passes,
        reads=sum(t.distinct for t in inputs) + (row.sweeps - 1) * sum(t.distinct for t in again),
        rows=_rows(lowering, op, source, channels=row.channels),
        channels=channels,
        programs=programs,
    )


def _rows(lowering: Lowering, op: Op, source: Tensor, *, channels: bool) -> int:
    """How many rows the op sums over: PyTorch's arguments say."""
    name, given = op.name, op.arguments
    backward = name in BACKWARD_SWEEPS
    if "weight_norm" in name:
        return lowering.tensor(given[2 if backward else 1]).elements
    if name.startswith("cum"):
        return source.elements // max(1, source.shape[axis_of(op, 1)] if source.shape else 1)
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


@lowers("polar", "complex", "angle")
def _parts(lowering: Lowering, op: Op) -> None:
    lower_pointwise(lowering, op, 1)


@lowers(*MOVES)
def _move(lowering: Lowering, op: Op) -> None:
    """What is made like another tensor, or new of its type, does not read it."""
    fills = op.name.endswith("_like") or op.name.startswith("new_")
    emit(
        lowering,
        op,
        elements=written(lowering, op),
        reads=0 if fills else sum(tensor.distinct for tensor in read_tensors(lowering, op)),
        programs=("copy",),
    )


@lowers("_cdist_forward", "_cdist_backward", "_pdist_forward", "_pdist_backward")
def _distances(lowering: Lowering, op: Op) -> None:
    """Differences of every pair of rows, and their norm; backward a sum of scaled differences."""
    inputs = read_tensors(lowering, op)
    pairs = lowering.outputs(op)[0] if op.name.endswith("forward") else inputs[0]
    width = lowering.tensor(op.arguments[0 if op.name.endswith("forward") else 1]).shape[-1]
    programs = ("sub", "norm") if op.name.endswith("forward") else ("sub", "mul", "add")
    emit(
        lowering,
        op,
        elements=pairs.elements * width,
        passes=sum(_PASSES[name] for name in programs),
        reads=sum(tensor.distinct for tensor in inputs),
        programs=programs,
    )


_PASSES = {**POINTWISE, "norm": SWEEPS["norm"].passes}


@lowers("_fused_moving_avg_obs_fq_helper", "fused_moving_avg_obs_fake_quant")
def _observe(lowering: Lowering, op: Op) -> None:
    """The extremes of a tensor, then every element scaled, rounded, kept in range, scaled back."""
    source = lowering.tensor(op.arguments[0])
    programs = ("amax", "amin", "mul", "round", "clamp", "mul")
    emit(
        lowering,
        op,
        elements=source.elements,
        passes=sum(SWEEPS[n].passes if n in SWEEPS else POINTWISE[n] for n in programs),
        reads=2 * source.distinct,
        programs=programs,
    )


@lowers(*GENERATES)
def _generate(lowering: Lowering, op: Op) -> None:
    program = GENERATES[op.name]
    passes = compile_program(program).passes
    made = written(lowering, op)
    emit(lowering, op, elements=made, passes=passes, reads=0, programs=(program,))


@lowers(*ACCUMULATES)
def _accumulate(lowering: Lowering, op: Op) -> None:
    """Every element of the input is added to its place."""
    inputs = read_tensors(lowering, op)
    emit(
        lowering,
        op,
        elements=max(inputs[0].elements, written(lowering, op)),
        reads=inputs[0].distinct,
        programs=("add",),
    )
