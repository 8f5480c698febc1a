"""Time, energy and bytes of one training step on a GPU: the sum over its kernels.

Products go through the kernel model, attention through the fused kernel, everything else through
sweeps over memory. Kernels run one after the other, as on one stream: the optimizer follows the
backward pass and overlaps with nothing. Communication between GPUs overlaps with the pass that
it belongs to, but for the first and last of its pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from weft.sim.gpu.prediction.attention import AttentionParts, attention_us, find_attention
from weft.sim.gpu.prediction.constants import ConstantSet, load_constants
from weft.sim.gpu.prediction.conv import direct_us, implicit_sizes, why_dense
from weft.sim.gpu.prediction.fusion import VectorCost, vector_costs
from weft.sim.gpu.prediction.kernel import KernelKind, KernelTimes, Products, kernel_times
from weft.sim.gpu.prediction.link import Cluster, traffic_s
from weft.sim.gpu.prediction.machine import GpuMachine, load_gpu
from weft.sim.gpu.prediction.power import PowerSet, activity, board_power, load_power
from weft.sim.gpu.prediction.predict import ELEMENT_BYTES, kernel_kind
from weft.sim.gpu.prediction.vector import Stream, mask_stream, stream_us, update_stream
from weft.sim.workload import MaskWork, Product, Stage, UpdateOp, VectorOp, Workload

__all__ = ["GpuItem", "GpuRun", "GpuSettings", "simulate_step"]


@dataclass(frozen=True)
class GpuSettings:
    """How a step runs. ``fusion``: "eager" or "compile". ``dtype`` is that of the products, "auto"
    bf16 where the GPU has it and else fp16.

    ``sustained``: under the power cap, as training runs. ``master_weights``: weights are kept in
    FP32 and cast once per step, as automatic mixed precision does. ``fused_optimizer``: one sweep
    per parameter. ``host_us`` is the least time between two launches, 0 where the host runs
    ahead. ``recompute``: activations are computed again in the backward pass. ``accumulate``
    steps share one update, one making of masks and, where replicated, one sum of gradients.
    """

    fusion: str = "eager"
    dtype: str = "auto"
    sustained: bool = True
    master_weights: bool = True
    fused_optimizer: bool = False
    host_us: float = 0.0
    recompute: bool = False
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(f"accumulate is {self.accumulate}; it must be at least 1")


@dataclass(frozen=True)
class GpuItem:
    """One item of the workload as it ran. Sizes are None but for products.

    ``kernels`` is the launches it added, ``memory_bytes`` what crossed the edge of the L2 cache.
    ``ran`` says how: "dense", "2:4", "attention", "stream", or what kernel it rode along in.
    """

    position: int
    name: str
    stage: str
    op: str
    m: int | None
    k: int | None
    n: int | None
    batch: int
    pattern: str
    ran: str
    kernels: float
    time_us: float
    tensor_us: float
    memory_bytes: float
    energy_j: float
    macs_dense: int
    macs_done: int


@dataclass(frozen=True)
class GpuRun:
    """One step on one GPU of ``gpus``; energies and bytes are that GPU's.

    ``model_flop_utilization`` is two operations per dense multiply-accumulate of the workload
    (recomputed ones not counted) over time and datasheet peak. ``communication_s`` is all traffic,
    ``exposed_s`` the part of ``time_s`` that waits for it.
    """

    gpu: str
    model: str
    batch: int
    gpus: int
    settings: GpuSettings
    items: tuple[GpuItem, ...]
    time_s: float
    energy_j: float
    memory_bytes: float
    macs_dense: int
    macs_done: int
    model_flop_utilization: float
    communication_s: float = 0.0
    exposed_s: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def samples_per_s(self) -> float:
        """Samples of all GPUs together, each with ``batch``."""
        return self.batch * self.gpus / self.time_s

    def stage_s(self) -> Mapping[str, float]:
        """Seconds by stage; vector ops, optimizer and masks have their own."""
        found: dict[str, float] = {}
        for item in self.items:
            found[item.stage] = found.get(item.stage, 0.0) + item.time_us * 1e-6
        return found


@dataclass
class _Context:
    gpu: GpuMachine
    settings: GpuSettings
    dense: ConstantSet
    sparse: ConstantSet | None
    power: PowerSet
    update_gpus: int = 1
    notes: list[str] = field(default_factory=list[str])

    @property
    def element_bytes(self) -> float:
        return ELEMENT_BYTES[self.settings.dtype]

    @property
    def vector_bytes(self) -> float:
        """Bytes of an activation outside products: 8-bit products read and write 16-bit ones."""
        return max(2.0, self.element_bytes)

    @property
    def attention_flop_s(self) -> float:
        """Peak of the type that attention runs in: 16 bits beside 8-bit products."""
        return self.gpu.peak_flop_s("fp16" if self.element_bytes < 2 else self.settings.dtype)

    @property
    def peak_flop_s(self) -> float:
        return self.gpu.peak_flop_s(self.settings.dtype)

    def note(self, text: str) -> None:
        if text and text not in self.notes:
            self.notes.append(text)

    def drawn(
        self, time_us: float, flop: float, moved: float, peak: float, blocks: float
    ) -> tuple[float, float]:
        """Time (us) and energy (J) of a kernel at the board's power limit."""
        times = np.array([time_us])
        use = activity(
            times, np.array([flop]), np.array([moved]), np.array([blocks]), peak, self.gpu
        )
        power = board_power(times, use, self.gpu, self.power)
        slowed = float(power.sustained_us[0]) if self.settings.sustained else time_us
        return slowed, float(power.watts[0]) * slowed * 1e-6


