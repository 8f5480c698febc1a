"""What MODEL on the command line may be: a zoo name, a callable of the user's, a file."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.guest import guest

if TYPE_CHECKING:
    from weft.sim.workload import Workload
    from weft.simulation import Run, Settings

__all__ = ["Subject", "SubjectError", "find_subject"]


class SubjectError(ValueError):
    """The model named on the command line cannot be found or does not take these settings."""


@dataclass(frozen=True)
class Subject:
    """A model by name, and how to build it: ``(model, example_inputs[, loss_fn])``.

    ``folder`` is where the code lies, if it is the user's own. ``ready``: it is a module that
    exists, with its weights, and is not built under fake tensors.
    """

    name: str
    build: Callable[[], Any]
    folder: Path | None = None
    ready: bool = False

    def workload(self, optimizer: str, selected_share: float = 0.5) -> Workload:
        """One traced training step; ``selected_share`` as in ``weft.simulation.Settings``.

        Raises:
            ValueError: the model cannot be built or traced.
        """
        from weft.simulation import trace_workload

        with guest(self.name, self.folder):
            model = self._real() if self.ready else (self.build,)
            return trace_workload(
                *model, optimizer=optimizer, name=self.name, selected_share=selected_share
            )

    def simulate_real(
        self, settings: Settings, provenance: dict[str, str], weights: Path | None = None
    ) -> Run:
        """A run with the model's real weights, or those of a file, for the recipe from-weights.

        Raises:
            ValueError: whatever the builder raises, in one line; another result.
        """
        from weft.simulation import simulate_model

        with guest(self.name, self.folder):
            fake = weights is not None and not self.ready
            model = (self.build,) if fake else self._real()
            return simulate_model(
                *model, settings=settings, name=self.name, provenance=provenance, weights=weights
            )

    def _real(self) -> tuple[Any, ...]:
        try:
            built = self.build()
        except Exception as error:
            if self.ready and isinstance(error, ValueError):
                raise
            raise SubjectError(f"{self.name} cannot be built: {_short(error)}") from error
        if not isinstance(built, tuple) or len(built) not in (2, 3):
            raise SubjectError(f"{self.name} must return (model, example_inputs[, loss_fn])")
        return built


def find_subject(text: str, batch: int | None, input_shape: tuple[int, ...] | None) -> Subject:
    """Find the model that ``text`` names; it is not built yet.

    Raises:
        SubjectError: unknown name (the nearest are told), no such module, file or callable.
    """
    kind = _OF_FILE.get(Path(text).suffix.lower())
    if kind is not None:
        return kind(text, batch, input_shape)
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


def _from_exported(text: str, batch: int | None, input_shape: tuple[int, ...] | None) -> Subject:
    _check_file(text, batch)
    if input_shape is not None:
        raise SubjectError(f"--input is for zoo models; {text} has its own inputs")

    def load() -> Any:
        from weft.models.imported.exported import load_exported

        return load_exported(Path(text), batch)

    return Subject(Path(text).stem, load, ready=True)


def _check_file(text: str, batch: int | None) -> None:
    if not Path(text).is_file():
        raise SubjectError(f"file {text} does not exist")
    if batch is not None and batch < 1:
        raise SubjectError(f"--batch is {batch}; it must be at least 1")


_OF_FILE: dict[str, Callable[[str, int | None, tuple[int, ...] | None], Subject]] = {
    ".pt2": _from_exported,
}
"""By the end of its name, a file that is a model."""


def _from_callable(text: str) -> Subject:
    place, _, attribute = text.rpartition(":")
    of_file = place.endswith(".py")
    folder = Path(place).parent if of_file else Path.cwd()
    with guest(text, folder):
        module = _load_file(Path(place)) if of_file else _load_module(place)
        found = getattr(module, attribute, None)
    if not callable(found):
        offered = [name for name in vars(module) if callable(getattr(module, name))]
        near = difflib.get_close_matches(attribute, offered, n=3, cutoff=0.4)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise SubjectError(f"{place} has no callable {attribute!r}{hint}")
    return Subject(text, found, folder)


def _load_module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise SubjectError(f"module {name!r} cannot be imported: {_short(error)}") from error


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise SubjectError(f"file {path} does not exist")
    known = sys.modules.get(path.stem)
    ours = known is None or getattr(known, "__file__", None) == str(path.resolve())
    # Dataclasses and siblings look a module up by its name; one that is taken stays as it is.
    name = path.stem if ours else f"_weft_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise SubjectError(f"file {path} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        raise SubjectError(f"file {path} cannot be run: {_short(error)}") from error
    return module


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]
