"""Fitting the shipped constants: ``python -m weft.sim.gpu.fitting.refit --data DIR [--out DIR]``.

Writes one JSON per GPU and library, and one per GPU with measured power, into the package.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np

from weft.sim.gpu.fitting.fit import ALL, STARTS, FitSettings, fit_constants, mape, predict_measured
from weft.sim.gpu.fitting.measured import (
    LINEAR_TABLES,
    PAIR_GPUS,
    Measured,
    load_deepbench_gemm,
    load_linear,
    load_pairs,
)
from weft.sim.gpu.fitting.power import fit_power, write_power
from weft.sim.gpu.prediction.constants import (
    SIBLINGS,
    ConstantSet,
    KernelConstants,
    constant_sets,
    write_constants,
)
from weft.sim.gpu.prediction.kernel import KernelKind, kernel_times
from weft.sim.gpu.prediction.machine import GpuMachine, load_gpu
from weft.sim.gpu.prediction.power import PowerSet, activity
from weft.sim.gpu.prediction.predict import kernel_kind

__all__ = ["LINEAR_ORIGIN", "PAIR_ORIGIN", "fit_linear", "fit_pairs_side", "main"]

LINEAR_ORIGIN = "ai-dynamo/aiconfigurator @ 095f58a51c4c, Apache-2.0"
PAIR_ORIGIN = "bcacdwk/vllmbench @ 92a8ca495b1c, Apache-2.0"
DEEPBENCH_ORIGIN = "baidu-research/DeepBench @ da81ba782073, Apache-2.0"
PAIR_SETTINGS = FitSettings(pull=0.02, polish=800)
"""The paired tables are short and see few small shapes: constants unseen there stay near home."""


LINEAR_SETTINGS = {"l40s": FitSettings(training_share=0.93)}
"""Training shapes are what steps are made of, but a third of the table; fitted as rows come, the
L40S's give way to its many small ones."""


def _lighter(settings: FitSettings, effort: float) -> FitSettings:
    """A search of ``effort`` times the rows and the polishing."""
    return replace(settings, rows=max(200, round(effort * settings.rows)),
                   polish=round(effort * settings.polish))  # fmt: skip


def fit_linear(measured: Measured, gpu: GpuMachine, *, effort: float = 1.0) -> KernelConstants:
    """Dense constants from a table of bf16 linear layers."""
    settings = _lighter(LINEAR_SETTINGS.get(gpu.name, FitSettings()), effort)
    kind = kernel_kind(gpu, "bf16", sparse=False)
    return fit_constants(measured, gpu, kind, settings=settings)


def fit_pairs_side(
    measured: Measured, gpu: GpuMachine, *, sparse: bool, effort: float = 1.0
) -> KernelConstants:
    """Constants of one side, dense or 2:4, of a paired table.

    Starts from the general points and from the linear-layer constants of this GPU or a sibling.
    """
    kind = kernel_kind(gpu, "bf16", sparse=sparse)
    own = constant_sets().get((gpu.name, "cublas"))
    sibling = constant_sets().get((SIBLINGS.get(gpu.name, ""), "cublas"))
    near = [found.constants for found in (own, sibling) if found is not None]
    return fit_constants(measured, gpu, kind, (*STARTS, *near), ALL,
                         _lighter(PAIR_SETTINGS, effort))  # fmt: skip


def _set(
    name: str,
    library: str,
    measured: Measured,
    constants: KernelConstants,
    kind: KernelKind,
    origin: str,
) -> ConstantSet:
    error = mape(predict_measured(measured, load_gpu(name), constants, kind), measured.time_us)
    provenance: dict[str, str | int | float] = {
        "table": measured.table,
        "rows": len(measured),
        "origin": origin,
        "target": "median over independent burst runs"
        if measured.runs.size and library == "cublas"
        else "best or only algorithm, median over repeats of a shape",
        "weight_copies": measured.weight_copies,
        "training_mape_percent": round(error, 2),
    }
    return ConstantSet(name, library, constants, provenance)


def _linear(name: str, folder: Path, out: Path) -> None:
    gpu, measured = load_gpu(name), load_linear(folder, name)
    kind = kernel_kind(gpu, "bf16", sparse=False)
    constants = fit_linear(measured, gpu)
    fitted = _set(name, "cublas", measured, constants, kind, LINEAR_ORIGIN)
    write_constants(fitted, out / "fitted_constants" / f"{name}.cublas.json")
    powered = measured.where(np.isfinite(measured.watts) & np.isfinite(measured.sustained_us))
    if len(powered):
        _power(name, powered, constants, kind, out)


def _power(
    name: str, measured: Measured, constants: KernelConstants, kind: KernelKind, out: Path
) -> None:
    gpu = load_gpu(name)
    times = kernel_times(measured.products, kind, gpu, constants)
    flop = 2.0 * measured.m * measured.n * measured.k
    use = activity(
        times.time_us, flop, times.memory_bytes, times.blocks, gpu.peak_flop_s("bf16"), gpu
    )
    provenance: dict[str, str | int | float] = {
        "table": f"{measured.table}, columns us_vllm_0.22.0 and W_vllm_0.22.0",
        "rows": len(measured),
        "origin": LINEAR_ORIGIN,
    }
    power = PowerSet(name, fit_power(measured, use, gpu), provenance)
    write_power(power, out / "power_constants" / f"{name}.json")


def _pairs(name: str, folder: Path, out: Path) -> None:
    gpu, pairs = load_gpu(name), load_pairs(folder, name)
    sides = (("cublaslt", pairs.dense, False), ("cusparselt", pairs.sparse, True))
    for library, measured, sparse in sides:
        constants = fit_pairs_side(measured, gpu, sparse=sparse)
        kind = kernel_kind(gpu, "bf16", sparse=sparse)
        fitted = _set(name, library, measured, constants, kind, PAIR_ORIGIN)
        write_constants(fitted, out / "fitted_constants" / f"{name}.{library}.json")


def _deepbench(folder: Path, out: Path) -> None:
    gpu, measured = load_gpu("v100-sxm"), load_deepbench_gemm(folder)
    kind = kernel_kind(gpu, "fp16", sparse=False)
    sibling = constant_sets()["a100-sxm", "cublas"].constants
    constants = fit_constants(measured, gpu, kind, (*STARTS, sibling), ALL, PAIR_SETTINGS)
    fitted = _set("v100-sxm", "cublas", measured, constants, kind, DEEPBENCH_ORIGIN)
    write_constants(fitted, out / "fitted_constants" / "v100-sxm.cublas.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit every table in the folder and write the constants."""
    parser = argparse.ArgumentParser(prog="weft.sim.gpu.fitting.refit", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the measured tables")
    parser.add_argument(
        "--out", type=Path, default=Path(str(resources.files("weft.sim.gpu.prediction")))
    )
    parser.add_argument("--gpu", action="append", help="only this GPU (may be repeated)")
    options = parser.parse_args(arguments)
    wanted = options.gpu or sorted({*LINEAR_TABLES, *PAIR_GPUS, "v100-sxm"})
    for name in wanted:
        if name in LINEAR_TABLES:
            print(f"fitting linear layers of {name}", file=sys.stderr)
            _linear(name, options.data, options.out)
    constant_sets.cache_clear()
    if "v100-sxm" in wanted:
        _deepbench(options.data, options.out)
    for name in wanted:
        if name in PAIR_GPUS:
            print(f"fitting dense and 2:4 products of {name}", file=sys.stderr)
            _pairs(name, options.data, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
