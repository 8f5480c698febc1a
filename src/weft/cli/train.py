"""``weft train``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weft.cli.options import Hardware, Json, Optimizer, Out, PatternOption, Skip, names, subcommand
from weft.cli.output import check_file, check_folder, console, tell, write_json
from weft.mapper.sparsity.patterns import pattern_setting
from weft.models.training.settings import TrainSettings

if TYPE_CHECKING:
    from weft.models.training.log import Record
    from weft.models.training.run import TrainRun

__all__ = ["TrainedRecipe", "app", "run_train", "train_recipes"]

app = subcommand()


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="A zoo model.")],
    data: Annotated[str, typer.Option(help="digits, synthetic, chars, a folder or a text file.")],
    recipe: Annotated[list[str] | None, typer.Option(help="Recipes; several are paired.")] = None,
    pattern: PatternOption = "2:8",
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 400,
    seed: Annotated[int, typer.Option(help="Of weights, batches and random masks.")] = 0,
    seeds: Annotated[int, typer.Option(help="How many seeds, from --seed on.")] = 1,
    hardware: Hardware = "sat-vcu1525",
    batch: Annotated[int, typer.Option(help="Samples per step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Its peak.")] = 3e-3,
    optimizer: Optimizer = "adamw",
    skip: Skip = "",
    device: Annotated[str, typer.Option(help="Where PyTorch trains.")] = "cpu",
    out: Out = None,
    json: Json = None,
) -> None:
    """Train a model sparsely for real, every step priced on a machine; run again to resume."""
    recipes = tuple(recipe or ["dense"])
    settings = TrainSettings(
        model=model,
        data=data,
        recipe=recipes[0],
        pattern=pattern_setting(pattern),
        steps=steps,
        seed=seed,
        batch=batch,
        learning_rate=learning_rate,
        optimizer=optimizer,
        skip=names(skip),
        device=device,
    )
    run_train(settings, recipes, seeds, hardware, out, json)


@dataclass(frozen=True)
class TrainedRecipe:
    """One recipe's runs, and how they differ from the first recipe's seed by seed.

    ``difference`` is the mean of the metric's paired differences and its standard error; None
    for the first recipe.
    """

    recipe: str
    runs: tuple[TrainRun, ...]
    difference: tuple[float, float] | None = None

    @property
    def metric(self) -> float:
        return fmean(run.metric for run in self.runs)

    def to_json(self) -> dict[str, Any]:
        mean, error = self.difference or (None, None)
        return {
            "recipe": self.recipe,
            "metric_name": self.runs[0].metric_name,
            "metric": self.metric,
            "paired_difference": mean,
            # NaN, of a single pair, is no JSON.
            "standard_error": error if error == error else None,
            "sparse_inference": self.runs[0].sparse_inference,
            "time_s": self.runs[0].time_s,
            "energy_j": self.runs[0].energy_j,
            "runs": [run.summary() for run in self.runs],
        }


def train_recipes(
    settings: TrainSettings,
    recipes: tuple[str, ...],
    seeds: int,
    *,
    hardware: str = "",
    out: Path | None = None,
    on_step: Callable[[str, int, Record], None] | None = None,
) -> list[TrainedRecipe]:
    """Train every recipe with the same ``seeds`` seeds, from ``settings.seed`` on.

    Weights, batches and schedule of a seed are the same for all recipes, so runs pair.
    """
    from weft.models.training.run import compare_runs, train
    from weft.training import pricing_on

    price = pricing_on(hardware) if hardware else None
    trained: list[TrainedRecipe] = []
    for recipe in recipes:
        runs: list[TrainRun] = []
        for seed in range(settings.seed, settings.seed + seeds):

            def report(record: Record, recipe: str = recipe, seed: int = seed) -> None:
                if on_step is not None:
                    on_step(recipe, seed, record)

            folder = None if out is None else out / recipe.replace(":", "_") / f"seed-{seed}"
            chosen = replace(settings, recipe=recipe, seed=seed)
            runs.append(train(chosen, out=folder, price=price, on_step=report))
        first = trained[0].runs if trained else None
        gap = compare_runs(first, tuple(runs)) if first else None
        trained.append(TrainedRecipe(recipe, tuple(runs), gap))
    return trained


def run_train(
    settings: TrainSettings,
    recipes: tuple[str, ...],
    seeds: int,
    hardware: str,
    out: Path | None,
    json_target: str | None,
) -> None:
    """``weft train``.

    Raises:
        ValueError: no seeds, or whatever does not fit, in one line.
    """
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}; it must be at least 1")
    _check_device(settings.device)
    check_file(json_target)
    if out is not None:
        check_folder(out)
    with _warnings_in_one_line(), _progress(settings.steps * seeds * len(recipes)) as on_step:
        trained = train_recipes(
            settings, recipes, seeds, hardware=hardware, out=out, on_step=on_step
        )
    if out is not None and hardware:
        from weft.cli.training_curves import write_curves

        write_curves(trained, hardware, out / "curves.html")
    if json_target is not None:
        write_json([entry.to_json() for entry in trained], json_target)
    if json_target != "-":
        _show(settings, trained, hardware)
    if out is not None:
        tell(f"logs, checkpoints and curves: {out}")


def _check_device(device: str) -> None:
    """Refuse a device that PyTorch does not have here."""
    kind, _, number = device.partition(":")
    if device == "cpu":
        return
    if kind != "cuda" or (number and not number.isdecimal()):
        raise ValueError(f"device is {device!r}; it must be cpu, cuda or cuda:N")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        raise ValueError(f"device is {device!r}; PyTorch finds {count} CUDA devices here")


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """A warning is a line for the user, without the place in our code."""
    with warnings.catch_warnings():
        warnings.simplefilter("once")
        warnings.showwarning = lambda message, *_: tell(f"weft: {message}")
        yield


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str, int, Record], None] | None]:
    """A bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)

        def on_step(recipe: str, seed: int, record: Record) -> None:
            label = f"{recipe} seed {seed} loss {record.loss:.3f}"
            bar.update(task, advance=1, description=label)

        yield on_step


def _show(settings: TrainSettings, trained: list[TrainedRecipe], hardware: str) -> None:
    from rich.table import Table

    name = trained[0].runs[0].metric_name.replace("_", " ")
    seeds = len(trained[0].runs)
    title = f"{settings.model} on {settings.data}, {settings.steps} steps, seeds: {seeds}"
    table = Table(title=title, title_justify="left")
    headings = ["recipe", name, f"less {trained[0].recipe}, paired", "inference"]
    for heading in headings:
        table.add_column(heading)
    table.add_column(f"time on {hardware}" if hardware else "time", justify="right")
    table.add_column("energy", justify="right")
    for entry in trained:
        run = entry.runs[0]
        table.add_row(
            entry.recipe,
            f"{entry.metric:.4f}",
            "" if entry.difference is None else _with_error(*entry.difference),
            f"sparse, {run.weight_density:.0%} kept" if run.sparse_inference else "dense",
            "" if run.time_s is None else f"{run.time_s:.4g} s",
            "" if run.energy_j is None else f"{run.energy_j:.4g} J",
        )
    console().print(table)


def _with_error(mean: float, error: float) -> str:
    return f"{mean:+.4f}" if error != error else f"{mean:+.4f} ± {error:.4f}"
