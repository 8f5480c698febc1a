"""What a program does, counted: multiply-accumulates, words moved, lane operations.

Counts are exact sums over the instructions of a program, worked out over loops without unrolling.
Energy is these counts times a table (``weft.sim.energy``); the engine knows nothing of either.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from weft.sim.machine import Machine
from weft.sim.program import (
    Dataflow,
    Instruction,
    Loop,
    Matmul,
    Node,
    Queue,
    Reduce,
    Transfer,
    Update,
    Vector,
)
from weft.sim.program.strips import row_operations
from weft.sim.program.timing import (
    UPDATE_PASSES,
    duration,
    kept_depth,
    matmul_issue_cycles,
    matmul_passes,
)

__all__ = ["ActionCounter", "Actions"]


@dataclass(frozen=True)
class Actions:
    """Counts of one program part. Bytes of buffers are those that the units read and write."""

    macs: int = 0
    buffer_read_bytes: int = 0
    buffer_write_bytes: int = 0
    dram_read_bytes: int = 0
    dram_write_bytes: int = 0
    sore_compares: int = 0
    wuve_ops: int = 0
    instructions: int = 0
    load_busy_cycles: int = 0
    store_busy_cycles: int = 0
    stce_busy_cycles: int = 0
    stce_issue_cycles: int = 0
    sore_busy_cycles: int = 0
    wuve_busy_cycles: int = 0

    def __add__(self, other: Actions) -> Actions:
        return Actions(*(a + b for a, b in zip(self.counts(), other.counts(), strict=True)))

    def times(self, count: int) -> Actions:
        return Actions(*(count * value for value in self.counts()))

    def counts(self) -> tuple[int, ...]:
        return tuple(getattr(self, name) for name in _NAMES)

    @property
    def dram_bytes(self) -> int:
        return self.dram_read_bytes + self.dram_write_bytes

    @property
    def fill_drain_cycles(self) -> int:
        """Cycles in which the STCE holds an instruction but its PEs get no new work."""
        return self.stce_busy_cycles - self.stce_issue_cycles


_NAMES = tuple(field.name for field in fields(Actions))
_BUSY = {
    Queue.LOAD: "load_busy_cycles",
    Queue.STORE: "store_busy_cycles",
    Queue.STCE: "stce_busy_cycles",
    Queue.SORE: "sore_busy_cycles",
    Queue.WUVE: "wuve_busy_cycles",
}


class ActionCounter:
    """Counts actions on one machine; a body seen before is not counted again."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._known: dict[int, tuple[tuple[Node, ...], Actions]] = {}

    def body(self, body: tuple[Node, ...]) -> Actions:
        """Counts of one run of ``body``."""
        known = self._known.get(id(body))
        if known is None:
            known = self._known[id(body)] = (body, self._count(body))
        return known[1]

    def _count(self, body: tuple[Node, ...]) -> Actions:
        total = Actions()
        for node in body:
            if isinstance(node, Loop):
                total += self._count(node.body).times(node.count)
            else:
                total += self.instruction(node)
        return total

    def instruction(self, instruction: Instruction) -> Actions:
        """Counts of one instruction."""
        counts = _work_counts(instruction, self._machine)
        counts[_BUSY[instruction.queue]] = duration(instruction, self._machine).occupy
        return Actions(instructions=1, **counts)


def _work_counts(instruction: Instruction, machine: Machine) -> dict[str, int]:
    work = instruction.work
    match work:
        case Transfer():
            if instruction.queue is Queue.LOAD:
                return {"dram_read_bytes": work.bytes, "buffer_write_bytes": work.bytes}
            return {"dram_write_bytes": work.bytes, "buffer_read_bytes": work.bytes}
        case Matmul():
            return _matmul_counts(work, machine)
        case Reduce():
            elements = work.groups * work.pattern.m
            kept = work.groups * work.pattern.n
            return {
                "sore_compares": elements,
                "buffer_read_bytes": 2 * elements,
                "buffer_write_bytes": kept * (16 + work.pattern.index_bits) // 8,
            }
        case Update():
            return {
                "wuve_ops": work.elements * UPDATE_PASSES[work.optimizer],
                "buffer_read_bytes": 14 * work.elements,
                "buffer_write_bytes": 14 * work.elements,
            }
        case Vector():
            return {
                "wuve_ops": work.elements * work.passes + row_operations(work, machine.wuve),
                "buffer_read_bytes": 2 * work.elements,
                "buffer_write_bytes": 2 * work.elements,
            }
        case _:
            return {}


def _matmul_counts(work: Matmul, machine: Machine) -> dict[str, int]:
    """Operands read once per pass at the array's edge, outputs written once per pass.

    OS: a pass reads its left rows and its compressed columns in full and writes its outputs
    (and reads them first when it accumulates). WS: a pass reads its weights once, streams left
    groups, and sends partial sums through the array, in and out.
    """
    array = machine.array
    passes = matmul_passes(array, work)
    steps = kept_depth(work)
    weight_bits = 16 + work.pattern.index_bits
    macs = work.batch * work.rows * work.columns * steps
    if work.dataflow is Dataflow.OS:
        width = array.cols * (array.interleave if work.interleaved else 1)
        outputs = 4 * passes * array.rows * width
        return {
            "macs": macs,
            "stce_issue_cycles": matmul_issue_cycles(array, work),
            "buffer_read_bytes": 2 * passes * array.rows * work.depth
            + passes * width * steps * weight_bits // 8
            + (outputs if work.accumulate else 0),
            "buffer_write_bytes": outputs,
        }
    words = 1 if work.pattern.is_dense else work.pattern.n
    group = 1 if work.pattern.is_dense else work.pattern.m
    sums = 4 * passes * work.rows * array.cols
    return {
        "macs": macs,
        "stce_issue_cycles": matmul_issue_cycles(array, work),
        "buffer_read_bytes": passes * array.rows * array.cols * words * weight_bits // 8
        + 2 * passes * array.rows * group * work.rows
        + sums,
        "buffer_write_bytes": sums,
    }
