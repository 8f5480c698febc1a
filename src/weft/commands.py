"""What the subcommands do once their options are read."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product as cross
from pathlib import Path
from typing import TYPE_CHECKING

from weft.output import check_folder, console, write_json
from weft.sim.results import RunResult
from weft.simulation import Run, Settings, simulate_workload, trace_workload
from weft.subject import find_subject
from weft.topology import is_topology, read_topology

if TYPE_CHECKING:
    from weft.sim.workload import Workload

__all__ = ["Grid", "run_ablate", "run_compare", "run_report", "run_simulate"]


@dataclass(frozen=True)
class Grid:
    """What ``compare`` runs: every combination."""

    models: tuple[str, ...]
    recipes: tuple[str, ...]
    patterns: tuple[str, ...]
    hardware: tuple[str, ...]
    memories: tuple[str, ...] = ("",)

    def settings(self, base: Settings) -> Iterator[Settings]:
        """Settings of one model's runs, dense first on each machine."""
        for machine, memory in cross(self.hardware, self.memories):
            seen: set[tuple[str, str]] = set()
            here = dataclasses.replace(base, hardware=machine, memory=memory)
            for recipe, pattern in cross(("dense", *self.recipes), self.patterns):
                key = (recipe, "" if recipe == "dense" else pattern)
                if key not in seen:
                    seen.add(key)
                    yield dataclasses.replace(here, recipe=recipe, pattern=key[1])


def run_simulate(
    model: str,
    batch: int | None,
    input_shape: tuple[int, ...] | None,
    settings: Settings,
    out: Path | None,
    json_target: str | None,
    *,
    why: bool = False,
    training: bool = False,
) -> None:
    """``weft simulate``; ``why`` adds the critical path and the what-if table.

    ``training`` is for topologies, of which the forward pass alone is the default.
    """
    if out is not None:
        check_folder(out)
    check_settings(settings)
    if is_topology(model):
        run = _simulate_topology(Path(model), batch, input_shape, settings, training=training)
    elif training:
        raise ValueError("--training is for topology files; models are always trained")
    else:
        run = _simulate_subject(model, batch, input_shape, settings)
    if why:
        from weft.explanation import explain

        run = explain(run)
    if json_target is not None:
        write_json(run.result.to_json(), json_target)
    if json_target != "-":
        _show(run.result)
    if out is not None:
        run.report(out)
        _tell(f"run folder: {out}  (report: {out / 'report.html'})")


def check_settings(settings: Settings) -> None:
    """Find what is wrong with the settings before the model is traced."""
    from weft.sim.ideal import IDEAL
    from weft.simulation import resolve

    if settings.hardware == IDEAL:
        raise ValueError(
            f"{IDEAL} has no memory to simulate a step on; it prices tables of products: "
            f"weft predict PRODUCTS.csv --hardware {IDEAL}"
        )
    resolve(settings)


def _simulate_topology(
    path: Path,
    batch: int | None,
    input_shape: tuple[int, ...] | None,
    settings: Settings,
    *,
    training: bool,
) -> Run:
    from weft.topology_run import simulate_topology

    if input_shape is not None:
        raise ValueError("--input is for zoo models; a topology holds its own sizes")
    images = 1 if batch is None else batch
    topology = read_topology(path)
    return simulate_topology(
        topology, settings, images=images, training=training, provenance=_provenance()
    )


def _simulate_subject(
    model: str, batch: int | None, input_shape: tuple[int, ...] | None, settings: Settings
) -> Run:
    if settings.recipe == "from-weights":
        from weft.simulation import simulate

        subject = find_subject(model, batch, input_shape)
        built = subject.build()
        if not isinstance(built, tuple):
            raise ValueError(f"{model} must return (model, example_inputs[, loss_fn])")
        return simulate(*built, name=subject.name, **dataclasses.asdict(settings))
    workload = _trace(model, batch, input_shape, settings.optimizer)
    return simulate_workload(workload, settings, provenance=_provenance())


def _trace(
    model: str, batch: int | None, input_shape: tuple[int, ...] | None, optimizer: str
) -> Workload:
    subject = find_subject(model, batch, input_shape)
    return trace_workload(subject.build, optimizer=optimizer, name=subject.name)


def _provenance() -> dict[str, str]:
    import platform

    return {
        "command": " ".join(["weft", *sys.argv[1:]]),
        "python": platform.python_version(),
        "validated": "engine = stepwise execution of the same program, on random programs",
    }


def run_compare(
    grid: Grid,
    batch: int | None,
    input_shape: tuple[int, ...] | None,
    base: Settings,
    out: Path | None,
    json_target: str | None,
) -> None:
    """``weft compare``."""
    if out is not None:
        check_folder(out)
    for settings in grid.settings(base):
        check_settings(settings)
    results: list[RunResult] = []
    for model in grid.models:
        workload = _trace(model, batch, input_shape, base.optimizer)
        for settings in grid.settings(base):
            run = simulate_workload(workload, settings, provenance=_provenance())
            results.append(run.result)
            if out is not None:
                run.report(out / _folder_name(run.result))
    if json_target is not None:
        write_json([result.to_json() for result in results], json_target)
    if json_target != "-":
        _show_comparison(results)
    if out is not None:
        _write_comparison(results, out)


def _folder_name(result: RunResult) -> str:
    parts = [result.model, result.recipe, result.pattern, result.hardware]
    return "-".join(part.replace(":", "_").replace("/", "_") for part in parts if part)


def _write_comparison(results: list[RunResult], out: Path) -> None:
    from weft.reports.compare import export

    target = out / "report.html"
    export(results, "html", target)
    _tell(f"report: {target}")


def run_ablate(
    models: tuple[str, ...],
    batch: int | None,
    input_shape: tuple[int, ...] | None,
    settings: Settings,
    json_target: str | None,
) -> None:
    """``weft ablate``: cycles with all features, without each, and without any."""
    from weft.mapper.switches import feature_names

    check_settings(settings)
    features = feature_names()
    variants = ("", *features, ",".join(features))
    rows: list[dict[str, int | str]] = []
    for model in models:
        workload = _trace(model, batch, input_shape, settings.optimizer)
        row: dict[str, int | str] = {"model": model}
        for without in variants:
            run = simulate_workload(workload, dataclasses.replace(settings, without=without))
            row[without or "all on"] = run.cycles or 0
        rows.append(row)
    if json_target is not None:
        write_json(rows, json_target)
    if json_target != "-":
        from weft.reports.terminal import ablation_table

        console().print(ablation_table(rows, features))


def run_report(folders: list[Path], format_: str, out: Path | None) -> None:
    """``weft report``."""
    from weft.reports.compare import export
    from weft.reports.folder import read_run

    runs = [read_run(folder) for folder in folders]
    target = out or folders[0] / f"report.{format_}"
    export(runs, format_, target)
    _tell(f"report: {target}")


def _show(result: RunResult) -> None:
    from weft.reports.terminal import summary_table

    out = console()
    for part in summary_table(result):
        out.print(part)


def _show_comparison(results: list[RunResult]) -> None:
    from weft.reports.terminal import compare_table

    out = console()
    for part in compare_table(results):
        out.print(part)


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
