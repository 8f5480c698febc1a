"""Tables of measured GPU products: reading, the noise between runs, and folds held out by shape.

The tables themselves are not part of the package; callers pass the folder that holds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weft.sim.gpu.prediction.kernel import Array, Products
from weft.sim.gpu.prediction.rows import column, read_rows

__all__ = [
    "LINEAR_TABLES",
    "PAIR_GPUS",
    "Measured",
    "Pairs",
    "folds",
    "load_deepbench_gemm",
    "load_linear",
    "load_pairs",
    "run_noise",
]

LINEAR_TABLES = {
    "a100-sxm": "aic_gemm_bf16_a100_sxm.csv.gz",
    "h100-sxm": "aic_gemm_bf16_h100_sxm.csv.gz",
    "h200-sxm": "aic_gemm_bf16_h200_sxm.csv.gz",
    "b200-sxm": "aic_gemm_bf16_b200_sxm.csv.gz",
    "l40s": "aic_gemm_bf16_l40s.csv.gz",
}
"""bf16 linear layers: ai-dynamo/aiconfigurator @ 095f58a51c4c, Apache-2.0."""

PAIR_TABLE = "slidesparse_gemm_fp16_bf16.csv.gz"
PAIR_GPUS = {
    "a100-pcie": "NVIDIA A100 80GB PCIe",
    "h100-pcie": "NVIDIA H100 PCIe",
    "b200-sxm": "NVIDIA B200",
    "rtx4090": "NVIDIA GeForce RTX 4090",
    "rtx5080": "NVIDIA GeForce RTX 5080",
}
"""Dense and 2:4 products: bcacdwk/vllmbench @ 92a8ca495b1c, Apache-2.0."""

SUSTAINED = "us_vllm_0.22.0"
WATTS = "W_vllm_0.22.0"


@dataclass(frozen=True)
class Measured:
    """Measured products; arrays of equal length. ``runs`` is (rows, runs), NaN where missing.

    ``time_us`` is the target of a fit: the median over independent burst runs. ``sustained_us``
    and ``watts`` come from a run of 0.3 to 1 s under the power cap (NaN where there is none).
    """

    table: str
    m: Array
    n: Array
    k: Array
    time_us: Array
    runs: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    sustained_us: Array = field(default_factory=lambda: np.zeros(0))
    watts: Array = field(default_factory=lambda: np.zeros(0))
    weight_copies: float = 6.0

    def __len__(self) -> int:
        return len(self.m)

    @property
    def training(self) -> NDArray[np.bool_]:
        """Which rows have the sizes of training: M, N and K of 512 and more."""
        return np.minimum(np.minimum(self.m, self.n), self.k) >= 512

    @property
    def products(self) -> Products:
        """The products measured."""
        return Products(self.m, self.n, self.k, np.ones(len(self)))

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Measured:
        """The chosen rows."""

        def cut(array: Array) -> Array:
            return array[chosen] if len(array) else array

        return Measured(
            self.table, cut(self.m), cut(self.n), cut(self.k), cut(self.time_us), cut(self.runs),
            cut(self.sustained_us), cut(self.watts), self.weight_copies,
        )  # fmt: skip


@dataclass(frozen=True)
class Pairs:
    """Dense and 2:4 measurements of one GPU, and the rows of both that share (M, N, K).

    ``dense_at`` and ``sparse_at`` are positions of the two sides of each pair.
    """

    dense: Measured
    sparse: Measured
    dense_at: NDArray[np.int64]
    sparse_at: NDArray[np.int64]


def load_linear(folder: Path, gpu: str) -> Measured:
    """The bf16 linear table of a GPU, keyed as in ``LINEAR_TABLES``."""
    name = LINEAR_TABLES[gpu]
    rows = read_rows(folder / name)
    bursts = [key for key in rows[0] if key.startswith("us_") and key != SUSTAINED]
    runs = np.stack([column(rows, key) for key in bursts], axis=1)
    return Measured(
        name, column(rows, "m"), column(rows, "n"), column(rows, "k"), np.nanmedian(runs, axis=1),
        runs, column(rows, SUSTAINED), column(rows, WATTS),
    )  # fmt: skip


def _medians(rows: list[dict[str, str]], library: str) -> Measured:
    """Median of the best algorithm's time over all rows of a library with the same shape."""
    found: dict[tuple[int, int, int], list[float]] = {}
    for row in rows:
        if row["lib"] == library and row["lat_us_1"]:
            shape = (int(row["M"]), int(row["N"]), int(row["K"]))
            found.setdefault(shape, []).append(float(row["lat_us_1"]))
    shapes = np.array(list(found), dtype=np.float64).reshape(-1, 3)
    times = np.array([np.median(v) for v in found.values()])
    most = max((len(v) for v in found.values()), default=0)
    runs = np.array([v + [np.nan] * (most - len(v)) for v in found.values()])
    table = f"{PAIR_TABLE} ({library})"
    return Measured(table, shapes[:, 0], shapes[:, 1], shapes[:, 2], times, runs, weight_copies=1.0)


def load_pairs(folder: Path, gpu: str) -> Pairs:
    """Dense (cuBLASLt) and 2:4 (cuSPARSELt) tables of a GPU, keyed as in ``PAIR_GPUS``.

    fp16 and bf16 rows of a shape are taken together: the tensor cores treat them alike.
    """
    rows = [row for row in read_rows(folder / PAIR_TABLE) if row["gpu"] == PAIR_GPUS[gpu]]
    dense, sparse = _medians(rows, "cuBLASLt"), _medians(rows, "cuSPARSELt")
    index = {shape: i for i, shape in enumerate(zip(dense.m, dense.n, dense.k, strict=True))}
    both = [
        (index[shape], i)
        for i, shape in enumerate(zip(sparse.m, sparse.n, sparse.k, strict=True))
        if shape in index
    ]
    at = np.array(both, dtype=np.int64).reshape(-1, 2)
    return Pairs(dense, sparse, at[:, 0], at[:, 1])


def load_deepbench_gemm(folder: Path) -> Measured:
    """DeepBench fp16 products on V100 (baidu-research/DeepBench @ da81ba782073, Apache-2.0)."""
    name = "deepbench_v100_gemm_fp16.csv"
    rows = [row for row in read_rows(folder / name) if row["ms"]]
    return Measured(
        name, column(rows, "N"), column(rows, "M"), column(rows, "K"),
        column(rows, "ms") * 1e3, weight_copies=1.0,
    )  # fmt: skip


def folds(measured: Measured, count: int = 5, seed: int = 0) -> NDArray[np.int64]:
    """Fold of each row; all rows of a weight shape (N, K) share one."""
    shapes = np.stack([measured.n, measured.k], axis=1)
    distinct, which = np.unique(shapes, axis=0, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(distinct)) % count
    return order[which.reshape(-1)].astype(np.int64)


def run_noise(measured: Measured) -> Mapping[str, float]:
    """How far one run is from another of the same shape, percent: median and mean over pairs."""
    runs = measured.runs
    apart = [
        np.abs(runs[:, i] / runs[:, j] - 1.0)
        for i in range(runs.shape[1])
        for j in range(runs.shape[1])
        if i != j
    ]
    gaps = np.concatenate(apart) if apart else np.zeros(0)
    gaps = gaps[np.isfinite(gaps)]
    if not len(gaps):
        return {"median": float("nan"), "mean": float("nan")}
    return {"median": 100 * float(np.median(gaps)), "mean": 100 * float(np.mean(gaps))}
