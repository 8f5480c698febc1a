"""Measured operators beside predicted ones: products, attention, and sweeps over memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod

from weft.sim.gpu.prediction.attention_rates import DEFAULT_KERNELS, attention_flop_s
from weft.sim.gpu.prediction.constants import ConstantSet, load_constants
from weft.sim.gpu.prediction.machine import GpuMachine, load_gpu
from weft.sim.gpu.prediction.predict import ProductTable, predict
from weft.sim.gpu.prediction.vector import Stream, stream_us
from weft.sim.gpu.profiled.kineto import Launched

__all__ = ["Beside", "beside"]

_TYPES = {
    "c10::BFloat16": ("bf16", 2), "c10::Half": ("fp16", 2), "float": ("fp32", 4),
    "c10::Float8_e4m3fn": ("fp8", 1), "c10::Float8_e5m2": ("fp8", 1), "signed char": ("int8", 1),
    "double": ("fp32", 8), "long int": ("fp32", 8), "int": ("fp32", 4), "bool": ("fp32", 1),
}  # fmt: skip
"""Kineto's names of element types: the products' type, and bytes."""

_PRODUCTS = {"mm": (0, 1), "addmm": (1, 2), "bmm": (0, 1), "baddbmm": (1, 2), "_scaled_mm": (0, 1)}
"""Which inputs of a product operator are multiplied."""


@dataclass(frozen=True)
class Beside:
    """Calls of an operator on the same sizes: measured and predicted time of all together, us.

    ``predicted_us`` is None where the model has nothing to say, and ``why`` says so.
    """

    op: str
    shapes: str
    calls: int
    measured_us: float
    predicted_us: float | None
    kind: str
    why: str = ""

    def to_json(self) -> dict[str, object]:
        """As plain data."""
        return asdict(self)


def beside(
    launched: Iterable[Launched], gpu: str, constants: Mapping[str, ConstantSet] | None = None
) -> list[Beside]:
    """Every operator of a trace beside its prediction on ``gpu``, longest first."""
    machine = load_gpu(gpu)
    groups: dict[tuple[object, ...], list[Launched]] = {}
    for entry in launched:
        groups.setdefault((entry.op, entry.shapes, entry.types), []).append(entry)
    rows = [_row(own, machine, constants or {}) for own in groups.values()]
    return sorted(rows, key=lambda row: -row.measured_us)


def _row(
    calls: Sequence[Launched], gpu: GpuMachine, constants: Mapping[str, ConstantSet]
) -> Beside:
    first = calls[0]
    measured = sum(call.time_us for call in calls)
    kind, each, why = _predicted(first, gpu, constants)
    shapes = " ".join("x".join(map(str, shape)) for shape in first.shapes if shape)
    total = None if each is None else each * len(calls)
    return Beside(first.op, shapes, len(calls), measured, total, kind, why)


def _predicted(
    entry: Launched, gpu: GpuMachine, constants: Mapping[str, ConstantSet]
) -> tuple[str, float | None, str]:
    """Kind, time of a call (us), and why there is none."""
    name = entry.op.removeprefix("aten::")
    if any("nccl" in kernel.lower() for kernel in entry.kernels):
        return "communication", None, "a collective: its group is not in the trace"
    if not entry.shapes:
        return "other", None, "no input sizes; record with record_shapes=True"
    if name in _PRODUCTS:
        return _product(name, entry, gpu, constants)
    if "attention" in name:
        return _attention(name, entry, gpu)
    if "convolution" in name:
        return "products", None, "a convolution: its padding is not among its sizes"
    moved = sum(prod(shape) * _bytes(entry, at) for at, shape in enumerate(entry.shapes) if shape)
    widest = max((prod(shape) * _bytes(entry, at) for at, shape in enumerate(entry.shapes)
                  if shape), default=0)  # fmt: skip
    if not moved:
        return "other", None, "inputs are single numbers"
    values = constants.get("cublas") or load_constants(gpu)
    time_us = stream_us(Stream(float(moved + widest), 0.0), gpu, values.constants)
    return "elementwise", time_us, ""


def _bytes(entry: Launched, at: int) -> int:
    kind = entry.types[at] if at < len(entry.types) else ""
    return _TYPES.get(kind, ("", 2))[1]


def _product(
    name: str, entry: Launched, gpu: GpuMachine, constants: Mapping[str, ConstantSet]
) -> tuple[str, float | None, str]:
    at, to = _PRODUCTS[name]
    if len(entry.shapes) <= to or min(len(entry.shapes[at]), len(entry.shapes[to])) < 2:
        return "products", None, "sizes of its operands are missing"
    left, right = entry.shapes[at], entry.shapes[to]
    batch = left[0] if len(left) == 3 else 1
    sizes = (left[-2], right[-1], left[-1], batch)
    if min(sizes) < 1:
        return "products", 0.0, ""
    dtype = _TYPES.get(entry.types[at] if at < len(entry.types) else "", ("bf16", 2))[0]
    try:
        gpu.rate_flop_clk_sm(dtype)
    except ValueError as error:
        return "products", None, str(error)
    m, n, k, b = ([float(size)] for size in sizes)
    table = ProductTable.of(m, n, k, b, dtype=dtype)
    found = predict(table, gpu, constants=constants, sustained=True, weight_copies=float("inf"))
    return "products", float(found.time_us[0]), ""


def _attention(name: str, entry: Launched, gpu: GpuMachine) -> tuple[str, float | None, str]:
    backward = "backward" in name
    wide = [shape for shape in entry.shapes if len(shape) == 4]
    if len(wide) < (4 if backward else 3):
        return "attention", None, "sizes of its heads are missing"
    query, key = wide[1 if backward else 0], wide[2 if backward else 1]
    by_head = name.startswith("_scaled")
    heads, rows = (query[1], query[2]) if by_head else (query[2], query[1])
    columns = key[2] if by_head else key[1]
    flop = (5 if backward else 2) * 2.0 * query[0] * heads * rows * columns * query[-1]
    kernel = DEFAULT_KERNELS[gpu.architecture]
    for known in ("cudnn", "efficient"):
        if known in name:
            kernel = "cudnn" if known == "cudnn" else "flash1"
    rate = attention_flop_s(
        kernel, gpu.architecture, gpu.peak_flop_s("fp16"), size=query[-1], length=max(1, columns),
        backward=backward, causal=False,
    )  # fmt: skip
    return "attention", 1e6 * flop / rate, "taken without a causal mask, which halves it"
