"""Loops without stepping all of them: jumps over states that repeat, or that drift evenly."""

from __future__ import annotations

from weft.sim.engine.body import Block, Step
from weft.sim.engine.state import Jump, Record, State, grow, key_of, move, vector_of
from weft.sim.engine.stepping import execute

__all__ = ["run_nodes"]

_PATIENCE = 12  # stepped iterations without a repeat before drift is looked for
_PERIODS = (1, 2, 3, 4, 6)  # drift periods tried


def run_nodes(nodes: tuple[Step | Block, ...], state: State) -> None:
    """Run a body once, its loops with jumps."""
    for node in nodes:
        if isinstance(node, Block):
            _run_loop(node, state)
        else:
            execute(node, state)


def _run_loop(block: Block, state: State) -> None:
    remaining = block.count
    seen: dict[tuple[int, ...], tuple[int, int, list[int]]] = {}
    tries = 0
    while remaining:
        base, key = key_of(block, state)
        earlier = seen.get(key)
        if earlier is not None:
            remaining = _shift(block, state, remaining, earlier, base)
            seen = {}
            if remaining == 0:
                return
            # Too few iterations are left for another whole period.
            for _ in range(remaining):
                run_nodes(block.nodes, state)
            return
        seen[key] = (remaining, base, list(state.stalls))
        if len(seen) > _PATIENCE:
            period = _PERIODS[tries % len(_PERIODS)]
            tries += 1
            seen = {}
            if remaining > 3 * period:
                remaining = _drift(block, state, remaining, period)
                continue
        run_nodes(block.nodes, state)
        remaining -= 1


def _shift(
    block: Block, state: State, remaining: int, earlier: tuple[int, int, list[int]], base: int
) -> int:
    """Jump over whole periods of a state that repeats; the iterations left are returned."""
    then, old_base, old_stalls = earlier
    period = then - remaining
    # While recording for an outer drift the last period is stepped, so that both ends are seen.
    keep = 0 if state.record is None else 1
    jumps = max(0, remaining // period - keep)
    if state.record is not None:
        state.record.append(Jump(jumps, period))
    if jumps:
        move(block, state, jumps * (base - old_base))
        growth = [now - old for now, old in zip(state.stalls, old_stalls, strict=True)]
        state.stalls = [now + jumps * g for now, g in zip(state.stalls, growth, strict=True)]
    return remaining - jumps * period


def _record(
    block: Block, state: State, period: int
) -> tuple[Record, list[int], list[int], list[int]]:
    """Step one period; its maxima, the state after it with blames, and its stalls."""
    outer = state.record
    state.record = []
    before = list(state.stalls)
    for _ in range(period):
        run_nodes(block.nodes, state)
    record = state.record
    state.record = outer
    if outer is not None:
        outer.extend(record)
    times, blames = vector_of(block, state)
    stalls = [now - old for now, old in zip(state.stalls, before, strict=True)]
    return record, times, blames, stalls


def _drift(block: Block, state: State, remaining: int, period: int) -> int:
    """Step two periods and jump as far as the second's choices hold."""
    start, _ = vector_of(block, state)
    record_a, state_a, blames_a, stalls_a = _record(block, state, period)
    record_b, state_b, blames_b, stalls_b = _record(block, state, period)
    remaining -= 2 * period
    growth = [b - a for a, b in zip(state_a, state_b, strict=True)]
    same = blames_a == blames_b and growth == [a - s for s, a in zip(start, state_a, strict=True)]
    keep = 0 if state.record is None else 1
    jumps = max(0, remaining // period - keep)
    jumps = min(jumps, _periods_until_change(record_a, record_b)) if same else 0
    if state.record is not None:
        state.record.append(Jump(jumps, period))
    if jumps > 0:
        grow(block, state, growth, jumps)
        state.stalls = [
            now + jumps * b + (b - a) * jumps * (jumps + 1) // 2
            for now, a, b in zip(state.stalls, stalls_a, stalls_b, strict=True)
        ]
    return remaining - jumps * period


def _periods_until_change(record_a: Record, record_b: Record) -> int:
    """How many more periods every maximum keeps its winner; 0 if the two already differ."""
    if len(record_a) != len(record_b):
        return 0
    limit = 1 << 62
    for one, two in zip(record_a, record_b, strict=True):
        if isinstance(one, Jump) or isinstance(two, Jump):
            if one != two:
                return 0
            continue
        a, b = one.contenders, two.contenders
        if len(a) != len(b):
            return 0
        winner = a.index(max(a))
        if b.index(max(b)) != winner:
            return 0
        pace = b[winner] - a[winner]
        for index, (early, late) in enumerate(zip(a, b, strict=True)):
            gain = late - early - pace
            if index != winner and gain > 0:
                limit = min(limit, (b[winner] - late - 1) // gain)
    return max(0, limit)
