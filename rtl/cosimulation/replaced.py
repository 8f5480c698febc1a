"""Modules of the machine's Verilog that a user's own files stand in for.

``weft.rtl.inspection.ports`` makes a ``Replaced`` after it has checked the files' ports.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from weft.rtl.cosimulation.build import Design

__all__ = ["NONE", "Replaced"]


@dataclass(frozen=True)
class Replaced:
    """``modules``: (name, file) of each module replaced; ``others``: further files they use."""

    modules: tuple[tuple[str, Path], ...] = ()
    others: tuple[Path, ...] = ()

    def into(self, design: Design) -> Design:
        """``design`` with those files in place of its own."""
        own = dict(self.modules)
        sources = (*(own.get(path.stem, path) for path in design.sources), *self.others)
        return dataclasses.replace(design, sources=sources)

    @property
    def names(self) -> tuple[str, ...]:
        """What a result says of it: module=file."""
        return tuple(f"{name}={path}" for name, path in self.modules)

    @property
    def options(self) -> str:
        """The command-line options that repeat it."""
        replaced = "".join(f" --replace {name}={path}" for name, path in self.modules)
        folders = sorted({path.parent for path in self.others})
        return replaced + "".join(f" --rtl {folder}" for folder in folders)


NONE = Replaced()
"""Nothing is replaced."""
