"""``weft simulate``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from weft.cli.options import (
    MEMORY_HELP,
    Batch,
    Constants,
    Fusion,
    Hardware,
    Input,
    Json,
    Optimizer,
    Out,
    PatternOption,
    Recipe,
    SelectedShare,
    Skip,
    Steps,
    Without,
    given,
    names,
    shape,
    subcommand,
)
from weft.cli.output import check_file, check_folder, console, tell, write_json
from weft.mapper.sparsity.patterns import pattern_setting
from weft.mapper.topology.table import is_topology, read_topology
from weft.provenance import provenance, this_command
from weft.reports.terminal import summary_table
from weft.reports.window import parse_window
from weft.sim.results import RunResult
from weft.simulation import (
    Run,
    Settings,
    resolve,
    simulate_topology,
    simulate_workload,
)
from weft.subject import find_subject
from weft.zeros import recipe_of

__all__ = ["app"]

app = subcommand()


@app.command()
def simulate(
    model: Annotated[
        str, typer.Argument(help="Zoo name, package.module:callable, file.py:… or topology.csv.")
    ],
    recipe: Recipe = "dense",
    pattern: PatternOption = "",
    hardware: Hardware = "sat-vcu1525",
    batch: Batch = None,
    input: Input = None,  # noqa: A002 - the name of the option
    steps: Steps = 1,
    optimizer: Optimizer = "sgd-momentum",
    selected_share: SelectedShare = 0.5,
    without: Without = None,
    skip: Skip = "",
    dense_stem: Annotated[bool, typer.Option(help="Keep the first layer dense.")] = True,
    dense_classifier: Annotated[bool, typer.Option(help="Keep the last layer dense.")] = True,
    fusion: Fusion = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="Of products on a GPU: auto, fp16, bf16, fp32, tf32, fp8 or int8."),
    ] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs; --batch is that of a data rank.")] = None,
    strategy: Annotated[
        str | None,
        typer.Option(help="Of data ranks: replicated, zero1, zero2, zero3, fsdp2 or hsdp."),
    ] = None,
    tensor: Annotated[int | None, typer.Option(help="GPUs that share every layer.")] = None,
    pipeline: Annotated[int | None, typer.Option(help="GPUs that layers are dealt to.")] = None,
    context: Annotated[int | None, typer.Option(help="GPUs that share a sequence.")] = None,
    expert: Annotated[int | None, typer.Option(help="GPUs that experts are dealt to.")] = None,
    micro_batch: Annotated[int | None, typer.Option(help="Samples that run at a time.")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="Of a pipeline: 1f1b, gpipe, interleaved or zero-bubble.")
    ] = None,
    virtual: Annotated[int | None, typer.Option(help="Chunks per interleaved rank.")] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="Activations made again: none, selective, selective-op or full."),
    ] = None,
    attention: Annotated[
        str | None,
        typer.Option(
            help="Kernel on a GPU: auto, math, flash1, triton1, sdpa, flash2, flash3 or cudnn."
        ),
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Links between GPUs.", metavar="FILE.toml")
    ] = None,
    tune: Annotated[
        bool | None, typer.Option("--tune", help="Find the fastest layout that fits.")
    ] = None,
    constants: Constants = None,
    memory: Annotated[str | None, typer.Option(help=MEMORY_HELP)] = None,
    why: Annotated[
        bool | None,
        typer.Option("--why/--no-why", help="Critical path, what-if table; with --out by default."),
    ] = None,
    out: Out = None,
    json: Json = None,
    training: Annotated[
        bool, typer.Option("--training", help="Of a topology: backward pass and update too.")
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The model's pruned weights: .safetensors, state dict."),
    ] = None,
    window: Annotated[
        str,
        typer.Option(
            metavar="layer=NAME|cycles=A:B|samples", help="Part of the run that the trace shows."
        ),
    ] = "",
) -> None:
    """Simulate training a model, and say what it costs and why."""
    settings = Settings(
        recipe=recipe,
        pattern=pattern_setting(pattern),
        steps=steps,
        optimizer=optimizer,
        skip=names(skip),
        dense_stem=dense_stem,
        dense_classifier=dense_classifier,
        selected_share=selected_share,
    ).on(
        hardware,
        **given(
            without=without,
            memory=memory,
            fusion=fusion,
            dtype=dtype,
            gpus=gpus,
            strategy=strategy,
            constants=constants,
            tensor=tensor,
            pipeline=pipeline,
            context=context,
            expert=expert,
            micro_batch=micro_batch,
            schedule=schedule,
            virtual=virtual,
            checkpoint=checkpoint,
            attention=attention,
            cluster=cluster,
            tune=tune,
        ),
    )
    if weights is not None:
        chosen = recipe_of(weights, settings.recipe, settings.pattern)
        settings = dataclasses.replace(settings, recipe=chosen)
    check_file(json)
    if out is not None:
        check_folder(out)
    if window:
        check_window(window, out)
    sample = shape(input)
    if is_topology(model):
        if weights is not None:
            raise ValueError("--weights is for models; a topology has its patterns in a column")
        run = _of_topology(Path(model), batch, sample, settings, training=training)
    elif training:
        raise ValueError("--training is for topology files; models are always trained")
    else:
        run = _of_model(model, batch, sample, settings, weights)
    if why or (why is None and out is not None):
        run = run.explained()
    if json is not None:
        write_json(run.result.to_json(), json)
    if json != "-":
        _show(run.result if why else _unexplained(run.result))
    if out is not None:
        run.report(out, window)
        tell(f"run folder: {out}  (report: {out / 'report.html'})")


def check_window(window: str, out: Path | None) -> None:
    """Find what is wrong with the window before the model is traced."""
    parse_window(window)
    if out is None:
        raise ValueError("--window is of the run folder's timeline; it needs --out DIR")


def _of_topology(
    path: Path,
    batch: int | None,
    sample: tuple[int, ...] | None,
    settings: Settings,
    *,
    training: bool,
) -> Run:
    known = provenance(resolve(settings), this_command())
    if sample is not None:
        raise ValueError("--input is for zoo models; a topology holds its own sizes")
    images = 1 if batch is None else batch
    return simulate_topology(
        read_topology(path), settings, images=images, training=training, provenance=known
    )


def _of_model(
    model: str,
    batch: int | None,
    sample: tuple[int, ...] | None,
    settings: Settings,
    weights: Path | None,
) -> Run:
    known = provenance(resolve(settings), this_command())
    subject = find_subject(model, batch, sample)
    if settings.recipe == "from-weights":
        return subject.simulate_real(settings, known, weights)
    return simulate_workload(
        subject.workload(settings.optimizer, settings.selected_share), settings, provenance=known
    )


def _unexplained(result: RunResult) -> RunResult:
    return dataclasses.replace(result, critical_path_cycles={}, what_if=())


def _show(result: RunResult) -> None:
    out = console()
    for part in summary_table(result):
        out.print(part)
