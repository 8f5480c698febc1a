"""Fitting a user's own constants from a table of measurements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from weft.sim.gpu.fitting.fit import ALL, STARTS, FitSettings, fit_constants, mape, predict_measured
from weft.sim.gpu.fitting.measured import Measured
from weft.sim.gpu.prediction.constants import (
    ConstantSet,
    KernelConstants,
    load_constants,
    write_constants,
)
from weft.sim.gpu.prediction.kernel import Array
from weft.sim.gpu.prediction.machine import GpuMachine, load_gpu
from weft.sim.gpu.prediction.predict import kernel_kind, table_of
from weft.sim.gpu.prediction.rows import read_rows

__all__ = ["calibrate"]

FEW_ROWS = 1000
"""Below this many rows constants are pulled to where they start: small tables miss some."""

FLOAT_TYPES = ("bf16", "fp16")


def _times(source: Path, rows: list[dict[str, str]]) -> Array:
    times = np.zeros(len(rows))
    for line, row in enumerate(rows):
        cell = (row.get("time_us") or "").strip()
        try:
            times[line] = float(cell)
        except ValueError:
            times[line] = np.nan
        if not times[line] > 0:
            raise ValueError(
                f"{source} line {line + 2}: time_us is {cell!r}; it must be a positive number"
            )
    return times


def _starts(gpu: GpuMachine, library: str) -> tuple[KernelConstants, ...]:
    try:
        return (*STARTS, load_constants(gpu, library).constants)
    except ValueError:
        return STARTS


def _fit(measured: Measured, gpu: GpuMachine, library: str) -> ConstantSet:
    kind = kernel_kind(gpu, "fp16", sparse=library == "cusparselt")
    few = len(measured) < FEW_ROWS
    settings = FitSettings(pull=0.02 if few else 0.0)
    constants = fit_constants(measured, gpu, kind, _starts(gpu, library), ALL, settings)
    error = mape(predict_measured(measured, gpu, constants, kind), measured.time_us)
    provenance: dict[str, str | int | float] = {
        "table": measured.table,
        "rows": len(measured),
        "origin": "the user's own measurements",
        "target": "time_us",
        "weight_copies": measured.weight_copies,
        "training_mape_percent": round(error, 2),
    }
    return ConstantSet(gpu.name, library, constants, provenance)


def calibrate(
    source: Path, gpu: str | GpuMachine, *, out: Path | None = None, weight_copies: float = 6.0
) -> tuple[ConstantSet, ...]:
    """Constants from a CSV of measured products: m, n, k, time_us[, batch, dtype, sparsity, what].

    16-bit rows count (fp16 and bf16 run alike); dense and 2:4 rows make a set each, written to
    ``out``; rows whose ``what`` is not "product" are left out. ``weight_copies`` weights took
    turns in the measurement.

    Raises:
        ValueError: a cell is wrong, or a side has fewer rows than there are constants.
    """
    machine = load_gpu(gpu) if isinstance(gpu, str) else gpu
    rows = [row for row in read_rows(source) if row.get("what", "product") == "product"]
    table = table_of(rows, source)
    times = _times(source, rows)
    half = np.isin(table.dtype, FLOAT_TYPES) & (table.batch == 1)
    sets: list[ConstantSet] = []
    for library, pattern in (("cublas", "dense"), ("cusparselt", "2:4")):
        at = np.flatnonzero(half & (table.sparsity == pattern))
        if not len(at):
            continue
        measured = Measured(source.name, table.m[at], table.n[at], table.k[at], times[at])
        sets.append(_fit(replace(measured, weight_copies=weight_copies), machine, library))
    if not sets:
        raise ValueError(f"{source}: no dense or 2:4 row of dtype fp16 or bf16 with batch 1")
    if out is not None:
        write_constants(sets, out)
    return tuple(sets)
