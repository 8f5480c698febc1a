"""Published training throughputs and 2:4 points against the model's, each with its error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from weft.sim.gpu.prediction.constants import load_constants
from weft.sim.gpu.prediction.link import Cluster
from weft.sim.gpu.prediction.machine import load_gpu
from weft.sim.gpu.prediction.predict import ProductTable, predict
from weft.sim.gpu.prediction.rows import read_rows
from weft.sim.gpu.prediction.step import GpuRun, GpuSettings, simulate_step
from weft.sim.gpu.prediction.vector import mask_stream, stream_us
from weft.sim.gpu.published.check import Check
from weft.sim.gpu.published.shapes import TransformerShape, resnet50, segment_anything, transformer
from weft.sim.pattern import Pattern
from weft.sim.workload import Convolution, MaskWork, Operand, Product, Role, Stage, Workload

__all__ = [
    "cluster_checks",
    "convolution_checks",
    "sparse_checks",
    "throughput_checks",
    "vit_l_check",
]


_MPT = {
    "70b": (80, 8192, 64), "30b": (48, 7168, 56), "13b": (40, 5120, 40), "7b": (32, 4096, 32),
    "3b": (32, 2560, 20), "1b": (24, 2048, 16), "760m": (24, 1536, 12), "350m": (24, 1024, 16),
    "125m": (12, 768, 12),
}  # fmt: skip
"""Layers, width, heads of the MPT models (mosaicml/llm-foundry scripts/train/yamls/pretrain)."""

_BERT_LARGE = TransformerShape(
    "bert-large", 24, 1024, 16, 4096, 30522, dropout=True, scored_share=0.15, split_scores=True
)
_TRANSFORMER_BIG = TransformerShape("transformer-big", 15, 1024, 16, 4096, 33708, dropout=True,
                                    split_scores=True)  # fmt: skip
"""Six encoder and six decoder layers; cross-attention's four matrices count as three layers'."""
_LLAMA_8B = TransformerShape(
    "llama-3.1-8b", 32, 4096, 32, 14336, 128256, gated=True, kv_width=1024,
    causal=True, bias=False, rms=True, rotary=True,
)  # fmt: skip


def _mpt(name: str) -> TransformerShape:
    layers, width, heads = _MPT[name]
    return TransformerShape(
        f"mpt-{name}", layers, width, heads, 4 * width, 50368, causal=True, fused_loss=True,
        metrics=2,
    )  # fmt: skip


def _single(
    workload: Workload, gpu: str, dtype: str, fusion: str, accumulate: int = 1
) -> GpuRun:  # fmt: skip
    settings = GpuSettings(fusion=fusion, dtype=dtype, accumulate=accumulate)
    return simulate_step(workload, gpu, settings=settings)


_GPU_NAMES = {
    "A100-80GB": "a100-sxm",
    "A100-40GB": "a100-sxm-40",
    "V100-16GB": "v100-sxm",
    "V100-32GB": "v100-sxm",
    "H100-SXM": "h100-sxm",
    "H200": "h200-sxm",
    "a100_80gb": "a100-sxm",
    "a100_40gb": "a100-sxm-40",
    "h100_80gb": "h100-sxm",
}


def throughput_checks(folder: Path) -> list[Check]:
    """Every row of the table of published throughputs that names its batch or one can be assumed.

    ResNet-50 and BERT ran in PyTorch containers of 2021: eager here. ResNet-50 in NHWC with AMP and
    in NCHW without, 112 images on V100 in FP32 (DeepLearningExamples ConvNets/configs.yml). BERT
    read sequences in bins of equal length (LDDL), so what the rows of length 512 ran is unknown.
    """
    checks: list[Check] = []
    for row in read_rows(folder / "train_throughput_published.csv"):
        check = _throughput(row)
        if check is not None:
            checks.append(check)
    return checks


def _throughput(row: dict[str, str]) -> Check | None:
    gpu, published = _GPU_NAMES[row["gpu"]], float(row["throughput"])
    dtype = {"TF32": "tf32", "FP32": "fp32-ieee"}.get(row["precision"], "fp16")
    what = f"{row['model']} {row['precision']} {row['batch_per_gpu']} {row['seq_len']}".strip()
    if row["model"].startswith("ResNet-50"):
        batch = int(row["batch_per_gpu"] or (112 if dtype == "fp32-ieee" else 256))
        layout = "nhwc" if dtype == "fp16" else "nchw"
        settings = GpuSettings(dtype=dtype, layout=layout)
        run = simulate_step(resnet50(batch), gpu, settings=settings)
        model = run.samples_per_s
    elif row["model"].startswith("BERT"):
        batch, length = int(row["batch_per_gpu"]), int(row["seq_len"])
        share = 1 if "SQuAD" in row["model"] else 64
        shape = replace(_BERT_LARGE, vocabulary=0) if share == 1 else _BERT_LARGE
        run = _single(transformer(shape, batch, length), gpu, dtype, "eager", share)
        model = run.samples_per_s
    elif row["model"].startswith("Transformer"):
        tokens = int(row["batch_per_gpu"].split()[0])
        run = _single(transformer(_TRANSFORMER_BIG, tokens // 32, 32), gpu, dtype, "eager")
        model = run.samples_per_s * 32
    else:
        return _llama(row, gpu, what)
    return Check(what, gpu, row["unit"], published, model, mfu=run.model_flop_utilization,
                 parts_s=run.parts_s)  # fmt: skip


def _llama(row: dict[str, str], gpu: str, what: str) -> Check:
    """FSDP over all GPUs; two sequences each where the row names none, as torchtitan has it."""
    gpu = "h100-96-500w" if gpu == "h100-sxm" else gpu  # what torchtitan's H100s are
    batch, length, gpus = int(row["batch_per_gpu"] or 2), int(row["seq_len"]), int(row["gpus"])
    dtype = "fp8" if "float8" in row["model"] else "bf16"
    settings = GpuSettings(
        fusion="compile" if "compile" in row["model"] else "eager", dtype=dtype,
        checkpoint="selective-op",
    )  # fmt: skip
    workload = transformer(_LLAMA_8B, batch, length)
    cluster = Cluster.of(load_gpu(gpu), gpus)
    run = simulate_step(workload, gpu, settings=settings, cluster=cluster, strategy="sharded")
    rate = run.samples_per_s * length / gpus
    return Check(what, gpu, row["unit"], float(row["throughput"]), rate,
                 mfu=run.model_flop_utilization, parts_s=run.parts_s)  # fmt: skip


_STRATEGY = {
    "FULL_SHARD": "sharded",
    "SHARD_GRAD_OP": "sharded-gradients",
    "NO_SHARD": "replicated",
}


def cluster_checks(folder: Path) -> list[Check]:
    """Every bf16 row of the 8 to 512 GPU table: tokens per second and GPU."""
    checks: list[Check] = []
    for row in read_rows(folder / "llmfoundry_train_throughput.csv"):
        name, gpu = row["Model"].lower(), _GPU_NAMES.get(row["GPU"], "")
        strategy = _STRATEGY.get(row["Sharding Strategy"])
        if name not in _MPT or not gpu or strategy is None or row["Precision"] != "amp_bf16":
            continue
        gpus, length = int(row["# GPUs"]), int(row["SeqLen (T)"])
        workload = transformer(_mpt(name), int(row["MicroBatchSize"]), length)
        settings = GpuSettings(
            checkpoint="full" if row["Activation Checkpointing"] == "True" else "none",
            accumulate=int(row["GradAccum"]), attention="triton1",
            gradient_bytes=2.0 if row["MP Mode"] == "PURE" else 4.0,
        )  # fmt: skip
        run = simulate_step(
            workload, gpu, settings=settings, cluster=Cluster.of(load_gpu(gpu), gpus),
            strategy=strategy,
        )  # fmt: skip
        rate = run.samples_per_s * length / gpus
        what = f"mpt-{name} T={length} {strategy}"
        checks.append(
            Check(
                f"{what} on {gpus}",
                gpu,
                "tok/s/GPU",
                float(row["Throughput (T/s/GPU)"]),
                rate,
                float(row["MFU"]) / 100,
                run.model_flop_utilization,
                run.parts_s,
            )
        )
    return checks


def _sparse_mlps(workload: Workload) -> Workload:
    """Feed-forward weights 2:4 in all three products, masks made both ways every step.

    A transposable choice serves W and W transposed; the weight gradient multiplies by the sparse
    weight nowhere and stays dense.
    """
    pattern = Pattern(2, 4)
    items = [
        item.with_sparsity("right", pattern)
        if isinstance(item, Product) and item.name in ("up", "down") and item.stage is not Stage.WU
        else item
        for item in workload.items
    ]
    seen = [item for item in items if isinstance(item, Product) and item.name in ("up", "down")
            and item.stage is Stage.FF]  # fmt: skip
    masks = [
        MaskWork(f"{item.name}:{axis}", item.name, item.k * item.n, pattern, axis, "weight")
        for item in seen
        for axis in ("k", "o")
    ]
    return replace(workload, items=(*items, *masks))


def vit_l_check(folder: Path) -> list[Check]:
    """The whole ViT-L training pass on A100 (batch 8, compiled), dense and with 2:4 feed-forwards.

    The published row names neither image size nor tokens; taken to be the image encoder of Segment
    Anything, which torchao benchmarks elsewhere, at 1024 x 1024 and with its scores in memory.
    """
    rows = [
        row
        for row in read_rows(folder / "sparse24_published_points.csv")
        if row["what"].startswith("ViT-L full")
    ]
    if not rows:
        return []
    dense = segment_anything(8)
    settings = GpuSettings(fusion="compile", dtype="fp16")
    times = [
        1e3 * simulate_step(workload, "a100-sxm", settings=settings).time_s
        for workload in (dense, _sparse_mlps(dense))
    ]
    published = [float(rows[0]["dense_ms"]), float(rows[0]["sparse_ms"])]
    return [
        Check("ViT-L pass dense", "a100-sxm", "ms", published[0], times[0]),
        Check("ViT-L pass 2:4 feed-forward", "a100-sxm", "ms", published[1], times[1]),
        Check("ViT-L 2:4 speed-up", "a100-sxm", "x", published[0] / published[1],
              times[0] / times[1]),
    ]  # fmt: skip


def _layer_us(m: int, n: int, k: int, sparse: bool) -> float:
    """Forward, input and weight gradient of a linear layer on A100, masks included where 2:4."""
    table = ProductTable.of(
        [m, m, k], [n, k, n], [k, n, m], dtype="fp16",
        sparsity=["2:4", "2:4", "dense"] if sparse else "dense",
    )  # fmt: skip
    times = float(np.sum(predict(table, "a100-sxm").time_us))
    if not sparse:
        return times
    mask = MaskWork("w", "w", k * n, Pattern(2, 4), "k", "weight")
    gpu = load_gpu("a100-sxm")
    return times + 2 * stream_us(mask_stream(mask, gpu, 2.0), gpu, load_constants(gpu).constants)


def sparse_checks(folder: Path) -> list[Check]:
    """Speed-ups of published dense and 2:4 pairs on the GPUs that weft knows."""
    checks: list[Check] = []
    for row in read_rows(folder / "sparse24_published_points.csv"):
        if not row["m"] or not row["n"] or not row["k"]:
            continue
        gpu = {"A100-80GB": "a100-sxm", "A100": "a100-sxm", "A100-SXM4": "a100-sxm",
               "H100": "h100-sxm"}.get(row["gpu"])  # fmt: skip
        if gpu is None:
            continue
        m, n, k = int(row["m"]), int(row["n"]), int(row["k"])
        published = float(row["dense_ms"]) / float(row["sparse_ms"])
        model = _speedup(row["what"], gpu, m, n, k)
        checks.append(Check(f"{row['what']} {m}x{n}x{k}", gpu, "x", published, model))
    return checks


def _speedup(what: str, gpu: str, m: int, n: int, k: int) -> float:
    if what.startswith("linear"):
        return _layer_us(m, n, k, False) / _layer_us(m, n, k, True)
    if what.startswith("MLP"):
        dense, sparse = (_layer_us(m, n, k, s) + _layer_us(m, k, n, s) for s in (False, True))
        return dense / sparse
    table = ProductTable.of([m, m], [n, n], [k, k], dtype="fp16", sparsity=["dense", "2:4"])
    dense, sparse = predict(table, gpu).time_us.tolist()
    return dense / sparse


_PASSES = (("ms_fwd", Stage.FF), ("ms_bwd_in", Stage.BP), ("ms_bwd_w", Stage.WU))


def _convolution(row: dict[str, str], stage: Stage) -> Product:
    size = {name: int(row[name]) for name in row if name not in ("app",) and row[name].isdigit()}
    images, inputs, outputs = size["N"], size["C"], size["Kf"]
    kernel, out = (size["R_h"], size["S_w"]), (size["H_out"], size["W_out"])
    taps, pixels = kernel[0] * kernel[1], images * out[0] * out[1]
    shape = Convolution(
        images, inputs, outputs, (size["H"], size["W"]), out, kernel,
        (size["str_h"], size["str_w"]), (size["pad_h"], size["pad_w"]),
    )  # fmt: skip
    x = Operand(Role.ACTIVATION, images * inputs * size["H"] * size["W"])
    w = Operand(Role.WEIGHT, inputs * outputs * taps)
    y = Operand(Role.ACTIVATION, pixels * outputs)
    m, k, n, left, right, output = {
        Stage.FF: (pixels, inputs * taps, outputs, x, w, y),
        Stage.BP: (
            images * size["H"] * size["W"],
            max(1, outputs * taps // (size["str_h"] * size["str_w"])),
            inputs, y, w, x,
        ),
        Stage.WU: (inputs * taps, pixels, outputs, x, y, w),
    }[stage]  # fmt: skip
    return Product(row["app"], stage, "convolution", m, k, n, 1, left, right, output, (), shape)


def convolution_checks(folder: Path) -> list[Check]:
    """Every DeepBench convolution on V100 (fp16 in, fp32 accumulate), in ms, all three passes."""
    products: list[Product] = []
    published: list[float] = []
    for row in read_rows(folder / "deepbench_v100_conv_fp16.csv"):
        for name, stage in _PASSES:
            try:
                published.append(float(row[name]))
            except ValueError:
                continue
            products.append(_convolution(row, stage))
    settings = GpuSettings(dtype="fp16", sustained=False, master_weights=False)
    run = simulate_step(Workload("deepbench", 1, tuple(products)), "v100-sxm", settings=settings)
    return [
        Check(
            f"{item.name} {item.stage} {item.m}x{item.n}x{item.k}",
            "v100-sxm",
            "ms",
            measured,
            1e-3 * item.time_us,
        )
        for item, measured in zip(run.items, published, strict=True)
    ]