def simulate_step(
    workload: Workload,
    gpu: str | GpuMachine,
    *,
    settings: GpuSettings | None = None,
    cluster: Cluster | None = None,
    strategy: str = "replicated",
    constants: Mapping[str, ConstantSet] | None = None,
    **more: object,
) -> GpuRun:
    """Price a traced training step on a GPU.

    ``more`` are fields of :class:`GpuSettings`. With a ``cluster`` the workload is one GPU's
    share and gradients and parameters travel as ``strategy`` says ("replicated", "sharded" or
    "sharded-gradients").

    Raises:
        ValueError: an unknown GPU, fusion, strategy, or a dtype that the GPU lacks.
    """
    machine = load_gpu(gpu) if isinstance(gpu, str) else gpu
    chosen = replace(settings or GpuSettings(), **more)  # type: ignore[arg-type]
    if chosen.dtype == "auto":
        chosen = replace(chosen, dtype="bf16" if machine.bf16_flop_clk_sm else "fp16")
    machine.rate_flop_clk_sm(chosen.dtype)
    context = _context(machine, chosen, constants or {}, workload)
    if cluster is not None and strategy != "replicated":
        context.update_gpus = cluster.gpus
    attention = find_attention(workload)
    costs = vector_costs(workload, chosen.fusion, attention.inside)
    products = _products(workload, attention, context)
    items = [
        products[position]
        if isinstance(item, Product)
        else _other(position, item, costs.get(position), context)
        for position, item in enumerate(workload.items)
    ]
    items += _casts(workload, attention, context)
    for uncosted in workload.uncosted:
        context.note(f"not costed: {uncosted.op} in {uncosted.name} ({uncosted.count} times)")
    return _run(workload, items, context, cluster, strategy)


def _context(
    gpu: GpuMachine, settings: GpuSettings, given: Mapping[str, ConstantSet], workload: Workload
) -> _Context:
    dense = given.get("cublas") or load_constants(gpu, "cublas")
    wanted = any(not product.pattern.is_dense for product in workload.products)
    sparse = None
    if wanted and gpu.sparse_ratio > 1:
        sparse = given.get("cusparselt") or load_constants(gpu, "cusparselt")
        launch = min(dense.constants.launch_us, sparse.constants.launch_us)
        sparse = replace(sparse, constants=replace(sparse.constants, launch_us=launch))
    context = _Context(gpu, settings, dense, sparse, load_power(gpu))
    for values in (dense, sparse):
        if values is not None and values.inherited_from:
            context.note(f"{values.library} constants inherited from {values.inherited_from}")
    if context.power.inherited_from:
        context.note(f"power constants inherited from {context.power.inherited_from}")
    return context


def _products(
    workload: Workload, attention: AttentionParts, context: _Context
) -> dict[int, GpuItem]:
    """Every product priced, by position."""
    plain: list[int] = []
    sparse: list[int] = []
    found: dict[int, GpuItem] = {}
    for position, item in enumerate(workload.items):
        if not isinstance(item, Product):
            continue
        if position in attention.products:
            recomputed = position in attention.recomputes
            found[position] = _attention(position, item, recomputed, context)
            continue
        reason = why_dense(item, context.gpu)
        context.note(reason)
        is_dense = bool(reason) or item.pattern.is_dense or not item.sparse_operand
        (plain if is_dense else sparse).append(position)
    for positions, is_sparse in ((plain, False), (sparse, True)):
        if positions:
            found |= _kernels(workload, positions, is_sparse, context)
    return found


