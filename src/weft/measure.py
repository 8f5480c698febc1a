"""``weft measure``: time dense and 2:4 products and training steps on the NVIDIA GPU at hand.

Every product runs in a CUDA graph over weights that take turns, so that no weight is found in the
L2 cache because it was used just before; the time is the median over replays. The table that
comes out is what ``weft calibrate`` reads.
"""

from __future__ import annotations

import csv
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

__all__ = [
    "COLUMNS",
    "MeasureError",
    "Measurement",
    "Settings",
    "Shape",
    "default_shapes",
    "measure",
    "measure_command",
    "rotations",
]


class MeasureError(RuntimeError):
    """Nothing can be measured here; the message says what is missing."""


@dataclass(frozen=True)
class Shape:
    """One product Y[M,N] = X[M,K] W[K,N] to time."""

    m: int
    n: int
    k: int
    dtype: str
    sparsity: str


@dataclass(frozen=True)
class Settings:
    """``copies`` weights take turns; ``replays`` timed graph replays, of which the median counts.

    ``power_s`` is how long a product runs on for its mean power, 0 for none. ``steps``: time the
    training steps of ``models`` too. ``limit``: only so many shapes, None for all.
    """

    copies: int = 6
    replays: int = 15
    power_s: float = 0.3
    steps: bool = True
    models: tuple[str, ...] = ("resnet50", "vit-b16", "gpt2")
    limit: int | None = None


@dataclass(frozen=True)
class Measurement:
    """One row. ``what`` is "product" or "step"; sizes of a step are 0 and ``name`` says which."""

    what: str
    name: str
    m: int
    n: int
    k: int
    batch: int
    dtype: str
    sparsity: str
    time_us: float
    spread: float
    watts: float | None
    copies: int
    gpu: str
    torch: str
    cuda: str


COLUMNS = tuple(field.name for field in fields(Measurement))

_ROWS = (1, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192, 16384)
_WEIGHTS = (
    (768, 768), (2304, 768), (3072, 768), (768, 3072), (1024, 1024), (3072, 1024), (4096, 1024),
    (1024, 4096), (1600, 1600), (6400, 1600), (1600, 6400), (2048, 2048), (6144, 2048),
    (8192, 2048), (2048, 8192), (2560, 2560), (10240, 2560), (2560, 10240), (4096, 4096),
    (6144, 4096), (12288, 4096), (14336, 4096), (28672, 4096), (4096, 14336), (5120, 5120),
    (13824, 5120), (5120, 13824), (8192, 8192), (10240, 8192), (8192, 28672), (512, 512),
    (512, 2048), (2048, 512), (256, 256), (64, 256), (256, 64), (128, 4096), (4096, 128),
    (50304, 768), (32000, 4096), (1000, 2048), (3584, 18944),
)  # fmt: skip
"""(N, K) of layers of ViT, BERT, GPT-2, Llama, Qwen and ResNet, and small ones for launch costs."""


def default_shapes() -> list[Shape]:
    """672 dense bf16 products, a quarter of them in fp16 as well, and all that can run 2:4.

    2:4 weights need N and K in multiples of 64, inputs M in multiples of 8 (PyTorch's
    semi-structured tensors); below 64 rows nobody uses them.
    """
    shapes: list[Shape] = []
    for place, (n, k) in enumerate(_WEIGHTS):
        for m in _ROWS:
            shapes.append(Shape(m, n, k, "bf16", "dense"))
            if place % 4 == 0:
                shapes.append(Shape(m, n, k, "fp16", "dense"))
            if m >= 64 and n % 64 == 0 and k % 64 == 0:
                shapes.append(Shape(m, n, k, "bf16", "2:4"))
    return shapes


