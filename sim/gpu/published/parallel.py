"""Published runs of many GPUs with tensor, pipeline and context ranks against the model's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from weft.sim.gpu.parallel.layout import Layout
from weft.sim.gpu.parallel.price import simulate_layout
from weft.sim.gpu.prediction.link import Cluster
from weft.sim.gpu.prediction.machine import load_gpu
from weft.sim.gpu.prediction.rows import read_rows
from weft.sim.gpu.prediction.settings import GpuSettings
from weft.sim.gpu.published.check import Check
from weft.sim.gpu.published.shapes import TransformerShape, transformer
from weft.sim.workload import Product, Stage, Workload

__all__ = ["SHAPES", "parallel_checks"]


def _llama(
    name: str, layers: int, width: int, heads: int, hidden: int, vocabulary: int, keys: int
) -> TransformerShape:
    return TransformerShape(
        name, layers, width, heads, hidden, vocabulary, gated=True, kv_width=keys, causal=True,
        bias=False, rms=True, rotary=True,
    )  # fmt: skip


def _gpt(
    name: str, layers: int, width: int, heads: int, vocabulary: int, *, bias: bool = True
) -> TransformerShape:
    return TransformerShape(
        name, layers, width, heads, 4 * width, vocabulary, causal=True, bias=bias
    )


SHAPES = {
    "llama3.1-8b": _llama("llama3.1-8b", 32, 4096, 32, 14336, 128256, 1024),
    "llama3-8b": _llama("llama3-8b", 32, 4096, 32, 14336, 128256, 1024),
    "llama3.1-70b": _llama("llama3.1-70b", 80, 8192, 64, 28672, 128256, 1024),
    "llama3-70b": _llama("llama3-70b", 80, 8192, 64, 28672, 128256, 1024),
    "llama3.1-405b": _llama("llama3.1-405b", 126, 16384, 128, 53248, 128256, 1024),
    "llama2-7b": _llama("llama2-7b", 32, 4096, 32, 11008, 32000, 4096),
    "llama2-13b": _llama("llama2-13b", 40, 5120, 40, 13824, 32000, 5120),
    "llama2-70b": _llama("llama2-70b", 80, 8192, 64, 28672, 32000, 1024),
    "gpt3-5b": _gpt("gpt3-5b", 24, 4096, 32, 51200),
    "gpt3-20b": _gpt("gpt3-20b", 44, 6144, 48, 51200),
    "gpt3-175b": _gpt("gpt3-175b", 96, 12288, 96, 51200),
    "nemotron-8b": _gpt("nemotron-8b", 32, 4096, 32, 256000, bias=False),
    "nemotron-15b": replace(_gpt("nemotron-15b", 32, 6144, 48, 256000, bias=False), kv_width=1024),
    "nemotron-22b": replace(_gpt("nemotron-22b", 40, 6144, 48, 256000, bias=False), kv_width=1024),
    "nemotron-340b": replace(
        _gpt("nemotron-340b", 96, 18432, 96, 256000, bias=False), kv_width=1536
    ),
}
"""Sizes from the models' own papers and configurations (arXiv:2407.21783 table 3, arXiv:2307.09288,
arXiv:2005.14165 with NeMo's vocabulary padded to 51200, arXiv:2402.16819 and 2406.11704)."""

PIPELINE_MICRO_BATCHES = 8
"""torchtitan cuts a data rank's batch into as many micro-batches as there are stages by default
(``pipeline_parallel_microbatches``); its table does not say otherwise."""


def parallel_checks(folder: Path) -> list[Check]:
    """Every row of the table of parallel runs: tokens per second and GPU."""
    path = folder / "train_parallel_published.csv"
    if not path.is_file():
        return []
    return [check for row in read_rows(path) if (check := _check(row)) is not None]


def _number(row: dict[str, str], name: str, default: int) -> int:
    return int(row.get(name) or default)


def _check(row: dict[str, str]) -> Check | None:
    name, _, kind = row["model"].partition(" ")
    shape = SHAPES.get(name)
    if shape is None:
        return None
    titan = row["framework"].startswith("torchtitan")
    gpus, length = int(row["gpus"]), int(row["seq_len"])
    tensor, pipeline = _number(row, "tp", 1), _number(row, "pp", 1)
    context, virtual = _number(row, "cp", 1), _number(row, "virtual_pp", 1)
    local = _number(row, "micro_batch", 1)
    if titan:
        micro = max(1, local // PIPELINE_MICRO_BATCHES) if pipeline > 1 else local
        batch = local
    else:
        micro = local
        batch = _number(row, "global_batch", local) * tensor * pipeline * context // gpus
    if "nemo" in row["framework"]:
        shape = replace(shape, fused_loss=True)
    layout = Layout(
        gpus, tensor, pipeline, context, 1, "fsdp2" if titan else "zero1", micro,
        "interleaved" if virtual > 1 else "1f1b", virtual,
        row["activation_checkpointing"] or "none",
        async_tensor=row["async_tp"] == "1" or not titan, uneven=True,
    )  # fmt: skip
    eight = row["precision"] in ("fp8", "float8")
    settings = GpuSettings(
        fusion="compile" if not titan or row["compile"] == "1" else "eager",
        dtype="fp8" if eight else "bf16", attention="sdpa" if titan else "cudnn",
        fused_optimizer=not titan, scaling="dynamic" if titan else "delayed",
        gradient_bytes=4.0 if titan else 2.0,
    )  # fmt: skip
    workload = transformer(shape, batch, length)
    if kind == "lora":
        workload = _frozen(workload)
    found = simulate_layout(
        workload, row["gpu"], layout, settings=settings, fits=False,
        cluster=Cluster.of(load_gpu(row["gpu"]), gpus),
    )  # fmt: skip
    rate = found.run.samples_per_s * length / gpus
    ranks = f"tp{tensor} pp{pipeline} cp{context}"
    return Check(
        f"{row['model']} {row['framework']} {row['precision']} T={length} {ranks} on {gpus}",
        row["gpu"], "tok/s/GPU", float(row["tokens_per_s_per_gpu"]), rate,
        mfu=found.run.model_flop_utilization, parts_s=found.run.parts_s,
    )  # fmt: skip


def _frozen(workload: Workload) -> Workload:
    """Low-rank adapters: the weights stay, so they have neither gradients nor updates.

    The adapters' own small products are left out.
    """
    items = tuple(
        item
        for item in workload.items
        if not (isinstance(item, Product) and item.stage is Stage.WU)
        and item.stage is not Stage.OPTIMIZER
    )
    return replace(
        workload,
        items=tuple(replace(item, inputs=(at - 1,) if at else ()) for at, item in enumerate(items)),
        parameters=0,
    )
