"""What the critical path is made of, and what a change of the machine would therefore save.

The engine's times are packed numbers: the cycles on top, and below them how many of those cycles
were spent on what. A maximum of such numbers carries the winner's account along, so one exact run
yields the account of a longest path through the whole program; its parts add up to the run.

A program's time is a maximum of sums of durations, so it is convex in them: if durations change,
the new time is at least the old one plus each change times its count on the critical path. That
bound holds for any change, and is the derivative for small ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from weft.sim.engine import Engine
from weft.sim.machine import Machine
from weft.sim.program import Instruction, Matmul, Program, Queue
from weft.sim.program.timing import Duration, duration, matmul_issue_cycles

__all__ = ["CriticalPath", "Part", "critical_path"]


class Part(IntEnum):
    """What a cycle of the critical path is spent on."""

    READ = 0  # a load's beats
    READ_LATENCY = 1
    WRITE = 2  # a store's beats
    WRITE_LATENCY = 3
    COMPUTE = 4  # the array is given work
    FILL_DRAIN = 5  # the array fills and drains
    VECTOR = 6  # WUVE
    PRUNE = 7  # SORE
    SYNC = 8  # instructions that only wait and signal


_BITS = 64
_MASK = (1 << _BITS) - 1
_SHIFT = {part: _BITS * int(part) for part in Part}
_TOTAL_SHIFT = _BITS * len(Part)


@dataclass(frozen=True)
class CriticalPath:
    """Cycles of a longest path by part; together they are ``cycles``."""

    cycles: int
    parts: dict[Part, int]

    def bound_after(self, changes: dict[Part, float]) -> float:
        """The least that the run takes if every cycle of a part costs ``1 + change`` cycles."""
        return self.cycles + sum(self.parts[part] * change for part, change in changes.items())


def _pack(cycles: int, part: Part) -> int:
    return (cycles << _TOTAL_SHIFT) + (cycles << _SHIFT[part])


def _packed_duration(instruction: Instruction, machine: Machine) -> Duration:
    plain = duration(instruction, machine)
    work, queue = instruction.work, instruction.queue
    tail = plain.finish - plain.occupy
    if isinstance(work, Matmul):
        issue = matmul_issue_cycles(machine.array, work)
        occupy = _pack(issue, Part.COMPUTE) + _pack(plain.occupy - issue, Part.FILL_DRAIN)
        return Duration(occupy, occupy)
    if queue is Queue.LOAD:
        occupy = _pack(plain.occupy, Part.READ)
        return Duration(occupy, occupy + _pack(tail, Part.READ_LATENCY))
    if queue is Queue.STORE:
        occupy = _pack(plain.occupy, Part.WRITE)
        return Duration(occupy, occupy + _pack(tail, Part.WRITE_LATENCY))
    part = {Queue.WUVE: Part.VECTOR, Queue.SORE: Part.PRUNE}.get(queue, Part.SYNC)
    occupy = _pack(plain.occupy, part)
    return Duration(occupy, occupy)


def critical_path(program: Program, machine: Machine) -> CriticalPath:
    """The account of a longest path through ``program``; exact, without unrolling."""
    engine = Engine(machine, lambda instruction: _packed_duration(instruction, machine))
    packed = engine.run(program).cycles
    parts = {part: packed >> _SHIFT[part] & _MASK for part in Part}
    return CriticalPath(packed >> _TOTAL_SHIFT, parts)
