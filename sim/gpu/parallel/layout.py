"""How the work of a step is laid out over GPUs, and what must divide what."""

from __future__ import annotations

from dataclasses import dataclass

from weft.sim.gpu.prediction.link import STRATEGIES
from weft.sim.gpu.prediction.settings import CHECKPOINTS

__all__ = ["SCHEDULES", "Layout", "divisors", "nearest_divisors", "whole"]

SCHEDULES = ("1f1b", "gpipe", "interleaved", "zero-bubble")


def divisors(number: int) -> list[int]:
    """All divisors, in order."""
    return [d for d in range(1, number + 1) if number % d == 0]


def nearest_divisors(number: int, wanted: int) -> list[int]:
    """The divisors of ``number`` around ``wanted``: at most one below and one above."""
    found = divisors(number)
    below, above = [d for d in found if d < wanted], [d for d in found if d > wanted]
    return [*below[-1:], *above[:1]]


def whole(name: str, value: int, what: str, number: int) -> int:
    """``number / value``.

    Raises:
        ValueError: it does not divide; both numbers and the nearest that do are named.
    """
    if number % value:
        near = " or ".join(map(str, nearest_divisors(number, value)))
        raise ValueError(f"{name} {value} does not divide {what} {number}; nearest that do: {near}")
    return number // value


@dataclass(frozen=True)
class Layout:
    """``gpus`` GPUs as tensor x context x data x pipeline ranks, tensor ranks nearest.

    ``expert`` ranks share the experts of a layer and lie across the data (and context) ranks.
    ``micro_batch`` samples run at a time (0: the whole batch of a data rank, one sample in a
    pipeline). ``virtual`` chunks per pipeline rank need schedule "interleaved".
    ``async_tensor``: collectives between tensor ranks run in pieces beside their products.
    ``uneven``: pipeline ranks may differ by a layer.
    """

    gpus: int = 1
    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    expert: int = 1
    strategy: str = "replicated"
    micro_batch: int = 0
    schedule: str = "1f1b"
    virtual: int = 1
    checkpoint: str = "none"
    async_tensor: bool = False
    uneven: bool = False

    def __post_init__(self) -> None:
        for name in ("gpus", "tensor", "pipeline", "context", "expert", "virtual"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if self.micro_batch < 0:
            raise ValueError(f"micro-batch is {self.micro_batch}; it must be at least 1")
        for name, allowed in (
            ("strategy", STRATEGIES), ("schedule", SCHEDULES), ("checkpoint", CHECKPOINTS),
        ):  # fmt: skip
            if getattr(self, name) not in allowed:
                text = ", ".join(allowed)
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {text}")
        if self.virtual > 1 and self.schedule != "interleaved":
            raise ValueError(f"virtual {self.virtual} needs schedule interleaved")
        _ = self.data

    @property
    def data(self) -> int:
        """Data-parallel ranks.

        Raises:
            ValueError: the other ranks do not divide the GPUs.
        """
        rest = whole("tensor", self.tensor, "gpus", self.gpus)
        rest = whole("pipeline", self.pipeline, f"gpus / tensor {self.tensor}, that is", rest)
        rest = whole("context", self.context, "the GPUs of a stage and tensor rank, that is", rest)
        if rest * self.context % self.expert:
            whole("expert", self.expert, "data x context ranks", rest * self.context)
        return rest

    def micro_batches(self, batch: int) -> int:
        """Micro-batches of a data rank's ``batch`` samples.

        Raises:
            ValueError: they are not whole, or an interleaved pipeline needs another number.
        """
        micro = self.micro_batch or (1 if self.pipeline > 1 else batch)
        count = whole("micro-batch", micro, "batch", batch)
        if self.schedule == "interleaved" and self.pipeline > 1:
            whole("pipeline", self.pipeline, "micro-batches (as interleaving needs)", count)
        return count
