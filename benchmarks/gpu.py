"""``python -m benchmarks.gpu --data FOLDER [--json FILE]``: how good the GPU models are.

Kernels on weight shapes that the fit has not seen, beside simple models and the noise of the
data; steps, convolutions and 2:4 points beside published figures. Numbers are errors in percent.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np

from weft.sim.gpu.fitting.measured import LINEAR_TABLES, PAIR_GPUS
from weft.sim.gpu.prediction.predict import ProductTable, predict
from weft.sim.gpu.published.accuracy import (
    LinearAccuracy,
    PairAccuracy,
    linear_accuracy,
    pair_accuracy,
)
from weft.sim.gpu.published.check import Check
from weft.sim.gpu.published.parallel import parallel_checks
from weft.sim.gpu.published.published import (
    cluster_checks,
    convolution_checks,
    sparse_checks,
    throughput_checks,
    vit_l_check,
)

__all__ = ["main"]

LINEAR_TARGETS = {"a100-sxm": 8.0, "h100-sxm": 6.5, "h200-sxm": 7.0, "b200-sxm": 9.0, "l40s": 14.0}
TRAINING_TARGET, WATTS_TARGET = 6.0, 8.0
PAIR_TARGETS = {"sparse_big": 9.0, "speedup": 7.0, "sign": 93.0}
TARGET_GPUS = ("a100-pcie", "h100-pcie", "b200-sxm")

CHECKS: dict[str, Callable[[Path], list[Check]]] = {
    "published throughputs": throughput_checks,
    "ViT-L step with 2:4 feed-forwards": vit_l_check,
    "published 2:4 speed-ups": sparse_checks,
    "8 to 512 GPUs": cluster_checks,
    "tensor, pipeline and context ranks": parallel_checks,
    "convolutions on V100": convolution_checks,
}


def _mark(value: float, target: float, *, least: bool = False) -> str:
    if math.isnan(value):
        return "-"
    good = value >= target if least else value <= target
    return f"{value:.1f} ({'<=' if not least else '>='} {target:g} {'met' if good else 'MISSED'})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, ["-" * width for width in widths], *rows)
    ]
    return "\n".join(lines)


def _linear_rows(found: Sequence[LinearAccuracy]) -> list[list[str]]:
    return [
        [
            a.gpu, str(a.rows), _mark(a.model, LINEAR_TARGETS[a.gpu]), f"{a.fitted:.1f}",
            _mark(a.training_shapes, TRAINING_TARGET), f"{a.roofline_fitted:.1f}",
            f"{a.roofline:.1f}", f"{a.noise:.1f} / {a.noise_median:.1f}", f"{a.run_to_median:.1f}",
            _mark(a.watts, WATTS_TARGET),
            "-" if math.isnan(a.watts_constant) else f"{a.watts_constant:.1f}",
            "-" if math.isnan(a.sustained) else f"{a.sustained:.1f}",
        ]
        for a in found
    ]  # fmt: skip


_LINEAR_HEADER = (
    "GPU", "rows", "unseen shapes", "seen", "M,N,K>=512 unseen", "fitted roofline",
    "datasheet roofline", "run to run (mean / median)", "run to target", "watts >=200 us",
    "constant watts", "sustained time",
)  # fmt: skip


def _pair_rows(found: Sequence[PairAccuracy]) -> list[list[str]]:
    rows: list[list[str]] = []
    for a in found:
        aimed = a.gpu in TARGET_GPUS
        marks = {
            name: _mark(getattr(a, name), target, least=name == "sign")
            if aimed
            else f"{getattr(a, name):.1f}"
            for name, target in PAIR_TARGETS.items()
        }
        rows.append([
            a.gpu, f"{a.dense_rows} / {a.sparse_rows} / {a.pairs}", marks["sparse_big"],
            f"{a.sparse:.1f}", f"{a.dense_big:.1f}", f"{a.dense:.1f}", marks["speedup"],
            f"{a.speedup_twice:.1f}", f"{a.speedup_median:.1f}", f"{a.speedup_all:.1f}",
            marks["sign"], f"{a.sign_big:.0f}", f"{a.noise:.1f}",
        ])  # fmt: skip
    return rows


_PAIR_HEADER = (
    "GPU", "dense / 2:4 / big pairs", "2:4 time, big", "2:4 time, all", "dense time, big",
    "dense time, all", "speed-up, big", "always 2x", "constant median", "speed-up, all",
    "sign right, all", "sign, big", "repeat noise",
)  # fmt: skip


def _split(check: Check) -> str:
    """Shares of the step's parts, in percent."""
    whole = sum(check.parts_s.values())
    return "/".join(f"{100 * seconds / whole:.0f}" for seconds in check.parts_s.values())


