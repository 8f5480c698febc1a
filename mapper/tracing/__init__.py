"""One training step of any eager PyTorch model as a graph of what it ran.

``trace`` is imported when first asked for: it needs torch, which costs seconds to import, and
nothing else here does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weft.mapper.tracing.trace import built_module
    from weft.mapper.tracing.trace import trace as trace_step

__all__ = ["built_module", "trace_step"]


def __getattr__(name: str) -> Any:
    if name == "trace_step":
        from weft.mapper.tracing.trace import trace

        return trace
    if name == "built_module":
        from weft.mapper.tracing.trace import built_module

        return built_module
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
