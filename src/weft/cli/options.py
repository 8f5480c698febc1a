"""Options that several subcommands share, and how their texts are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "MEMORY_HELP",
    "Accuracy",
    "Batch",
    "Constants",
    "Fusion",
    "Hardware",
    "Input",
    "Json",
    "Optimizer",
    "Out",
    "PatternOption",
    "Recipe",
    "SelectedShare",
    "Skip",
    "Steps",
    "Without",
    "given",
    "names",
    "shape",
    "subcommand",
]

Recipe = Annotated[str, typer.Option(help="A name of `weft recipes`, or from-weights.")]
PatternOption = Annotated[
    str,
    typer.Option(
        help="N:M, for example 2:8, or a .json file of layer to N:M.", metavar="N:M|FILE.json"
    ),
]
Hardware = Annotated[str, typer.Option(help="A name of `weft hardware`, or a .toml file.")]
Batch = Annotated[int | None, typer.Option(help="Samples per step (zoo models).")]
Input = Annotated[str | None, typer.Option(metavar="C,H,W|T", help="Shape of one sample.")]
Steps = Annotated[int, typer.Option(help="Training steps to price.")]
Optimizer = Annotated[str, typer.Option(help="sgd, sgd-momentum, adam or adamw.")]
SelectedShare = Annotated[
    float,
    typer.Option(min=0.0, max=1.0, help="Share that is kept of a mask that the data decide."),
]
Without = Annotated[
    str | None,
    typer.Option(
        help="On SAT: features to turn off, comma-separated: interleave, pregeneration, "
        "offline-scheduling, double-buffering, overlap."
    ),
]
Fusion = Annotated[str | None, typer.Option(help="On a GPU: eager (as without it) or compile.")]
Constants = Annotated[
    str | None, typer.Option(help="Of GPUs: what `weft calibrate` wrote.", metavar="FILE")
]
MEMORY_HELP = "On SAT: simple (a fixed rate), ddr4-2400, hbm2e, or a .toml file."
Skip = Annotated[str, typer.Option(help="Layers to keep dense, comma-separated.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the run.", metavar="DIR")]
Accuracy = Annotated[
    Path | None, typer.Option(metavar="DIR|FILE", help="What `weft train --out` (--json) wrote.")
]
Json = Annotated[str | None, typer.Option(help="JSON to a file, or - for stdout.", metavar="FILE")]


def subcommand() -> typer.Typer:
    """A subcommand's app, in the style of all."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def given(**options: Any) -> Any:
    """The options that the user gave: those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def names(text: str) -> tuple[str, ...]:
    """A comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def shape(text: str | None) -> tuple[int, ...] | None:
    """Read ``C,H,W`` or ``T``.

    Raises:
        ValueError: anything else.
    """
    if text is None:
        return None
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if len(sizes) not in (1, 3) or min(sizes, default=0) < 1:
        raise ValueError(f"--input is {text!r}; it must be C,H,W or T, all positive")
    return sizes
