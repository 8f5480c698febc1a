"""``weft compare``."""

from __future__ import annotations

from typing import Annotated

import typer

from weft.cli.options import (
    MEMORY_HELP,
    Accuracy,
    Batch,
    Fusion,
    Input,
    Json,
    Optimizer,
    Out,
    SelectedShare,
    Steps,
    Without,
    given,
    shape,
    subcommand,
)
from weft.cli.output import check_file, check_folder, console, tell, write_json
from weft.grid import Grid, run_grid
from weft.mapper.sparsity.patterns import pattern_setting
from weft.reports.accuracy import read_accuracy
from weft.reports.compare import export
from weft.reports.terminal import compare_table
from weft.simulation import Settings, resolve

__all__ = ["app"]

app = subcommand()


@app.command()
def compare(
    models: Annotated[list[str], typer.Argument(help="Models, as for simulate.")],
    recipe: Annotated[list[str] | None, typer.Option(help="Recipes; dense is always run.")] = None,
    pattern: Annotated[list[str] | None, typer.Option(metavar="N:M")] = None,
    hardware: Annotated[list[str] | None, typer.Option(help="Machines.")] = None,
    batch: Batch = None,
    input: Input = None,  # noqa: A002 - the name of the option
    steps: Steps = 1,
    optimizer: Optimizer = "sgd-momentum",
    selected_share: SelectedShare = 0.5,
    without: Without = None,
    fusion: Fusion = None,
    memory: Annotated[list[str] | None, typer.Option(help=MEMORY_HELP)] = None,
    accuracy: Accuracy = None,
    training: Annotated[
        bool, typer.Option("--training", help="Of topologies: backward pass and update too.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Runs at a time; 0: one per core.")] = 0,
    out: Out = None,
    json: Json = None,
) -> None:
    """Run a grid of models, recipes, patterns and machines, and set them side by side."""
    grid = Grid(
        tuple(models),
        tuple(recipe or ["dense"]),
        tuple(map(pattern_setting, pattern or [""])),
        tuple(hardware or ["sat-vcu1525"]),
        tuple(memory or [""]),
        given(without=without, fusion=fusion),
    )
    base = Settings(steps=steps, optimizer=optimizer, selected_share=selected_share)
    check_file(json)
    if out is not None:
        check_folder(out)
    for settings in grid.settings(base):
        resolve(settings)
    trained = [] if accuracy is None else read_accuracy(accuracy)
    try:
        results = run_grid(grid.jobs(base, batch, shape(input), out, training=training), jobs)
    except KeyboardInterrupt:
        if out is not None:
            tell(f"runs that are done stay below {out}; weft report {out}/*/ merges them")
        raise
    if json is not None:
        write_json([result.to_json() for result in results], json)
    if json != "-":
        screen = console()
        for part in compare_table(results, trained):
            screen.print(part)
    if out is not None:
        export(results, "html", out / "report.html", trained)
        tell(f"report: {out / 'report.html'}")
