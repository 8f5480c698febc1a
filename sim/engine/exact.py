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

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice

from weft.sim.machine import Machine
from weft.sim.program import Channel, Instruction, Loop, Node, Program, Queue, Segment
from weft.sim.program.timing import Duration, duration

__all__ = ["Cause", "Engine", "SegmentTiming", "Slice", "Timing"]


class Cause(IntEnum):
    """Why a queue stood still before an instruction."""

    MEMORY = 0  # data on their way, or a bank still being stored
    DEPENDENCY = 1  # an earlier result, still being computed
    BUFFER = 2  # no free bank: the consumer is behind


_BUFFER_CHANNELS = {Channel.LEFT_FREE, Channel.RIGHT_FREE, Channel.VIN_FREE, Channel.MASK_IN_FREE}
_MEMORY_CHANNELS = {
    Channel.LEFT_FULL,
    Channel.RIGHT_FULL,
    Channel.VIN_FULL,
    Channel.MASK_IN_FULL,
    Channel.OUT_FREE,
    Channel.VOUT_FREE,
    Channel.MASK_OUT_FREE,
}
_STCE_FREE = {int(Channel.LEFT_FREE), int(Channel.RIGHT_FREE)}
_OPERANDS = 2
_PATIENCE = 12  # stepped iterations without a repeat before drift is looked for
_PERIODS = (1, 2, 3, 4, 6)  # drift periods tried


def _cause(channel: Channel) -> Cause:
    if channel in _MEMORY_CHANNELS:
        return Cause.MEMORY
    return Cause.BUFFER if channel in _BUFFER_CHANNELS else Cause.DEPENDENCY


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


@dataclass(frozen=True)
class _Step:
    """An instruction with its durations looked up."""

    queue: int
    occupy: int
    finish: int
    waits: tuple[int, ...]
    causes: tuple[int, ...]
    signals: tuple[int, ...]
    instruction: Instruction


@dataclass(frozen=True)
class _Block:
    """A compiled loop or segment body and what of the state it touches."""

    count: int
    nodes: tuple[_Step | _Block, ...]
    queues: tuple[int, ...]
    channels: tuple[int, ...]


_Token = tuple[int, int]  # arrival, and the cause to blame when someone waits for it
_NO_BLAME = -1


@dataclass
class _State:
    """When queues are free, when their last result is done, and the tokens under way."""

    free: list[int]
    last: list[int]
    tokens: list[list[_Token]]
    stalls: list[int]
    late: int = 0  # how many of the next loads come late because another unit held the queue
    stepped: int = 0
    record: list[tuple[int, ...]] | None = None
    slices: list[tuple[_Step, int, int, int]] | None = None


