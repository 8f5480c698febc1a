"""What the subcommands do once their options are read."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weft.mapper.topology.table import is_topology, read_topology
from weft.output import check_folder, console, write_json
from weft.provenance import provenance, this_command
from weft.sim.results import RunResult
from weft.simulation import Run, Settings, simulate_workload, trace_workload
from weft.subject import find_subject

if TYPE_CHECKING:
    from weft.grid import Grid
    from weft.reports.accuracy import Accuracy
    from weft.reports.entries import Entry
    from weft.sim.workload import Workload

__all__ = ["run_ablate", "run_compare", "run_report", "run_simulate"]


def run_simulate(
    model: str,
    batch: int | None,
    input_shape: tuple[int, ...] | None,
    settings: Settings,
    out: Path | None,
    json_target: str | None,
    *,
    why: bool | None = None,
    training: bool = False,
    window: str = "",
) -> None:
    """``weft simulate``.

    ``why`` adds the critical path and the what-if table; None adds them to a report only.
    ``training`` is for topologies, of which the forward pass alone is the default. ``window`` is
    what the report's timeline and the trace show.
    """
    if out is not None:
        check_folder(out)
    if window:
        check_window(window, out)
    check_settings(settings)
    if is_topology(model):
        run = _simulate_topology(Path(model), batch, input_shape, settings, training=training)
    elif training:
        raise ValueError("--training is for topology files; models are always trained")
    else:
        run = _simulate_subject(model, batch, input_shape, settings)
    if why or (why is None and out is not None):
        run = run.explained()
    if json_target is not None:
        write_json(run.result.to_json(), json_target)
    if json_target != "-":
        _show(run.result if why else _unexplained(run.result))
    if out is not None:
        run.report(out, window)
        _tell(f"run folder: {out}  (report: {out / 'report.html'})")


def _unexplained(result: RunResult) -> RunResult:
    return dataclasses.replace(result, critical_path_cycles={}, what_if=())


def check_window(window: str, out: Path | None) -> None:
    """Find what is wrong with the window before the model is traced."""
    from weft.reports.window import parse_window

    parse_window(window)
    if out is None:
        raise ValueError("--window is of the run folder's timeline; it needs --out DIR")


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
        topology,
        settings,
        images=images,
        training=training,
        provenance=_provenance(settings),
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
    return simulate_workload(workload, settings, provenance=_provenance(settings))


def _provenance(settings: Settings) -> dict[str, str]:
    return provenance(settings.hardware, this_command())


def _trace(
    model: str, batch: int | None, input_shape: tuple[int, ...] | None, optimizer: str
) -> Workload:
    subject = find_subject(model, batch, input_shape)
    return trace_workload(subject.build, optimizer=optimizer, name=subject.name)


def run_compare(
    grid: Grid,
    batch: int | None,
    input_shape: tuple[int, ...] | None,
    base: Settings,
    out: Path | None,
    json_target: str | None,
    *,
    workers: int = 0,
    trained: Path | None = None,
) -> None:
    """``weft compare``; ``trained`` holds training runs whose accuracy is shown beside."""
    from weft.grid import run_grid

    if out is not None:
        check_folder(out)
    for settings in grid.settings(base):
        check_settings(settings)
    accuracy = _accuracy(trained)
    jobs = grid.jobs(base, batch, input_shape, out)
    try:
        results = run_grid(jobs, workers)
    except KeyboardInterrupt:
        if out is not None:
            _tell(f"runs that are done stay below {out}; weft report {out}/*/ merges them")
        raise
    if json_target is not None:
        write_json([result.to_json() for result in results], json_target)
    if json_target != "-":
        _show_comparison(results, accuracy)
    if out is not None:
        _write_report(results, "html", out / "report.html", accuracy)


def _accuracy(trained: Path | None) -> list[Accuracy]:
    if trained is None:
        return []
    from weft.reports.accuracy import read_accuracy

    return read_accuracy(trained)


def _write_report(
    results: list[RunResult],
    format_: str,
    target: Path,
    accuracy: list[Accuracy],
    entries: Sequence[Entry] = (),
) -> None:
    from weft.reports.compare import export

    export(results, format_, target, accuracy, entries)
    _tell(f"report: {target}")


def run_ablate(
    models: tuple[str, ...],
    batch: int | None,
    input_shape: tuple[int, ...] | None,
    settings: Settings,
    json_target: str | None,
) -> None:
    """``weft ablate``: cycles with all features, without each, and without any."""
    from weft.mapper.scheduling.switches import feature_names

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


def run_report(
    folders: list[Path],
    format_: str,
    out: Path | None,
    trained: Path | None = None,
    window: str = "",
) -> None:
    """``weft report``: one run's into its folder, several runs' beside their folders.

    ``window`` is the part of one run's trace that its page draws.
    """
    from weft.reports.comparison import in_order
    from weft.reports.folder import read_run

    if window and (len(folders) > 1 or format_ != "html"):
        raise ValueError("--window is for the html report of one run")
    runs = in_order([read_run(folder) for folder in folders])
    target = out or _report_place(folders) / f"report.{format_}"
    entries = _timeline(folders[0], window) if len(folders) == 1 and format_ == "html" else []
    _write_report(runs, format_, target, _accuracy(trained), entries)


def _report_place(folders: list[Path]) -> Path:
    """A run's own folder; of several runs the one that all lie in, else the current one."""
    if len(folders) == 1:
        return folders[0]
    parents = {folder.absolute().parent for folder in folders}
    return folders[0].parent if len(parents) == 1 else Path()


def _timeline(folder: Path, window: str) -> list[Entry]:
    from weft.reports.folder import read_timeline
    from weft.reports.window import parse_window
    from weft.reports.writing import ReportError

    if window:
        return read_timeline(folder, parse_window(window))
    try:
        return read_timeline(folder)
    except ReportError as error:
        _tell(f"weft: no timeline in the report: {error}")
        return []


def _show(result: RunResult) -> None:
    from weft.reports.terminal import summary_table

    out = console()
    for part in summary_table(result):
        out.print(part)


def _show_comparison(results: list[RunResult], accuracy: list[Accuracy]) -> None:
    from weft.reports.terminal import compare_table

    out = console()
    for part in compare_table(results, accuracy):
        out.print(part)


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