def rotations(shape: Shape, copies: int, free_bytes: int) -> int:
    """How many weights fit in half of the free memory, beside input and output; at least one."""
    weight = 2 * shape.n * shape.k
    other = 2 * shape.m * (shape.n + shape.k)
    return max(1, min(copies, (free_bytes // 2 - other) // weight))


def measure_command(out: Path, settings: Settings | None = None) -> int:
    """Measure and write the table; 2 with one clear line where nothing can be measured."""
    try:
        rows = measure(out, settings or Settings())
    except MeasureError as error:
        print(f"weft measure: {error}", file=sys.stderr)
        return 2
    print(f"{rows} measurements in {out}", file=sys.stderr)
    return 0


def measure(out: Path, settings: Settings) -> int:
    """Time every shape and step, writing each row as it comes; returns how many.

    Raises:
        MeasureError: no torch, no CUDA device, or the file cannot be written.
    """
    torch = _torch()
    shapes = default_shapes()[: settings.limit]
    rows = 0
    try:
        stream = out.open("w", newline="")
    except OSError as error:
        raise MeasureError(f"cannot write {out}: {error.strerror}") from error
    with stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in _all(torch, shapes, settings):
            writer.writerow(_cells(row))
            stream.flush()
            rows += 1
    return rows


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise MeasureError("needs torch with CUDA; torch is not installed") from None
    if not torch.cuda.is_available():
        raise MeasureError(
            f"needs an NVIDIA GPU and torch with CUDA; torch {torch.__version__} sees no GPU"
        )
    return torch


def _cells(row: Measurement) -> dict[str, object]:
    cells: dict[str, object] = asdict(row)
    cells["time_us"] = f"{row.time_us:.4f}"
    cells["spread"] = f"{row.spread:.4f}"
    cells["watts"] = "" if row.watts is None else f"{row.watts:.1f}"
    return cells


def _all(torch: Any, shapes: Sequence[Shape], settings: Settings) -> Iterator[Measurement]:
    meter = _meter(torch)
    for number, shape in enumerate(shapes):
        _progress(number, len(shapes))
        row = _tried(lambda shape=shape: _product(torch, shape, settings, meter), str(shape))
        if row is not None:
            yield row
        torch.cuda.empty_cache()
    for model in settings.models if settings.steps else ():
        for sparsity in ("dense", "2:4"):
            row = _tried(
                lambda model=model, sparsity=sparsity: _step(
                    torch, model, sparsity, settings, meter
                ),
                f"{model} {sparsity}",
            )
            if row is not None:
                yield row
            torch.cuda.empty_cache()


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done}/{total} products", end="", file=sys.stderr)


def _tried(work: Callable[[], Measurement], what: str) -> Measurement | None:
    """One measurement; what the GPU or its libraries refuse is told and left out."""
    try:
        return work()
    except (RuntimeError, NotImplementedError, ImportError, AttributeError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        print(f"left out {what}: {line}", file=sys.stderr)
        return None


def _graph(torch: Any, work: Callable[[], object]) -> Any:
    """``work`` recorded as a CUDA graph, after three runs of warming up on a side stream."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph


def _times_us(torch: Any, run: Callable[[], object], replays: int) -> list[float]:
    """Microseconds of each of ``replays`` runs, after three that do not count."""
    for _ in range(3):
        run()
    times: list[float] = []
    for _ in range(replays):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(1e3 * start.elapsed_time(end))
    return times


def _spread(times: Sequence[float]) -> float:
    """Mean distance from the median, over the median."""
    middle = statistics.median(times)
    return statistics.fmean(abs(value - middle) for value in times) / middle


def _meter(torch: Any) -> Callable[[], float] | None:
    """Joules that the board has drawn so far, or None where NVML does not tell."""
    try:
        import pynvml  # pyright: ignore[reportMissingImports]

        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:
        print("no power: pynvml is not installed or the board does not count energy",
              file=sys.stderr)  # fmt: skip
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3


def _watts(
    torch: Any, run: Callable[[], object], seconds: float, meter: Callable[[], float] | None
) -> float | None:
    """Mean power over ``seconds`` of running on; the counter moves every 20 to 100 ms."""
    if meter is None or seconds <= 0:
        return None
    torch.cuda.synchronize()
    start, before = time.perf_counter(), meter()
    while time.perf_counter() - start < seconds:
        for _ in range(10):
            run()
        torch.cuda.synchronize()
    return (meter() - before) / (time.perf_counter() - start)


def _row(
    torch: Any, what: str, name: str, shape: Shape, batch: int, times: Sequence[float],
    watts: float | None, copies: int,
) -> Measurement:  # fmt: skip
    return Measurement(
        what, name, shape.m, shape.n, shape.k, batch, shape.dtype, shape.sparsity,
        statistics.median(times), _spread(times), watts, copies,
        torch.cuda.get_device_name(), torch.__version__, torch.version.cuda or "",
    )  # fmt: skip


def _sparse(torch: Any, weight: Any) -> Any:
    """A weight with two of four kept by position, as a cuSPARSELt tensor."""
    mask = torch.tensor([1, 1, 0, 0], device=weight.device, dtype=weight.dtype)
    kept = weight * mask.repeat(weight.shape[0], weight.shape[1] // 4)
    return torch.sparse.to_sparse_semi_structured(kept)


def _product(
    torch: Any, shape: Shape, settings: Settings, meter: Callable[[], float] | None
) -> Measurement:
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[shape.dtype]
    copies = rotations(shape, settings.copies, torch.cuda.mem_get_info()[0])
    inputs = torch.randn(shape.m, shape.k, device="cuda", dtype=dtype)
    weights = [
        torch.randn(shape.n, shape.k, device="cuda", dtype=dtype) / shape.k**0.5
        for _ in range(copies)
    ]
    if shape.sparsity == "2:4":
        torch.sparse.SparseSemiStructuredTensor._FORCE_CUTLASS = False
        weights = [_sparse(torch, weight) for weight in weights]

    def work() -> None:
        for weight in weights:
            torch.nn.functional.linear(inputs, weight)

    with torch.no_grad():
        graph = _graph(torch, work)
        times = [value / copies for value in _times_us(torch, graph.replay, settings.replays)]
        watts = _watts(torch, graph.replay, settings.power_s, meter)
    return _row(torch, "product", "", shape, 1, times, watts, copies)


def _prune_linear(torch: Any, model: Any) -> int:
    """Feed-forward and projection weights made 2:4 in every forward pass; returns how many.

    PyTorch's own kernel chooses and compresses both ways at once, so that the input's gradient is
    a 2:4 product as well; the weight's gradient is dense.
    """
    sparse = torch.sparse.SparseSemiStructuredTensorCUSPARSELT

    class Choose(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, weight: Any) -> Any:
            return sparse.prune_dense_static_sort(weight.detach())

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            return gradient

    def forward(layer: Any, inputs: Any) -> Any:
        weight = Choose.apply(layer.weight.to(torch.bfloat16))
        bias = None if layer.bias is None else layer.bias.to(torch.bfloat16)
        return torch.nn.functional.linear(inputs.to(torch.bfloat16), weight, bias)

    changed = 0
    for layer in model.modules():
        fits = isinstance(layer, torch.nn.Linear) and not (
            layer.in_features % 128 or layer.out_features % 128
        )
        if fits:
            layer.forward = forward.__get__(layer)
            changed += 1
    return changed


def _step(
    torch: Any, name: str, sparsity: str, settings: Settings, meter: Callable[[], float] | None
) -> Measurement:
    """A training step of a zoo model in bf16 autocast with a fused optimizer, run eagerly."""
    from weft.subject import find_subject

    built = find_subject(name, None, None).build()
    model, inputs, *rest = built
    model = model.cuda().train()
    inputs = torch.utils._pytree.tree_map(
        lambda value: value.cuda() if isinstance(value, torch.Tensor) else value, inputs
    )
    if sparsity == "2:4" and not _prune_linear(torch, model):
        raise RuntimeError("no linear layer with sizes in multiples of 128")
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    loss_fn = rest[0] if rest else None

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            loss = _loss(torch, model, inputs, loss_fn)
        loss.backward()
        optimizer.step()

    times = _times_us(torch, run, settings.replays)
    watts = _watts(torch, run, max(settings.power_s, 2.0) if settings.power_s else 0.0, meter)
    shape = Shape(0, 0, 0, "bf16", sparsity)
    return _row(torch, "step", name, shape, _samples(torch, inputs), times, watts, 1)


def _loss(torch: Any, model: Any, inputs: Any, loss_fn: Any) -> Any:
    """The loss that a trace of the same model uses."""
    from weft.mapper.tracing.loss import default_loss

    given = inputs if isinstance(inputs, (tuple, dict)) else (inputs,)
    output = model(**given) if isinstance(given, dict) else model(*given)
    return loss_fn(output) if loss_fn is not None else default_loss(output)


def _samples(torch: Any, inputs: Any) -> int:
    tensors = [
        value
        for value in torch.utils._pytree.tree_leaves(inputs)
        if isinstance(value, torch.Tensor)
    ]
    return tensors[0].shape[0] if tensors else 1
