"""``weft measure``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weft.cli.options import subcommand
from weft.measure import Settings, measure_command

__all__ = ["app"]

app = subcommand()


@app.command()
def measure(
    out: Annotated[Path, typer.Option(help="CSV to write, row by row.", metavar="FILE")],
    copies: Annotated[int, typer.Option(min=1, help="Weights that take turns.")] = 6,
    replays: Annotated[int, typer.Option(min=3, help="Timed runs; their median counts.")] = 15,
    power_s: Annotated[float, typer.Option(min=0, help="Seconds of each for its power.")] = 0.3,
    steps: Annotated[bool, typer.Option(help="Training steps too, after the products.")] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many products.")] = None,
) -> None:
    """Time dense and 2:4 products and training steps on the NVIDIA GPU at hand."""
    settings = Settings(copies, replays, power_s, steps, limit=limit)
    raise typer.Exit(measure_command(out, settings))
