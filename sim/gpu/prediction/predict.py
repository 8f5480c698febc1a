"""Predicting tables of products: time and board power for every row, in one vectorised call."""

from __future__ import annotations

import contextlib
import csv
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weft.sim.gpu.prediction.constants import ConstantSet, load_constants
from weft.sim.gpu.prediction.kernel import Array, KernelKind, Products, kernel_times, output_bytes
from weft.sim.gpu.prediction.machine import GpuMachine, load_gpu
from weft.sim.gpu.prediction.power import activity, board_power, load_power
from weft.sim.gpu.prediction.rows import read_rows
from weft.sim.pattern import Pattern

__all__ = [
    "DTYPE_NAMES",
    "ELEMENT_BYTES",
    "Prediction",
    "ProductTable",
    "kernel_kind",
    "predict",
    "predict_file",
    "read_table",
    "sparse_ratio",
    "table_of",
]

ELEMENT_BYTES = {"fp16": 2.0, "bf16": 2.0, "tf32": 4.0, "fp32": 4.0, "fp32-ieee": 4.0, "fp8": 1.0,
                 "int8": 1.0}  # fmt: skip
"""Bytes of one input element, by dtype."""

DTYPE_NAMES = {"float16": "fp16", "half": "fp16", "bfloat16": "bf16", "float32": "fp32",
                "float8": "fp8"}  # fmt: skip
"""Other names of dtypes."""

HARDWARE_PATTERN = Pattern(2, 4)
"""The one pattern that sparse tensor cores accelerate."""


@dataclass(frozen=True)
class ProductTable:
    """Products Y[M,N] = X[M,K] W[K,N]: arrays of equal length.

    ``dtype`` is a key of ``ELEMENT_BYTES``; ``sparsity`` is "dense" or N:M of W along K.

    Raises:
        ValueError: lengths differ, a size is not a positive whole number, a dtype or a pattern is
            unknown; the message names row, field, value and what is allowed.
    """

    m: Array
    n: Array
    k: Array
    batch: Array
    dtype: NDArray[np.str_]
    sparsity: NDArray[np.str_]

    def __post_init__(self) -> None:
        rows = len(self.m)
        for name in ("m", "n", "k", "batch"):
            values: Array = getattr(self, name)
            if len(values) != rows:
                raise ValueError(f"{name} has {len(values)} rows, m has {rows}")
            bad = np.flatnonzero(
                ~((values >= 1) & (values <= 2**40) & (values == np.floor(values)))
            )
            if len(bad):
                raise ValueError(
                    f"row {bad[0] + 1}: {name} is {values[bad[0]]:g}; it must be a whole number, "
                    "1 to 2^40"
                )
        for name, column in (("dtype", self.dtype), ("sparsity", self.sparsity)):
            if len(column) != rows:
                raise ValueError(f"{name} has {len(column)} rows, m has {rows}")
        for dtype in np.unique(self.dtype):
            if dtype not in ELEMENT_BYTES:
                row = int(np.flatnonzero(self.dtype == dtype)[0]) + 1
                allowed = ", ".join(ELEMENT_BYTES)
                raise ValueError(f"row {row}: dtype is {str(dtype)!r}; it must be one of {allowed}")
        for pattern in np.unique(self.sparsity):
            Pattern.parse(str(pattern))

    @classmethod
    def of(
        cls,
        m: Sequence[float] | Array,
        n: Sequence[float] | Array,
        k: Sequence[float] | Array,
        batch: Sequence[float] | Array | float = 1,
        dtype: Sequence[str] | NDArray[np.str_] | str = "bf16",
        sparsity: Sequence[str] | NDArray[np.str_] | str = "dense",
    ) -> ProductTable:
        """A table from sequences; a single batch, dtype or sparsity holds for all rows."""
        rows = len(m)
        rows_of, columns_of, depth = (np.asarray(c, dtype=np.float64) for c in (m, n, k))
        batches = np.asarray(batch, dtype=np.float64)
        whole = np.full(rows, float(batches)) if batches.ndim == 0 else batches

        def texts(value: Sequence[str] | NDArray[np.str_] | str) -> NDArray[np.str_]:
            return np.full(rows, value) if isinstance(value, str) else np.asarray(value, np.str_)

        return cls(rows_of, columns_of, depth, whole, texts(dtype), texts(sparsity))

    def __len__(self) -> int:
        return len(self.m)