@dataclass
class Engine:
    """Times programs on one machine. Bodies seen before, in equal states, are not run again.

    ``cost`` gives an instruction's duration; by default the machine's closed forms. Any numbers
    that add, compare and scale will do (``weft.sim.engine.critical`` packs several into one).
    """

    machine: Machine
    cost: Callable[[Instruction], Duration] | None = None
    _blocks: dict[int, tuple[tuple[Node, ...], _Block]] = field(
        default_factory=dict[int, tuple[tuple[Node, ...], _Block]]
    )
    _memo: dict[tuple[int, tuple[int, ...]], _Effect] = field(
        default_factory=dict[tuple[int, tuple[int, ...]], "_Effect"]
    )

    def run(self, program: Program) -> Timing:
        """Cycles of the whole program and of each segment."""
        state = _start(program)
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
        state = _start(program)
        found: list[Slice] = []
        for index, segment in enumerate(program.segments[:last]):
            block = self._block(segment.body)
            if index < first:
                self._run_segment(block, state)
                continue
            state.slices = []
            _step_all(block, state, limit - len(found))
            found += [_slice(segment, *entry) for entry in state.slices]
            if len(found) >= limit:
                break
        return found

    def _block(self, body: tuple[Node, ...]) -> _Block:
        known = self._blocks.get(id(body))
        if known is None:  # the body is kept beside its block, so its id stays its own
            known = self._blocks[id(body)] = (body, self._compile(1, body))
        return known[1]

    def _compile(self, count: int, body: tuple[Node, ...]) -> _Block:
        nodes = tuple(
            self._compile(node.count, node.body) if isinstance(node, Loop) else self._step(node)
            for node in body
        )
        queues: set[int] = set()
        channels: set[int] = set()
        for node in nodes:
            if isinstance(node, _Block):
                queues.update(node.queues)
                channels.update(node.channels)
            else:
                queues.add(node.queue)
                channels.update(node.waits, node.signals)
        return _Block(count, nodes, tuple(sorted(queues)), tuple(sorted(channels)))

    def _step(self, instruction: Instruction) -> _Step:
        time = self.cost(instruction) if self.cost else duration(instruction, self.machine)
        return _Step(
            int(instruction.queue),
            time.occupy,
            time.finish,
            tuple(int(channel) for channel in instruction.waits),
            tuple(int(_cause(channel)) for channel in instruction.waits),
            tuple(int(channel) for channel in instruction.signals),
            instruction,
        )

    def _run_segment(self, block: _Block, state: _State) -> None:
        base, key = _key(block, state)
        known = self._memo.get((id(block), key))
        if known is None:
            before = state.stalls
            state.stalls = [0] * len(before)
            _run_nodes(block.nodes, state)
            known = self._memo[(id(block), key)] = _Effect.between(block, state, base)
            state.stalls = before
        known.apply(block, state, base)


@dataclass(frozen=True)
class _Effect:
    """What a block does to a state, times relative to the state's base."""

    times: tuple[int, ...]
    tokens: tuple[tuple[_Token, ...], ...]
    stalls: tuple[int, ...]
    late: int

    @classmethod
    def between(cls, block: _Block, state: _State, base: int) -> _Effect:
        times = [state.free[queue] - base for queue in block.queues]
        times += [state.last[queue] - base for queue in block.queues]
        tokens = tuple(
            tuple((time - base, blame) for time, blame in state.tokens[channel])
            for channel in block.channels
        )
        return cls(tuple(times), tokens, tuple(state.stalls), state.late)

    def apply(self, block: _Block, state: _State, base: int) -> None:
        half = len(block.queues)
        for index, queue in enumerate(block.queues):
            state.free[queue] = self.times[index] + base
            state.last[queue] = self.times[half + index] + base
        for channel, tokens in zip(block.channels, self.tokens, strict=True):
            state.tokens[channel] = [(time + base, blame) for time, blame in tokens]
        state.stalls = [a + b for a, b in zip(state.stalls, self.stalls, strict=True)]
        state.late = self.late


def _start(program: Program) -> _State:
    tokens: list[list[_Token]] = [[] for _ in Channel]
    for channel, count in program.tokens:
        tokens[channel] = [(0, _NO_BLAME)] * count
    queues = len(Queue)
    return _State([0] * queues, [0] * queues, tokens, [0] * (queues * len(Cause)))


def _by_queue(stalls: list[int]) -> tuple[tuple[int, ...], ...]:
    width = len(Cause)
    return tuple(tuple(stalls[queue * width : (queue + 1) * width]) for queue in range(len(Queue)))


def _key(block: _Block, state: _State) -> tuple[int, tuple[int, ...]]:
    """The touched state relative to its base, as one flat tuple with blames."""
    base = state.free[block.queues[0]]
    flat: list[int] = [state.late]
    for queue in block.queues:
        flat.append(state.free[queue] - base)
        flat.append(state.last[queue] - base)
    for channel in block.channels:
        tokens = state.tokens[channel]
        flat.append(len(tokens))
        for time, blame in tokens:
            flat.append(time - base)
            flat.append(blame)
    return base, tuple(flat)