def _kernels(
    workload: Workload, positions: Sequence[int], sparse: bool, context: _Context
) -> dict[int, GpuItem]:
    """Products through the kernel model, dense or 2:4; a sparse left operand changes sides."""
    values = context.sparse if sparse and context.sparse else context.dense
    kind = kernel_kind(
        context.gpu, context.settings.dtype, sparse=sparse, weight_copies=float("inf")
    )
    products = [item for at in positions if isinstance(item := workload.items[at], Product)]
    sizes = np.array([_sizes(product, sparse) for product in products], dtype=np.float64).T
    stored = (sizes[4], sizes[5], sizes[6])
    table = Products(sizes[0], sizes[1], sizes[2], sizes[3], stored)
    times = kernel_times(table, kind, context.gpu, values.constants)
    return {
        at: _product_item(at, products[row], times, row, kind, sparse, context)
        for row, at in enumerate(positions)
    }


def _sizes(product: Product, sparse: bool) -> tuple[float, ...]:
    m, n, k = implicit_sizes(product)
    left, right = product.left.elements, product.right.elements
    if sparse and product.sparse_operand == "left":
        m, n, left, right = n, m, right, left
    return m, n, k, product.batch, left, right, product.output.elements


def _product_item(
    position: int, product: Product, times: KernelTimes, row: int, kind: KernelKind, sparse: bool,
    context: _Context,
) -> GpuItem:  # fmt: skip
    gpu = context.gpu
    time_us, moved = float(times.time_us[row]), float(times.memory_bytes[row])
    ran = "2:4" if sparse else "dense"
    if product.convolution is not None and product.batch > 1:
        direct = direct_us(product, gpu, context.dense.constants.launch_us, moved)
        time_us, ran = (direct, "direct") if direct < time_us else (time_us, ran)
    peak = kind.rate_flop_clk_sm * gpu.sms * gpu.clock_hz
    flop = 2.0 * product.macs_dense
    time_us, energy = context.drawn(time_us, flop, moved, peak, float(times.blocks[row]))
    done = product.macs_dense if not sparse else product.macs_done
    return GpuItem(
        position, product.name, product.stage.value, product.op, product.m, product.k, product.n,
        product.batch, "2:4" if sparse else "dense", ran, 1.0, time_us,
        float(times.tensor_us[row]), moved, energy, product.macs_dense, done,
    )  # fmt: skip


def _attention(
    position: int, product: Product, recomputed: bool, context: _Context
) -> GpuItem:  # fmt: skip
    time_us, moved = attention_us(
        product, context.gpu, context.dense.constants, context.attention_flop_s,
        element_bytes=context.vector_bytes, recomputed=recomputed,
    )  # fmt: skip
    flop = 2.0 * product.macs_dense
    time_us, energy = context.drawn(time_us, flop, moved, context.peak_flop_s, context.gpu.sms)
    return GpuItem(
        position, product.name, product.stage.value, product.op, product.m, product.k, product.n,
        product.batch, "dense", "attention", 0.5, time_us, 0.0, moved, energy,
        product.macs_dense, product.macs_dense,
    )  # fmt: skip


def _other(
    position: int,
    item: Product | VectorOp | UpdateOp | MaskWork,
    cost: VectorCost | None,
    context: _Context,
) -> GpuItem:
    """Vector ops, updates and mask work: sweeps over memory."""
    if isinstance(item, VectorOp) and cost is not None:
        width = item.element_bytes * context.vector_bytes / 2.0
        moved = width * (cost.reads + cost.writes)
        lanes = float(item.elements * item.passes) if moved else 0.0
        stream = Stream(moved, lanes, cost.launches)
        return _stream(position, item.name, "vector", item.op, stream, cost.why, context)
    shared = float(context.settings.accumulate)
    if isinstance(item, MaskWork):
        stream = mask_stream(item, context.gpu, context.element_bytes).shared(shared)
        return _stream(position, item.name, "sore", f"mask {item.pattern}", stream, "", context)
    if not isinstance(item, UpdateOp):
        raise TypeError(f"{type(item).__name__} at {position} is no item of a workload")
    fused = context.settings.fused_optimizer or context.settings.fusion == "compile"
    stream = update_stream(item, fused=fused).shared(shared * context.update_gpus)
    return _stream(position, item.name, "optimizer", item.optimizer, stream, "", context)


def _stream(
    position: int, name: str, stage: str, op: str, stream: Stream, why: str, context: _Context
) -> GpuItem:
    """A sweep as an item."""
    base = stream_us(stream, context.gpu, context.dense.constants)
    time_us, energy = 0.0, 0.0
    if base > 0:
        peak = context.peak_flop_s
        time_us, energy = context.drawn(base, 0.0, stream.memory_bytes, peak, context.gpu.sms)
    return GpuItem(
        position, name, stage, op, None, None, None, 1, "dense", why or "stream", stream.launches,
        time_us, 0.0, stream.memory_bytes, energy, 0, 0,
    )  # fmt: skip


