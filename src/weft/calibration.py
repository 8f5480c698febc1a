"""``weft calibrate``: a user's own constants for the GPU model."""

from __future__ import annotations

import sys
from pathlib import Path

from weft.output import check_folder

__all__ = ["run_calibrate"]


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
    print(f"constants: {out}  (use them with --constants {out})", file=sys.stderr)
