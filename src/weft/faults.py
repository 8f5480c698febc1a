"""Which errors are told in one line, and which keep their traceback."""

from __future__ import annotations

__all__ = ["is_users_mistake"]


def is_users_mistake(error: BaseException) -> bool:
    """Errors raised by weft's own code, and the system's; others are bugs and keep a traceback."""
    if isinstance(error, OSError):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is None or trace.tb_frame.f_globals.get("__name__", "").startswith("weft")
