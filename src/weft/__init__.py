"""weft: what one training run costs, with this sparsity recipe, on this machine, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weft.models.sparse import sparsify
    from weft.simulation import Run, simulate

__all__ = ["Run", "__version__", "simulate", "sparsify"]

__version__ = "0.1.0"

_HOMES = {
    "Run": "weft.simulation",
    "simulate": "weft.simulation",
    "sparsify": "weft.models.sparse",
}


def __getattr__(name: str) -> Any:
    """Import the public API on first use, so that ``import weft`` costs nothing."""
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'weft' has no attribute {name!r}")
