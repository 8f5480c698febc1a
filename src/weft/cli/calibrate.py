"""``weft calibrate``: a user's own constants for the GPU model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weft.cli.options import subcommand
from weft.cli.output import check_folder, tell

__all__ = ["app", "run_calibrate"]

app = subcommand()


@app.command()
def calibrate(
    measurements: Annotated[
        Path, typer.Argument(help="CSV with m,n,k,time_us[,batch,dtype,sparsity,what].")
    ],
    hardware: Annotated[str, typer.Option(help="The GPU that was measured.")],
    out: Annotated[Path, typer.Option(help="Constants to write.", metavar="FILE")] = Path(
        "constants.json"
    ),
    copies: Annotated[
        int, typer.Option(min=1, help="Weights that took turns in the measurement.")
    ] = 6,
) -> None:
    """Fit the GPU model's constants to your own measurements; use them with --constants."""
    run_calibrate(measurements, hardware, out, copies)


def run_calibrate(measurements: Path, hardware: str, out: Path, copies: int) -> None:
    """Fit, write ``out``, and tell each set's rows and its error on them.

    Raises:
        ValueError: an unknown GPU, a wrong cell (its line is named), too few rows, or a place that
            cannot be written.
    """
    from weft.sim.gpu.fitting.calibrate import calibrate
    from weft.sim.gpu.prediction.machine import load_gpu

    check_folder(out.parent)
    gpu = load_gpu(hardware)
    for found in calibrate(measurements, gpu, out=out, weight_copies=copies):
        told = found.provenance
        print(
            f"{found.library}: {told['rows']} rows, mean error {told['training_mape_percent']} % "
            "on the rows themselves"
        )
    tell(f"constants: {out}  (use them with --constants {out})")
