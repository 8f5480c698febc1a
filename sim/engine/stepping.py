"""One instruction: when it starts, whom it waited for, and what it gives."""

from __future__ import annotations

from weft.sim.engine.body import Step
from weft.sim.engine.cause import NO_BLAME, OPERANDS, STCE_FREE, Cause
from weft.sim.engine.state import Choice, State
from weft.sim.program import Queue

__all__ = ["execute"]

_CAUSES = len(Cause)


def execute(step: Step, state: State) -> None:
    """Run ``step``: it starts when its queue is free and its tokens are there."""
    queue = step.queue
    free = state.free[queue]
    start, blame = _take(step, state, free)
    finish = start + step.finish
    if state.record is not None:
        state.record.append(Choice((state.last[queue], finish)))
    if state.seen is not None:
        state.seen.append((step, start, blame, start - free))
    state.stepped += 1
    state.free[queue] = start + step.occupy
    state.last[queue] = max(state.last[queue], finish)
    if blame != NO_BLAME:
        state.stalls[queue * _CAUSES + blame] += start - free
    passed = _passed_on(step, state, blame) if queue == Queue.LOAD else NO_BLAME
    for channel in step.signals:
        state.tokens[channel].append((finish, passed))


def _take(step: Step, state: State, free: int) -> tuple[int, int]:
    """Take the tokens; the latest of them and of ``free``, and whom to blame for it."""
    start, blame = free, NO_BLAME
    contenders = [free]
    for channel, cause in zip(step.waits, step.causes, strict=True):
        time, source = state.tokens[channel].pop(0)
        contenders.append(time)
        if time > start:
            start = time
            blame = cause if source == NO_BLAME else source
    if state.record is not None:
        state.record.append(Choice(tuple(contenders)))
    return start, blame


def _passed_on(step: Step, state: State, blame: int) -> int:
    """What a load's consumer should blame: a load that waited for a result, or for the pace of
    WUVE or SORE, makes the two operands behind it late too.
    """
    if blame == Cause.DEPENDENCY:
        state.late = OPERANDS
        return int(Cause.DEPENDENCY)
    if blame == NO_BLAME and state.late:
        state.late -= 1
        return int(Cause.DEPENDENCY)
    paced = blame == Cause.BUFFER and not STCE_FREE.isdisjoint(step.waits)
    state.late = OPERANDS if blame == Cause.BUFFER and not paced else 0
    return NO_BLAME
