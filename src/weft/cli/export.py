"""``weft export``: a model's step in the formats of other simulators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weft.cli.options import Batch, Input, Optimizer, shape, subcommand
from weft.cli.output import tell, write_text
from weft.mapper.topology.writing import topology_text
from weft.sim.gpu.parallel.chakra import step_nodes, write_traces
from weft.sim.gpu.parallel.layout import Layout
from weft.sim.gpu.prediction.machine import load_gpu
from weft.simulation import trace_workload
from weft.subject import find_subject

__all__ = ["FORMATS", "app"]

FORMATS = ("chakra", "scalesim")

Format = Annotated[
    str, typer.Option(help="chakra: a trace per GPU; scalesim: a table of products.")
]

app = subcommand()


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="As for simulate.")],
    format: Format = "chakra",  # noqa: A002 - the name of the option
    hardware: Annotated[str, typer.Option(help="A GPU of `weft hardware`.")] = "h100-sxm",
    gpus: Annotated[int, typer.Option(help="GPUs; --batch is that of a data rank.")] = 1,
    tensor: Annotated[int, typer.Option(help="GPUs that share every layer.")] = 1,
    context: Annotated[int, typer.Option(help="GPUs that share a sequence.")] = 1,
    strategy: Annotated[str, typer.Option(help="Of data ranks, as for simulate.")] = "replicated",
    micro_batch: Annotated[int, typer.Option(help="Samples at a time; 0: all.")] = 0,
    checkpoint: Annotated[str, typer.Option(help="As for simulate.")] = "none",
    batch: Batch = None,
    input: Input = None,  # noqa: A002 - the name of the option
    optimizer: Optimizer = "sgd-momentum",
    training: Annotated[
        bool, typer.Option("--training", help="scalesim: products of the backward pass too.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Traces are OUT.0.et, OUT.1.et, …; a table is OUT, or stdout.", metavar="FILE"
        ),
    ] = None,
) -> None:
    """Write a training step in another simulator's format."""
    if format not in FORMATS:
        raise ValueError(f"format is {format!r}; it must be one of {', '.join(FORMATS)}")
    if format == "scalesim":
        subject = find_subject(model, batch, shape(input))
        workload = trace_workload(subject.build, optimizer=optimizer, name=subject.name)
        text = topology_text(workload, training=training)
        write_text(text, "-" if out is None else str(out))
        return
    if training:
        raise ValueError("--training is for scalesim; a chakra trace is always of a whole step")
    gpu = load_gpu(hardware)
    layout = Layout(gpus, tensor, 1, context, 1, strategy, micro_batch, checkpoint=checkpoint)
    target = out or Path(Path(model).name.replace(":", "-"))
    if target.parent != Path() and not target.parent.is_dir():
        raise ValueError(f"--out {target}: {target.parent} is no folder")
    subject = find_subject(model, batch, shape(input))
    workload = trace_workload(subject.build, optimizer=optimizer, name=subject.name)
    nodes = step_nodes(workload, gpu, layout)
    paths = write_traces(nodes, gpus, target)
    tell(f"{len(paths)} traces of {len(nodes)} nodes: {paths[0]} to {paths[-1]}")