def _check_rows(checks: Sequence[Check]) -> list[list[str]]:
    def share(value: float) -> str:
        return "-" if math.isnan(value) else f"{100 * value:.1f} %"

    return [
        [c.what, c.gpu, c.unit, f"{c.published:.4g}", f"{c.model:.4g}", f"{c.error:+.0f} %",
         share(c.published_mfu), share(c.mfu), _split(c)]
        for c in checks
    ]  # fmt: skip


_CHECK_HEADER = (
    "what",
    "GPU",
    "unit",
    "published",
    "model",
    "error",
    "published MFU",
    "MFU",
    "products/attention/elementwise/optimizer/exposed/host/bubble, %",
)


def _summary(checks: Sequence[Check]) -> dict[str, float]:
    errors = np.abs([check.error for check in checks])
    return {
        "rows": len(checks),
        "mean_abs_error": float(np.mean(errors)) if checks else float("nan"),
        "mean_signed_error": (
            float(np.mean([check.error for check in checks])) if checks else float("nan")
        ),
        "median_abs_error": float(np.median(errors)) if checks else float("nan"),
    }


def seconds_per_million(gpu: str = "b200-sxm", rows: int = 200_000) -> float:
    """Processor seconds that a million predictions take."""
    m, n, k = np.exp(np.random.default_rng(0).uniform(0, 11, (3, rows))).round().clip(1)
    table = ProductTable.of(m, n, k)
    start = time.process_time()
    predict(table, gpu)
    return (time.process_time() - start) * 1e6 / rows


def _accuracies(
    folder: Path, count: int, effort: float
) -> tuple[list[LinearAccuracy], list[PairAccuracy]]:
    """Every table's errors, a process for each core; a line on stderr as each is done."""
    with ProcessPoolExecutor() as pool:
        linear = {
            pool.submit(linear_accuracy, folder, gpu, count, effort=effort): gpu
            for gpu in LINEAR_TABLES
        }
        pairs = {
            pool.submit(pair_accuracy, folder, gpu, count, effort=effort): gpu for gpu in PAIR_GPUS
        }
        started = time.monotonic()
        for done, task in enumerate(as_completed([*linear, *pairs]), 1):
            table = f"{linear[task]} linear" if task in linear else f"{pairs[task]} 2:4"  # type: ignore
            seconds = time.monotonic() - started
            print(
                f"{done} of {len(linear) + len(pairs)}: {table}, {seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )
        return [task.result() for task in linear], [task.result() for task in pairs]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables and write the JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the measured tables")
    parser.add_argument("--json", help="file to write, - for standard output")
    parser.add_argument("--folds", type=int, default=5, help="folds over weight shapes")
    parser.add_argument(
        "--effort", type=float, default=0.2, help="of a fold's fit, 1: that of the shipped fits"
    )
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        parser.error(f"--data {options.data} is no folder")
    linear, pairs = _accuracies(options.data, options.folds, options.effort)
    checks = {name: check(options.data) for name, check in CHECKS.items()}
    speed = seconds_per_million()
    out = sys.stderr if options.json == "-" else sys.stdout
    print("bf16 linear layers, mean absolute error in %, weight shapes (N, K) held out", file=out)
    print(_table(_LINEAR_HEADER, _linear_rows(linear)), file=out)
    print("\n2:4 and dense products, both sides held out; big: 20 GFLOP or more", file=out)
    print(_table(_PAIR_HEADER, _pair_rows(pairs)), file=out)
    for name, found in checks.items():
        summary = _summary(found)
        print(f"\n{name}: mean {summary['mean_abs_error']:.1f} %, signed "
              f"{summary['mean_signed_error']:+.1f} %, median {summary['median_abs_error']:.1f} % "
              f"of {len(found)}", file=out)  # fmt: skip
        print(_table(_CHECK_HEADER, _check_rows(found)), file=out)
    print(f"\none million products: {speed:.1f} s of one core", file=out)
    if options.json:
        _write(options.json, linear, pairs, checks, speed)
    return 0


def _write(
    where: str, linear: Sequence[LinearAccuracy], pairs: Sequence[PairAccuracy],
    checks: dict[str, list[Check]], speed: float,
) -> None:  # fmt: skip
    document = {
        "linear": [asdict(entry) for entry in linear],
        "pairs": [asdict(entry) for entry in pairs],
        "published": {
            name: {
                **_summary(found),
                "checks": [{**asdict(check), "error": check.error} for check in found],
            }
            for name, found in checks.items()
        },
        "seconds_per_million": speed,
    }
    text = json.dumps(_plain(document), indent=2)
    if where == "-":
        print(text)
    else:
        Path(where).write_text(text + "\n")


def _plain(value: Any) -> Any:
    """NaN as null, for readers that know only JSON."""
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {key: _plain(entry) for key, entry in entries.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in cast("list[Any]", value)]
    return value


if __name__ == "__main__":
    sys.exit(main())
