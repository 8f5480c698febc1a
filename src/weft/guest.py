"""A user's own code at work in weft's process: its imports, what it prints, how it may end."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

__all__ = ["GuestError", "guest"]


class GuestError(ValueError):
    """The user's code ended weft's process, or tried to."""


_neighbours: dict[Path, dict[str, ModuleType]] = {}
"""By folder, the modules that were imported from there."""


@contextlib.contextmanager
def guest(name: str, folder: Path | None) -> Iterator[None]:
    """Inside, modules of ``folder`` can be imported, and standard output is standard error.

    So a ``print`` of a model does not come between a command and the JSON that it writes. Modules
    of the same name in two folders do not meet.

    Raises:
        GuestError: ``sys.exit`` was called.
    """
    with _neighbourhood(folder), _output_on_stderr():
        try:
            yield
        except SystemExit as error:
            said = "" if error.code is None else repr(error.code)
            raise GuestError(f"{name} called sys.exit({said}); it must return a model") from error


@contextlib.contextmanager
def _neighbourhood(folder: Path | None) -> Iterator[None]:
    if folder is None:
        yield
        return
    folder = folder.resolve()
    for other in [place for place in _neighbours if place != folder]:
        for name in _neighbours[other]:
            sys.modules.pop(name, None)
    sys.modules.update(_neighbours.get(folder, {}))
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))
        found = {name: sys.modules[name] for name in set(sys.modules) - before}
        _neighbours.setdefault(folder, {}).update(
            {name: module for name, module in found.items() if _lies_in(module, folder)}
        )


def _lies_in(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    places = [file] if isinstance(file, str) else list(getattr(module, "__path__", ()))
    inside = any(Path(place).resolve().is_relative_to(folder) for place in places)
    return inside and not any("site-packages" in place for place in places)


@contextlib.contextmanager
def _output_on_stderr() -> Iterator[None]:
    """Python's standard output, and the descriptor below it that a child process writes to."""
    with contextlib.redirect_stdout(sys.stderr):
        try:
            if sys.__stdout__ is not None:
                sys.__stdout__.flush()
            kept = os.dup(1)
        except OSError:  # there is no such descriptor
            yield
            return
        try:
            os.dup2(2, 1)
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)