@dataclass(frozen=True)
class Prediction:
    """One entry per product. ``watts`` is the mean draw of the board.

    ``memory_bytes`` leave or enter the L2 cache; ``tensor_us`` is the time the tensor cores need.
    ``notes`` say what was assumed: inherited constants, patterns run dense.
    """

    time_us: Array
    watts: Array
    memory_bytes: Array
    tensor_us: Array
    tile_m: Array
    tile_n: Array
    split: Array
    notes: tuple[str, ...] = field(default=())


def sparse_ratio(dtype: str) -> float:
    """Stored over dense bytes of a 2:4 operand: half the values and two index bits for each."""
    value = ELEMENT_BYTES[dtype]
    return (value / 2 + 0.125) / value


def kernel_kind(
    gpu: GpuMachine, dtype: str, *, sparse: bool, weight_copies: float = 6.0
) -> KernelKind:
    """What the kernel model needs to know of a data type."""
    rate = gpu.rate_flop_clk_sm(dtype) * (gpu.sparse_ratio if sparse else 1)
    ratio = sparse_ratio(dtype) if sparse else 1.0
    return KernelKind(rate, ELEMENT_BYTES[dtype], output_bytes(dtype), ratio, weight_copies)


def _accelerated(table: ProductTable, gpu: GpuMachine) -> tuple[NDArray[np.bool_], list[str]]:
    """Rows that run on sparse tensor cores, and notes on those that ask but cannot."""
    notes: list[str] = []
    sparse = np.zeros(len(table), dtype=np.bool_)
    for text in np.unique(table.sparsity):
        pattern = Pattern.parse(str(text))
        if pattern.is_dense:
            continue
        if pattern == HARDWARE_PATTERN and gpu.sparse_ratio > 1:
            sparse |= table.sparsity == text
        else:
            why = "no sparse tensor cores" if gpu.sparse_ratio == 1 else "tensor cores for 2:4 only"
            notes.append(f"{pattern} runs dense: {gpu.name} has {why}")
    return sparse, notes


def _library_note(values: ConstantSet) -> str:
    if not values.inherited_from:
        return f"{values.library} constants of {values.gpu}"
    return (
        f"{values.library} constants of {values.gpu} are inherited from {values.inherited_from}: "
        "no measurements of its own"
    )


def predict(
    table: ProductTable,
    gpu: str | GpuMachine,
    *,
    dense_library: str = "cublas",
    constants: Mapping[str, ConstantSet] | None = None,
    weight_copies: float | None = None,
    sustained: bool = False,
) -> Prediction:
    """Time and board power of every product of ``table`` on ``gpu``.

    ``dense_library`` is "cublas" (as PyTorch calls it, back to back in a CUDA graph) or
    "cublaslt" (best algorithm, measured the same way as the 2:4 sets; to be preferred for
    speed-ups). ``constants`` replaces shipped sets, by library. ``weight_copies`` weights take
    turns (infinite: always cold), by default as when the set was measured. ``sustained`` slows
    kernels whose power would pass the board's limit; otherwise times are those of bursts.

    Raises:
        ValueError: unknown GPU, a dtype that the GPU lacks.
    """
    machine = load_gpu(gpu) if isinstance(gpu, str) else gpu
    chosen = dict(constants or {})
    sparse, notes = _accelerated(table, machine)
    parts = {
        name: np.zeros(len(table))
        for name in ("time_us", "memory_bytes", "tensor_us", "blocks", "tile_m", "tile_n", "split")
    }
    peak = np.ones(len(table))
    for dtype in np.unique(table.dtype):
        for is_sparse in (False, True):
            rows = np.flatnonzero((table.dtype == dtype) & (sparse == is_sparse))
            if not len(rows):
                continue
            library = "cusparselt" if is_sparse else dense_library
            if library not in chosen:
                chosen[library] = load_constants(machine, library)
            values = chosen[library]
            kind = kernel_kind(
                machine,
                str(dtype),
                sparse=is_sparse,
                weight_copies=values.weight_copies if weight_copies is None else weight_copies,
            )
            products = Products(table.m[rows], table.n[rows], table.k[rows], table.batch[rows])
            times = kernel_times(products, kind, machine, values.constants)
            for name, array in parts.items():
                array[rows] = getattr(times, name)
            peak[rows] = kind.rate_flop_clk_sm * machine.sms * machine.clock_hz
    notes.extend(_library_note(values) for values in chosen.values())
    flop = 2.0 * table.m * table.n * table.k * table.batch
    blocks = parts.pop("blocks")
    use = activity(parts["time_us"], flop, parts["memory_bytes"], blocks, peak, machine)
    power = board_power(parts["time_us"], use, machine, load_power(machine))
    if sustained:
        parts["time_us"] = power.sustained_us
    return Prediction(**parts, watts=power.watts, notes=tuple(notes))


