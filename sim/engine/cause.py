"""Why a queue stood still, and whom a load's consumer should blame."""

from __future__ import annotations

from enum import IntEnum

from weft.sim.program import Channel

__all__ = ["NO_BLAME", "OPERANDS", "STCE_FREE", "Cause", "cause_of"]


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
STCE_FREE = {int(Channel.LEFT_FREE), int(Channel.RIGHT_FREE)}
OPERANDS = 2
"""Loads behind a late one that are late with it: the two operands of a product."""

NO_BLAME = -1
"""What a token carries when nobody is to blame; a number, as states are compared as numbers."""


def cause_of(channel: Channel) -> Cause:
    """What a queue waits for when it waits for a token of ``channel``."""
    if channel in _MEMORY_CHANNELS:
        return Cause.MEMORY
    return Cause.BUFFER if channel in _BUFFER_CHANNELS else Cause.DEPENDENCY
