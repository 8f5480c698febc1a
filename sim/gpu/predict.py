"""Predicting tables of products: time and board power for every row, in one vectorised call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from weft.sim.gpu.constants import ConstantSet, load_constants
from weft.sim.gpu.kernel import Array, KernelKind, kernel_times, output_bytes
from weft.sim.gpu.machine import GpuMachine, load_gpu
from weft.sim.gpu.power import activity, board_power, load_power
from weft.sim.pattern import Pattern

__all__ = ["ELEMENT_BYTES", "Prediction", "ProductTable", "kernel_kind", "predict", "sparse_ratio"]

ELEMENT_BYTES = {"fp16": 2.0, "bf16": 2.0, "tf32": 4.0, "fp32": 4.0, "fp32-ieee": 4.0, "fp8": 1.0,
                 "int8": 1.0}  # fmt: skip
"""Bytes of one input element, by dtype."""

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
    weight_copies: float = 6.0,
    sustained: bool = False,
) -> Prediction:
    """Time and board power of every product of ``table`` on ``gpu``.

    ``constants`` replaces shipped sets, by library ("cublas", "cusparselt"). ``weight_copies``
    weights take turns: 6 as measured, infinite for cold ones. ``sustained`` slows kernels whose
    power would pass the board's limit, as in a run of many; otherwise times are those of bursts.

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
            kind = kernel_kind(machine, str(dtype), sparse=is_sparse, weight_copies=weight_copies)
            times = kernel_times(
                table.m[rows], table.n[rows], table.k[rows], table.batch[rows], kind, machine,
                chosen[library].constants,
            )  # fmt: skip
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