def _casts(workload: Workload, attention: AttentionParts, context: _Context) -> list[GpuItem]:
    """What the product type costs beside products, once per step.

    Weights cast to 16 bits and gradients back to 32; for 8-bit products each operand is read for
    its largest magnitude, read again and written in 8 bits.
    """
    end, items = len(workload.items), list[GpuItem]()
    if context.settings.master_weights and context.vector_bytes < 4:
        parameters = workload.parameters or sum(
            item.elements for item in workload.items if isinstance(item, UpdateOp)
        )
        moved = 2.0 * parameters * (4.0 + context.vector_bytes)
        launches = 2.0 * sum(isinstance(item, UpdateOp) for item in workload.items)
        stream = Stream(moved, 2.0 * parameters, launches)
        items.append(_stream(end, "weights", "vector", "cast weights", stream, "", context))
    if context.element_bytes < 2:
        scaled = [
            item.left.elements + item.right.elements
            for position, item in enumerate(workload.items)
            if isinstance(item, Product) and position not in attention.products
        ]
        moved = (2 * context.vector_bytes + context.element_bytes) * sum(scaled)
        stream = Stream(moved, 3.0 * sum(scaled), 4.0 * len(scaled))
        items.append(_stream(end, "operands", "vector", "scale to 8 bits", stream, "", context))
    return items


def _run(
    workload: Workload, items: Sequence[GpuItem], context: _Context, cluster: Cluster | None,
    strategy: str,
) -> GpuRun:  # fmt: skip
    again = 0.0
    if context.settings.recompute:
        again = sum(item.time_us for item in items if _is_forward(workload, item)) * 1e-6
        context.note("activations computed again in the backward pass: one more forward pass")
    kernels = sum(item.kernels for item in items)
    busy = sum(item.time_us for item in items) * 1e-6 + again
    compute = max(busy, kernels * context.settings.host_us * 1e-6)
    if context.settings.host_us and compute > busy:
        context.note(f"launches bound the step: {kernels:.0f} of {context.settings.host_us} us")
    communication, exposed = _communication(workload, items, again, context, cluster, strategy)
    time_s = compute + exposed
    macs = workload.macs_dense
    gpus = cluster.gpus if cluster else 1
    context.note("optimizer after the backward pass, overlapping with nothing")
    idle = context.power.constants.idle * context.gpu.power_limit_w
    spare = time_s - busy
    return GpuRun(
        context.gpu.name, workload.model, workload.batch, gpus, context.settings, tuple(items),
        time_s, sum(item.energy_j for item in items) * (busy / max(busy - again, 1e-12))
        + spare * idle,
        sum(item.memory_bytes for item in items), macs, sum(item.macs_done for item in items),
        2.0 * macs / max(time_s, 1e-12) / context.peak_flop_s, communication, exposed,
        tuple(context.notes),
    )  # fmt: skip


def _is_forward(workload: Workload, item: GpuItem) -> bool:
    if item.position >= len(workload.items):
        return False
    source = workload.items[item.position]
    return isinstance(source, Product | VectorOp) and source.stage is Stage.FF


def _communication(
    workload: Workload, items: Sequence[GpuItem], again: float, context: _Context,
    cluster: Cluster | None, strategy: str,
) -> tuple[float, float]:  # fmt: skip
    """Seconds of communication, and the part that computing does not hide."""
    if cluster is None or cluster.gpus == 1:
        return 0.0, 0.0
    pieces = max(1, len({p.right.parameter for p in workload.products if p.right.parameter}) // 4)
    traffic = traffic_s(
        strategy, workload.parameters, cluster, parameter_bytes=context.element_bytes,
        gradient_bytes=context.element_bytes, pieces=pieces,
    )  # fmt: skip
    forward = sum(item.time_us for item in items if _is_forward(workload, item)) * 1e-6
    backward = again + sum(
        item.time_us
        for item in items
        if item.position < len(workload.items)
        and isinstance(source := workload.items[item.position], Product | VectorOp)
        and source.stage is not Stage.FF
    ) * 1e-6  # fmt: skip
    traffic = replace(traffic, all_reduce=traffic.all_reduce / context.settings.accumulate)
    late = traffic.backward_gather + traffic.reduce + traffic.all_reduce
    total = traffic.forward_gather + late
    ends = (traffic.forward_gather + traffic.reduce + traffic.all_reduce) / pieces
    hidden = min(traffic.forward_gather, forward) + min(late, backward)
    context.note(
        f"{strategy} over {cluster.gpus} GPUs in {pieces} pieces, {cluster.algorithm} collectives, "
        "overlapped with their pass but for the first and last piece"
    )
    return total, min(total, max(total - hidden, ends))
