"""Files that are whole or not there: written beside their place and moved into it."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = [
    "ReportError",
    "failing_clearly",
    "temporary_name",
    "write_atomically",
    "write_text_atomically",
]


class ReportError(ValueError):
    """A run or report that cannot be read or written; the message is one line with the path."""


@contextlib.contextmanager
def failing_clearly(place: Path, verb: str = "write") -> Iterator[None]:
    """Turn the system's errors into a ``ReportError`` that names ``place``."""
    try:
        yield
    except OSError as error:
        raise ReportError(f"cannot {verb} {place}: {error.strerror or error}") from error


def write_text_atomically(path: Path, text: str) -> None:
    """Replace the file at ``path`` by ``text`` (UTF-8), or leave it as it was.

    A device or a pipe is written to. What UTF-8 cannot hold is written as an escape.

    Raises:
        ReportError: no space, no folder, no permission.
    """
    content = text.encode("utf-8", "backslashreplace")
    write_atomically(path, lambda target: _write(target, content))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it there.

    Raises:
        ReportError: the system refuses; ``path`` is then as it was.
    """
    with failing_clearly(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            write(path)
            return
        temporary = path.with_name(temporary_name())
        try:
            write(temporary)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def temporary_name() -> str:
    """A hidden name that nobody else uses, short enough for any file system."""
    return f".weft-{os.getpid()}-{secrets.token_hex(4)}.tmp"


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
