"""Instructions in words: what a timeline entry does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.sim.program import Matmul, Queue, Reduce, Transfer, Update, Vector

if TYPE_CHECKING:
    from weft.sim.engine import Slice

__all__ = ["describe", "layer_and_stage"]


def describe(part: Slice) -> tuple[str, dict[str, int | str]]:
    """The instruction's name, and what it works on (tile, bytes, elements) by name."""
    work = part.instruction.work
    match work:
        case Transfer():
            verb = "load" if part.instruction.queue is Queue.LOAD else "store"
            return f"{verb} {work.buffer}", {"bytes": work.bytes, "tensor": work.tensor}
        case Matmul():
            return f"matmul {work.dataflow.name} {work.pattern}", {
                "tile": f"{work.batch}x{work.rows}x{work.depth}x{work.columns}",
                "accumulate": str(work.accumulate).lower(),
            }
        case Reduce():
            return f"reduce {work.pattern}", {"groups": work.groups}
        case Update():
            return f"update {work.optimizer}", {"elements": work.elements}
        case Vector():
            name = f"vector {work.op}".rstrip()
            return name, {"elements": work.elements, "passes": work.passes}
        case _:
            return "sync", {}


def layer_and_stage(segment: str) -> tuple[str, str]:
    """A segment is called layer:stage; without a colon it is a layer alone."""
    layer, colon, stage = segment.rpartition(":")
    return (layer, stage) if colon else (segment, "")
