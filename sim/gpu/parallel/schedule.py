"""Pipeline schedules and their exact makespan.

A rank runs its operations in a fixed order; an operation starts when the one before it on its rank
is done and when what it needs has arrived from its neighbour. Every start is a maximum of finish
times plus a constant, so a schedule is a (max, +) recurrence and its time is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Operation", "StageTimes", "makespan", "orders"]


@dataclass(frozen=True)
class StageTimes:
    """Seconds of one micro-batch in one chunk of layers: forward, input gradients, weights'.

    ``send_s`` is what its result takes to the next chunk or its gradient to the one before.
    """

    forward_s: float
    backward_s: float
    weights_s: float
    send_s: float = 0.0


@dataclass(frozen=True)
class Operation:
    """``kind`` "F", "B" or "W" of ``micro`` in the rank's chunk ``chunk``."""

    kind: str
    micro: int
    chunk: int = 0


def orders(schedule: str, ranks: int, micros: int, virtual: int = 1) -> list[list[Operation]]:
    """Every rank's operations in order; "B" includes the weights' gradients but for zero-bubble.

    GPipe (Huang et al., arXiv:1811.06965), 1F1B (PipeDream-Flush, arXiv:2006.09503), interleaved
    1F1B (Narayanan et al., arXiv:2104.04473), zero-bubble H1 (Qi et al., arXiv:2401.10241), where
    weights' gradients wait until a rank would stand still.
    """
    if schedule == "gpipe":
        return [
            [Operation("F", i) for i in range(micros)] + [Operation("B", i) for i in range(micros)]
        ] * ranks
    if schedule == "interleaved" and virtual > 1:
        return [_interleaved(rank, ranks, micros, virtual) for rank in range(ranks)]
    plain = [_one_forward_one_backward(rank, ranks, micros) for rank in range(ranks)]
    if schedule != "zero-bubble":
        return plain
    return [_weights_late(order, rank, micros) for rank, order in enumerate(plain)]


def _one_forward_one_backward(rank: int, ranks: int, micros: int) -> list[Operation]:
    warm = min(ranks - rank - 1, micros)
    order = [Operation("F", i) for i in range(warm)]
    for i in range(micros - warm):
        order += [Operation("F", warm + i), Operation("B", i)]
    return order + [Operation("B", i) for i in range(micros - warm, micros)]


def _weights_late(order: list[Operation], rank: int, micros: int) -> list[Operation]:
    """Every "W" ``rank`` micro-batches after its "B"; the last ones fill the cool-down."""
    late: list[Operation] = []
    done = waiting = 0
    for operation in order:
        late.append(operation)
        if operation.kind == "B":
            waiting += 1
            if waiting > rank:
                late.append(Operation("W", done))
                done, waiting = done + 1, waiting - 1
    return late + [Operation("W", i) for i in range(done, micros)]


def _interleaved(rank: int, ranks: int, micros: int, virtual: int) -> list[Operation]:
    total = micros * virtual
    warm = min((ranks - rank - 1) * 2 + (virtual - 1) * ranks, total)

    def at(step: int, forward: bool) -> Operation:
        group, inside = divmod(step, ranks * virtual)
        chunk, micro = divmod(inside, ranks)
        kind, place = ("F", chunk) if forward else ("B", virtual - 1 - chunk)
        return Operation(kind, group * ranks + micro, place)

    order = [at(i, True) for i in range(warm)]
    for i in range(total - warm):
        order += [at(warm + i, True), at(i, False)]
    return order + [at(i, False) for i in range(total - warm, total)]


def makespan(
    schedule: str, times: Sequence[StageTimes], ranks: int, micros: int, virtual: int = 1
) -> float:
    """Seconds from the first start to the last finish.

    ``times`` has ``ranks * virtual`` chunks in the order of the layers; chunk c lies on rank
    c mod ``ranks``.

    Raises:
        ValueError: the schedule waits for itself.
    """
    chunks = ranks * virtual
    queues = orders(schedule, ranks, micros, virtual)
    split = schedule == "zero-bubble"
    finish: dict[tuple[str, int, int], float] = {}
    free, at = [0.0] * ranks, [0] * ranks
    left = sum(map(len, queues))
    while left:
        before = left
        for rank, queue in enumerate(queues):
            while at[rank] < len(queue):
                operation = queue[at[rank]]
                place = operation.chunk * ranks + rank
                ready = _ready(operation, place, chunks, finish, times)
                if ready is None:
                    break
                took = _took(operation, times[place], split)
                free[rank] = max(free[rank], ready) + took
                finish[operation.kind, operation.micro, place] = free[rank]
                at[rank] += 1
                left -= 1
        if left == before:
            raise ValueError(f"schedule {schedule} of {ranks} ranks waits for itself")
    return max(free)


def _took(operation: Operation, times: StageTimes, split: bool) -> float:
    if operation.kind == "F":
        return times.forward_s
    if operation.kind == "W":
        return times.weights_s
    return times.backward_s + (0.0 if split else times.weights_s)


def _ready(
    operation: Operation, place: int, chunks: int, finish: dict[tuple[str, int, int], float],
    times: Sequence[StageTimes],
) -> float | None:  # fmt: skip
    """When what an operation needs is there; None while it is not known."""
    kind, micro = operation.kind, operation.micro
    if kind == "W":
        return finish.get(("B", micro, place))
    if kind == "F":
        if place == 0:
            return 0.0
        source = finish.get(("F", micro, place - 1))
        return None if source is None else source + times[place - 1].send_s
    if place == chunks - 1:
        return finish.get(("F", micro, place))
    source = finish.get(("B", micro, place + 1))
    return None if source is None else source + times[place + 1].send_s
