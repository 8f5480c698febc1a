"""What MODEL on the command line may be: a zoo name, ``package.module:callable`` or a file's."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Subject", "SubjectError", "find_subject"]


class SubjectError(ValueError):
    """The model named on the command line cannot be found or does not take these settings."""


@dataclass(frozen=True)
class Subject:
    """A model by name, and how to build it: ``(model, example_inputs[, loss_fn])``."""

    name: str
    build: Callable[[], Any]


def find_subject(text: str, batch: int | None, input_shape: tuple[int, ...] | None) -> Subject:
    """Find the model that ``text`` names; it is not built yet.

    Raises:
        SubjectError: unknown name (the nearest are told), no such module, file or callable.
    """
    if ":" in text:
        if batch is not None or input_shape is not None:
            raise SubjectError(
                f"{text} brings its own inputs; --batch and --input are for zoo models"
            )
        return _from_callable(text)
    return _from_zoo(text, batch, input_shape)


def _from_zoo(name: str, batch: int | None, input_shape: tuple[int, ...] | None) -> Subject:
    from weft.models.zoo import ZOO, build, check_input

    if name not in ZOO:
        near = difflib.get_close_matches(name, list(ZOO), n=3, cutoff=0.4)
        nearest = f"nearest: {', '.join(near)}; " if near else ""
        raise SubjectError(
            f"unknown model {name!r}; {nearest}known: {', '.join(ZOO)}, "
            "package.module:callable or file.py:callable"
        )
    if batch is not None and batch < 1:
        raise SubjectError(f"--batch is {batch}; it must be at least 1")
    if input_shape is not None:
        check_input(ZOO[name], input_shape)

    def model() -> Any:
        return build(name, batch=batch, input_shape=input_shape)

    model.__qualname__ = name  # what a refusal by the builder names
    return Subject(name, model)


def _from_callable(text: str) -> Subject:
    place, _, attribute = text.rpartition(":")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    found = getattr(module, attribute, None)
    if not callable(found):
        offered = [name for name in vars(module) if callable(getattr(module, name))]
        near = difflib.get_close_matches(attribute, offered, n=3, cutoff=0.4)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise SubjectError(f"{place} has no callable {attribute!r}{hint}")
    return Subject(text, found)


def _load_module(name: str) -> Any:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise SubjectError(f"module {name!r} cannot be imported: {_short(error)}") from error
    finally:
        sys.path.pop(0)


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise SubjectError(f"file {path} does not exist")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SubjectError(f"file {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SubjectError(f"file {path} cannot be run: {_short(error)}") from error
    return module


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]