_WHOLE = re.compile(r"[0-9]{1,20}(\.0*)?")
"""A size: digits, perhaps with a point behind them as spreadsheets write it."""


def _cells(rows: list[dict[str, str]], name: str, default: str | None) -> list[str]:
    return [(row.get(name) or default or "").strip() for row in rows]


def _numbers(cells: list[str], name: str, source: Path) -> Array:
    values = np.zeros(len(cells))
    for row, cell in enumerate(cells):
        if not _WHOLE.fullmatch(cell):
            raise ValueError(
                f"{source} line {row + 2}: {name} is {cell!r}; it must be a whole number, 1 to 2^40"
            )
        values[row] = float(cell)
    return values


def read_table(source: Path) -> tuple[ProductTable, list[dict[str, str]]]:
    """Products of a CSV file with columns m, n, k[, batch, dtype, sparsity], and its rows.

    Raises:
        ValueError: a column is missing or a cell is wrong; the message names line and field.
    """
    rows = read_rows(source)
    return table_of(rows, source), rows


def table_of(rows: list[dict[str, str]], source: Path) -> ProductTable:
    """Products of rows that were read from ``source``."""
    header = list(rows[0]) if rows else []
    missing = [name for name in ("m", "n", "k") if name not in header]
    if missing:
        raise ValueError(f"{source} lacks column {missing[0]!r} or has no rows; "
                         "needed: m,n,k[,batch,dtype,sparsity]")  # fmt: skip
    m, n, k = (_numbers(_cells(rows, name, None), name, source) for name in ("m", "n", "k"))
    batch = _numbers(_cells(rows, "batch", "1"), "batch", source)
    dtype = [DTYPE_NAMES.get(cell, cell) for cell in _cells(rows, "dtype", "bf16")]
    try:
        return ProductTable.of(m, n, k, batch, dtype, _cells(rows, "sparsity", "dense"))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def predict_file(
    source: Path,
    gpu: str | GpuMachine,
    out: Path | None = None,
    *,
    constants: Mapping[str, ConstantSet] | None = None,
) -> Prediction:
    """Write the products of a CSV file with columns ``time_us`` and ``watts`` added.

    Without ``out`` the table goes to standard output; notes on what was assumed to standard error.
    A file that holds 2:4 rows compares: its dense rows then come from the set that was measured
    the same way ("cublaslt").
    """
    table, rows = read_table(source)
    compares = bool(np.any(table.sparsity == str(HARDWARE_PATTERN))) and not constants
    library = "cublaslt" if compares else "cublas"
    result = predict(table, gpu, dense_library=library, constants=constants)
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    header = [*(name for name in rows[0] if name not in ("time_us", "watts")), "time_us", "watts"]
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(out.open("w", newline="")) if out else sys.stdout
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        kept = header[:-2]
        for row, time_us, watts in zip(rows, result.time_us, result.watts, strict=True):
            writer.writerow([*(row[name] for name in kept), f"{time_us:.4f}", f"{watts:.1f}"])
    return result
