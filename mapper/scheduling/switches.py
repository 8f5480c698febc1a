"""The dataflow features of SAT, each of which can be turned off to measure what it is worth."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["Switches", "feature_names", "parse_without"]


@dataclass(frozen=True)
class Switches:
    """All on by default.

    ``interleave``: several independent accumulations per PE. ``pregeneration``: compressed
    layouts are made right after the update, not before each product that needs them.
    ``offline_scheduling``: dataflow and tiles are chosen per product ahead of time.
    ``double_buffering``: every buffer has its banks, else one. ``overlap``: vector ops, updates
    and masks run while products do that do not need them.
    """

    interleave: bool = True
    pregeneration: bool = True
    offline_scheduling: bool = True
    double_buffering: bool = True
    overlap: bool = True


def feature_names() -> tuple[str, ...]:
    """The features as the command line writes them."""
    return tuple(field.name.replace("_", "-") for field in fields(Switches))


def parse_without(text: str) -> Switches:
    """Read a comma-separated list of features to turn off, such as ``interleave,pregeneration``.

    Raises:
        ValueError: a feature that does not exist.
    """
    known = {name: name.replace("-", "_") for name in feature_names()}
    off: dict[str, bool] = {}
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name not in known:
            raise ValueError(f"unknown feature {name!r}; known: {', '.join(known)}")
        off[known[name]] = False
    return Switches(**off)
