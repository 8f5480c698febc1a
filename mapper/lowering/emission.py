"""Vector ops on their way into a workload: what each reads, writes and waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weft.mapper.lowering.context import Lowering
from weft.mapper.lowering.table import OVERWRITES
from weft.mapper.tracing.graph import Op, Tensor
from weft.sim.workload import Scan, Stage, VectorOp

__all__ = ["axis_of", "emit", "largest", "read_tensors", "written"]


def emit(
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
    constants: tuple[float, ...] = (),
    scan: Scan | None = None,
) -> None:
    """Add the op to the workload; without ``programs`` it is unbuilt.

    Where the lanes have no place to go through, only a copy is left.
    """
    if scan is not None and not scan.elements:
        passes, rows, programs, constants, scan = 1, 0, ("copy",), (), None
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
            writes=written(lowering, op) if writes is None else writes,
            passes=passes,
            elementwise=elementwise,
            inputs=lowering.waits_for(_full_sized_first(lowering, op, elements)),
            rows=rows,
            channels=channels,
            programs=programs,
            constants=constants,
            scan=scan,
            unbuilt=not programs,
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


def read_tensors(lowering: Lowering, op: Op) -> list[Tensor]:
    """Distinct tensors that the op really reads."""
    unread = set(op.writes) if op.name.rstrip("_") in OVERWRITES else set[int]()
    return [tensor for tensor in lowering.inputs(op) if tensor.index not in unread]


def written(lowering: Lowering, op: Op) -> int:
    """Elements of all outputs."""
    return sum(tensor.elements for tensor in lowering.outputs(op))


def largest(tensors: Sequence[Tensor]) -> int:
    """Elements of the largest one."""
    return max((tensor.elements for tensor in tensors), default=0)


def axis_of(op: Op, place: int, default: int = -1) -> int:
    """The dimension that an op works along: argument ``place``, or by name."""
    given: Any = op.keywords.get("dim")
    if given is None and len(op.arguments) > place:
        given = op.arguments[place]
    return given if isinstance(given, int) and not isinstance(given, bool) else default
