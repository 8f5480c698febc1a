"""``python -m benchmarks.gpu_ablation --data FOLDER``: what each mechanism of GPU steps is worth.

Each line turns one mechanism off and prints mean absolute and mean signed error, in percent, on
every set of published rows. None was chosen by these figures: each has the source that its
constant names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from weft.sim.gpu.prediction import attention, attention_rates, fusion, overlap, power, step
from weft.sim.gpu.published import parallel, published, shapes
from weft.sim.gpu.published.check import Check

__all__ = ["main"]

SETS: dict[str, Callable[[Path], list[Check]]] = {
    "single-node": published.throughput_checks,
    "llm-foundry": published.cluster_checks,
    "parallel": parallel.parallel_checks,
    "V100 convolutions": published.convolution_checks,
}


def _settings(**changed: object) -> Callable[..., Any]:
    """Settings that ignore what a row's set-up says about some fields."""
    kind = published.GpuSettings

    def build(**given: Any) -> Any:
        return kind(**{**given, **changed})

    return build


def _shape(**changed: object) -> Callable[..., Any]:
    build = shapes.transformer

    def transformer(shape: Any, samples: int, length: int) -> Any:
        return build(replace(shape, **changed), samples, length)  # type: ignore[arg-type]

    return transformer


def _everywhere(name: str, value: object) -> list[Any]:
    return [patch.object(module, name, value) for module in (published, parallel)]


def _mechanisms() -> Mapping[str, list[Any]]:
    """Patches that turn each mechanism off."""
    flat = {key: {size: replace(rate, forward_half=0.0, backward_half=0.0)
                  for size, rate in table.items()}
            for key, table in attention_rates._RATES.items()}  # fmt: skip
    return {
        "as it is": [],
        "causal masks computed whole": _everywhere("transformer", _shape(causal=False)),
        "attention as fast on short rows": [
            patch.object(attention_rates, "_RATES", flat),
            patch.object(attention_rates, "CAUSAL_HALF", 0.0),
            patch.object(attention_rates, "CAUSAL_PEAK", 1.0),
        ],
        "attention always FlashAttention-2": _everywhere(
            "GpuSettings", _settings(attention="flash2")
        ),
        "scores never in memory": _everywhere("transformer", _shape(split_scores=False)),
        "norms read once backward": [
            patch.object(
                fusion, "ROW_SWEEPS", {**fusion.ROW_SWEEPS, "native_layer_norm_backward": 2}
            )
        ],
        "norms as fast as streams": [patch.object(step, "ROW_SHARE", 1.0)],
        "biases without gradients": _everywhere("transformer", _shape(bias=False)),
        "no metrics of the trainer": _everywhere("transformer", _shape(metrics=0)),
        "losses fused": _everywhere("transformer", _shape(fused_loss=True)),
        "gradients travel in 16 bits": _everywhere("GpuSettings", _settings(gradient_bytes=2.0)),
        "collectives take no SMs": [
            patch.object(overlap, "COLLECTIVE_SMS", dict.fromkeys(overlap.COLLECTIVE_SMS, 0)),
        ],
        "no power limit": _everywhere("GpuSettings", _settings(sustained=False)),
        "A100 capped like H200": [patch.object(power, "UNCAPPED", ())],
        "fused optimizers": _everywhere("GpuSettings", _settings(fused_optimizer=True)),
        "8-bit heads": [patch.object(step, "_wide", lambda *_: set())],
        "no recomputation": _everywhere("GpuSettings", _settings(checkpoint="none")),
        "backward scores kept": [patch.object(attention, "RECOMPUTED", 1.0)],
        "convolutions on tensor cores always": [
            patch.object(step, "on_cuda_cores", lambda *_: False),
        ],
        "convolutions may share reductions": [patch.object(step, "_unsplit", lambda *_: set())],
    }


def _errors(folder: Path, sets: Sequence[str]) -> list[str]:
    cells: list[str] = []
    for name in sets:
        errors = np.array([check.error for check in SETS[name](folder)])
        cells.append(
            f"{np.mean(np.abs(errors)):.1f} {np.mean(errors):+.1f}" if errors.size else "-"
        )
    return cells


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu_ablation", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the measured tables")
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        parser.error(f"--data {options.data} is no folder")
    print("| without | " + " | ".join(SETS) + " |")
    print("|---" * (len(SETS) + 1) + "|")
    for name, patches in _mechanisms().items():
        with ExitStack() as stack:
            for each in patches:
                stack.enter_context(each)
            print(f"| {name} | " + " | ".join(_errors(options.data, list(SETS))) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
