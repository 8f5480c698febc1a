"""Exact timing of a Program, in time that does not grow with its iteration counts.

Every start is a maximum of finish times and every finish a start plus a constant, so a loop's
body is a (max, +)-linear map of the machine's state: when queues are free and when tokens arrive.
Two facts turn long loops into jumps, both exact:

* Shift. If the state repeats up to a common shift, everything after repeats with that shift.
* Drift. If two iterations choose the same operand in every maximum and the state grows by the
  same vector in both, it goes on so until some losing operand overtakes its winner; how many
  iterations that takes is a division.

Iterations between jumps are stepped. (Baccelli, Cohen, Olsder, Quadrat, Synchronization and
Linearity, 1992, chapter 3, has the algebra.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

from weft.sim.engine.body import Block, Cost, Step, compile_body, unroll
from weft.sim.engine.cause import NO_BLAME, Cause
from weft.sim.engine.loops import run_nodes
from weft.sim.engine.state import Effect, State, key_of, start_of
from weft.sim.engine.stepping import execute
from weft.sim.machine import Machine
from weft.sim.program import Instruction, Node, Program, Queue, Segment
from weft.sim.program.timing import Duration, duration

__all__ = ["Cause", "Engine", "SegmentTiming", "Slice", "Timing"]


@dataclass(frozen=True)
class SegmentTiming:
    """One segment's share of the run.

    ``span_cycles`` is how much later the whole run ends because of it: the spans of all segments
    add up to the total. ``stall_cycles[queue][cause]`` is the time that queue stood still in it.
    """

    name: str
    span_cycles: int
    stall_cycles: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Timing:
    """What the engine found. ``stepped`` counts instructions stepped one by one (its cost)."""

    cycles: int
    segments: tuple[SegmentTiming, ...]
    stepped: int


@dataclass(frozen=True)
class Slice:
    """One instruction on the timeline."""

    segment: str
    instruction: Instruction
    start: int
    occupied_until: int
    finish: int
    cause: Cause | None
    stall_cycles: int


@dataclass
class Engine:
    """Times programs on one machine. Bodies seen before, in equal states, are not run again.

    ``cost`` gives an instruction's duration; by default the machine's closed forms. Any numbers
    that add, compare and scale will do (``weft.sim.engine.critical`` packs several into one).
    """

    machine: Machine
    cost: Cost | None = None
    _blocks: dict[int, tuple[tuple[Node, ...], Block]] = field(
        default_factory=dict[int, tuple[tuple[Node, ...], Block]]
    )
    _memo: dict[tuple[int, tuple[int, ...]], Effect] = field(
        default_factory=dict[tuple[int, tuple[int, ...]], "Effect"]
    )

    def run(self, program: Program) -> Timing:
        """Cycles of the whole program and of each segment."""
        state = start_of(program)
        segments: list[SegmentTiming] = []
        end = 0
        for segment in program.segments:
            state.stalls = [0] * (len(Queue) * len(Cause))
            self._run_segment(self._block(segment.body), state)
            finish = max(state.last)
            segments.append(SegmentTiming(segment.name, finish - end, _by_queue(state.stalls)))
            end = finish
        return Timing(end, tuple(segments), state.stepped)

    def timeline(self, program: Program, first: int, last: int, limit: int) -> list[Slice]:
        """Start and finish of up to ``limit`` instructions of segments first..last-1."""
        state = start_of(program)
        found: list[Slice] = []
        for index, segment in enumerate(program.segments[:last]):
            block = self._block(segment.body)
            if index < first:
                self._run_segment(block, state)
                continue
            state.seen = []
            _step_all(block, state, limit - len(found))
            found += [_slice(segment, *entry) for entry in state.seen]
            if len(found) >= limit:
                break
        return found

    def _block(self, body: tuple[Node, ...]) -> Block:
        known = self._blocks.get(id(body))
        if known is None:  # the body is kept beside its block, so its id stays its own
            known = self._blocks[id(body)] = (body, compile_body(1, body, self._cost))
        return known[1]

    def _cost(self, instruction: Instruction) -> Duration:
        return self.cost(instruction) if self.cost else duration(instruction, self.machine)

    def _run_segment(self, block: Block, state: State) -> None:
        base, key = key_of(block, state)
        known = self._memo.get((id(block), key))
        if known is None:
            before = state.stalls
            state.stalls = [0] * len(before)
            run_nodes(block.nodes, state)
            known = self._memo[(id(block), key)] = Effect.between(block, state, base)
            state.stalls = before
        known.apply(block, state, base)


def _by_queue(stalls: list[int]) -> tuple[tuple[int, ...], ...]:
    width = len(Cause)
    return tuple(tuple(stalls[queue * width : (queue + 1) * width]) for queue in range(len(Queue)))


def _step_all(block: Block, state: State, limit: int) -> None:
    """Step the first ``limit`` instructions of a block."""
    for step in islice(unroll(block.nodes), limit):
        execute(step, state)


def _slice(segment: Segment, step: Step, start: int, blame: int, stall: int) -> Slice:
    return Slice(
        segment.owner(step.instruction),
        step.instruction,
        start,
        start + step.occupy,
        start + step.finish,
        None if blame == NO_BLAME else Cause(blame),
        stall,
    )