def _execute(step: _Step, state: _State) -> None:
    """One instruction: the start is the latest of its queue and its tokens."""
    queue = step.queue
    free = start = state.free[queue]
    blame = _NO_BLAME
    record = state.record
    contenders: list[int] | None = None if record is None else [free]
    for channel, cause in zip(step.waits, step.causes, strict=True):
        time, source = state.tokens[channel].pop(0)
        if contenders is not None:
            contenders.append(time)
        if time > start:
            start = time
            blame = cause if source == _NO_BLAME else source
    if blame != _NO_BLAME:
        state.stalls[queue * len(Cause) + blame] += start - free
    if state.slices is not None:
        state.slices.append((step, start, blame, start - free))
    state.stepped += 1
    state.free[queue] = start + step.occupy
    finish = start + step.finish
    if record is not None and contenders is not None:
        record.append(tuple(contenders))
        record.append((state.last[queue], finish))
    state.last[queue] = max(state.last[queue], finish)
    passed = _NO_BLAME
    if queue == Queue.LOAD:
        passed = _blame_of_load(step, state, blame)
    for channel in step.signals:
        state.tokens[channel].append((finish, passed))


def _blame_of_load(step: _Step, state: _State, blame: int) -> int:
    """What a load's consumer should blame: a load that waited for a result, or for the pace of
    WUVE or SORE, makes the two operands behind it late too.
    """
    if blame == Cause.DEPENDENCY:
        state.late = _OPERANDS
        return int(Cause.DEPENDENCY)
    if blame == _NO_BLAME and state.late:
        state.late -= 1
        return int(Cause.DEPENDENCY)
    paced = blame == Cause.BUFFER and not _STCE_FREE.isdisjoint(step.waits)
    state.late = _OPERANDS if blame == Cause.BUFFER and not paced else 0
    return _NO_BLAME


def _run_nodes(nodes: tuple[_Step | _Block, ...], state: _State) -> None:
    for node in nodes:
        if isinstance(node, _Block):
            _run_loop(node, state)
        else:
            _execute(node, state)


def _run_loop(block: _Block, state: _State) -> None:
    remaining = block.count
    seen: dict[tuple[int, ...], tuple[int, int, list[int]]] = {}
    tries = 0
    while remaining:
        base, key = _key(block, state)
        earlier = seen.get(key)
        if earlier is not None:
            remaining = _shift(block, state, remaining, earlier, base)
            seen = {}
            if remaining == 0:
                return
            # Too few iterations are left for another whole period.
            for _ in range(remaining):
                _run_nodes(block.nodes, state)
            return
        seen[key] = (remaining, base, list(state.stalls))
        if len(seen) > _PATIENCE:
            period = _PERIODS[tries % len(_PERIODS)]
            tries += 1
            seen = {}
            if remaining > 3 * period:
                remaining = _drift(block, state, remaining, period)
                continue
        _run_nodes(block.nodes, state)
        remaining -= 1


