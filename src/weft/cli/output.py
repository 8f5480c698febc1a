"""Where the command line writes: data on stdout or in a file, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "OutputError",
    "check_file",
    "check_folder",
    "console",
    "silence_stdout",
    "tell",
    "write_json",
    "write_text",
]

_PIPE_WIDTH = 200


class OutputError(ValueError):
    """A place that cannot be written; nothing half-written is left there."""


def write_json(data: Any, target: str) -> None:
    """Write JSON to ``target``: ``-`` is stdout, a device or pipe is written to, a file replaced.

    Raises:
        OutputError: the disk is full, the folder does not exist or is not writable.
    """
    write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", target)


def write_text(text: str, target: str) -> None:
    """Write ``text`` the way ``write_json`` does."""
    try:
        if target == "-":
            sys.stdout.write(text)
            sys.stdout.flush()
        elif Path(target).exists() and not Path(target).is_file():
            with open(target, "w", encoding="utf-8") as stream:
                stream.write(text)
        else:
            _replace(Path(target), text)
    except BrokenPipeError:
        silence_stdout()
    except OSError as error:
        if target == "-":
            silence_stdout()
        place = "standard output" if target == "-" else target
        raise OutputError(f"cannot write {place}: {error.strerror or error}") from error


def console() -> Console:
    """Where tables go: as wide as the terminal, or as wide as they need in a pipe."""
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def silence_stdout() -> None:
    """Nobody can read stdout any more: keep the interpreter from failing on it at exit."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def check_folder(folder: Path) -> None:
    """Find out before the work whether ``folder`` can be written at all.

    Raises:
        OutputError: it is a file, or it (or the nearest parent that exists) is not writable.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"--out {folder} is a file; a folder is needed")
    parent = folder
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"--out {folder}: {parent} is not writable")


def check_file(target: str | None) -> None:
    """Find out before the work whether a file ``target`` (``-``: stdout) can be written.

    Raises:
        OutputError: it is a folder, or its folder does not exist or is not writable.
    """
    if target is None or target == "-":
        return
    path = Path(target)
    if path.is_dir():
        raise OutputError(f"cannot write {target}: it is a folder")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {target}: {path.parent} is no folder that can be written")


def tell(line: str) -> None:
    """A line for the user, on stderr."""
    print(line, file=sys.stderr)