def _shift(
    block: _Block, state: _State, remaining: int, earlier: tuple[int, int, list[int]], base: int
) -> int:
    """Jump over whole periods of a state that repeats; the iterations left are returned."""
    then, old_base, old_stalls = earlier
    period = then - remaining
    # While recording for an outer drift the last period is stepped, so that both ends are seen.
    keep = 0 if state.record is None else 1
    jumps = max(0, remaining // period - keep)
    if state.record is not None:
        state.record.append((-1, jumps, period))
    if jumps:
        _move(block, state, jumps * (base - old_base))
        growth = [now - old for now, old in zip(state.stalls, old_stalls, strict=True)]
        state.stalls = [now + jumps * g for now, g in zip(state.stalls, growth, strict=True)]
    return remaining - jumps * period


def _move(block: _Block, state: _State, cycles: int) -> None:
    for queue in block.queues:
        state.free[queue] += cycles
        state.last[queue] += cycles
    for channel in block.channels:
        state.tokens[channel] = [(t + cycles, blame) for t, blame in state.tokens[channel]]


def _vector(block: _Block, state: _State) -> tuple[list[int], list[int]]:
    """Times and blames of the touched state, in a fixed order."""
    times = [state.free[queue] for queue in block.queues]
    times += [state.last[queue] for queue in block.queues]
    blames: list[int] = [state.late]
    for channel in block.channels:
        for time, blame in state.tokens[channel]:
            times.append(time)
            blames.append(blame)
    return times, blames


def _record(
    block: _Block, state: _State, period: int
) -> tuple[list[tuple[int, ...]], list[int], list[int], list[int]]:
    """Step one period; its maxima, the state after it with blames, and its stalls."""
    outer = state.record
    state.record = []
    before = list(state.stalls)
    for _ in range(period):
        _run_nodes(block.nodes, state)
    record = state.record
    state.record = outer
    if outer is not None:
        outer.extend(record)
    times, blames = _vector(block, state)
    stalls = [now - old for now, old in zip(state.stalls, before, strict=True)]
    return record, times, blames, stalls


def _drift(block: _Block, state: _State, remaining: int, period: int) -> int:
    """Step two periods and jump as far as the second's choices hold."""
    start, _ = _vector(block, state)
    record_a, state_a, blames_a, stalls_a = _record(block, state, period)
    record_b, state_b, blames_b, stalls_b = _record(block, state, period)
    remaining -= 2 * period
    growth = [b - a for a, b in zip(state_a, state_b, strict=True)]
    same = blames_a == blames_b and growth == [a - s for s, a in zip(start, state_a, strict=True)]
    keep = 0 if state.record is None else 1
    jumps = max(0, remaining // period - keep)
    jumps = min(jumps, _periods_until_change(record_a, record_b)) if same else 0
    if state.record is not None:
        state.record.append((-1, jumps, period))
    if jumps > 0:
        _grow(block, state, growth, jumps)
        state.stalls = [
            now + jumps * b + (b - a) * jumps * (jumps + 1) // 2
            for now, a, b in zip(state.stalls, stalls_a, stalls_b, strict=True)
        ]
    return remaining - jumps * period


def _periods_until_change(record_a: list[tuple[int, ...]], record_b: list[tuple[int, ...]]) -> int:
    """How many more periods every maximum keeps its winner; 0 if the two already differ."""
    if len(record_a) != len(record_b):
        return 0
    limit = 1 << 62
    for a, b in zip(record_a, record_b, strict=True):
        if len(a) != len(b):
            return 0
        if a[0] == -1 or b[0] == -1:
            if a != b:
                return 0
            continue
        winner = a.index(max(a))
        if b.index(max(b)) != winner:
            return 0
        pace = b[winner] - a[winner]
        for index, (early, late) in enumerate(zip(a, b, strict=True)):
            gain = late - early - pace
            if index != winner and gain > 0:
                limit = min(limit, (b[winner] - late - 1) // gain)
    return max(0, limit)


def _grow(block: _Block, state: _State, growth: list[int], times: int) -> None:
    half = len(block.queues)
    for index, queue in enumerate(block.queues):
        state.free[queue] += times * growth[index]
        state.last[queue] += times * growth[half + index]
    position = 2 * half
    for channel in block.channels:
        tokens = state.tokens[channel]
        for index, (time, blame) in enumerate(tokens):
            tokens[index] = (time + times * growth[position], blame)
            position += 1


def _step_all(block: _Block, state: _State, limit: int) -> None:
    """Step the first ``limit`` instructions of a block."""
    for step in islice(_unroll(block.nodes), limit):
        _execute(step, state)


def _unroll(nodes: tuple[_Step | _Block, ...]) -> Iterator[_Step]:
    for node in nodes:
        if isinstance(node, _Block):
            for _ in range(node.count):
                yield from _unroll(node.nodes)
        else:
            yield node


def _slice(segment: Segment, step: _Step, start: int, blame: int, stall: int) -> Slice:
    return Slice(
        segment.owner(step.instruction),
        step.instruction,
        start,
        start + step.occupy,
        start + step.finish,
        None if blame == _NO_BLAME else Cause(blame),
        stall,
    )
