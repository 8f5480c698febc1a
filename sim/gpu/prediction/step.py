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
from weft.sim.gpu.prediction.attention_rates import DEFAULT_KERNELS
from weft.sim.gpu.prediction.constants import ConstantSet, load_constants
from weft.sim.gpu.prediction.conv import (
    direct_us,
    implicit_sizes,
    is_turned,
    on_cuda_cores,
    turned_stream,
    why_dense,
)
from weft.sim.gpu.prediction.fusion import VectorCost, vector_costs
from weft.sim.gpu.prediction.kernel import KernelKind, KernelTimes, Products, kernel_times
from weft.sim.gpu.prediction.link import Cluster
from weft.sim.gpu.prediction.machine import GpuMachine, load_gpu
from weft.sim.gpu.prediction.overlap import Exchange, exchange
from weft.sim.gpu.prediction.power import PowerSet, activity, board_power, load_power
from weft.sim.gpu.prediction.predict import ELEMENT_BYTES, kernel_kind
from weft.sim.gpu.prediction.recompute import recomputed_share
from weft.sim.gpu.prediction.settings import GpuSettings
from weft.sim.gpu.prediction.vector import (
    ROW_KERNELS,
    ROW_SHARE,
    Stream,
    mask_stream,
    stream_us,
    update_stream,
)
from weft.sim.workload import MaskWork, Product, Stage, UpdateOp, VectorOp, Workload

__all__ = [
    "PARTS",
    "GpuItem",
    "GpuRun",
    "GpuSettings",
    "StepContext",
    "price_items",
    "simulate_step",
]

PARTS = (
    "products", "attention", "elementwise", "optimizer", "exposed_communication", "host",
    "pipeline_bubble",
)  # fmt: skip
"""What the time of a step is made of. Launches wait inside the parts; "host" is what they add
beyond."""


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

    @property
    def part(self) -> str:
        """The part of the step's time that it belongs to."""
        if self.ran == "attention":
            return "attention"
        if self.m is not None:
            return "products"
        return "optimizer" if self.stage == "optimizer" else "elementwise"


@dataclass(frozen=True)
class GpuRun:
    """One step on one GPU of ``gpus``; energies and bytes are that GPU's.

    ``model_flop_utilization`` is two operations per dense multiply-accumulate of the workload
    (recomputed ones not counted) over time and datasheet peak. ``communication_s`` is all traffic,
    ``exposed_s`` the part of ``time_s`` that waits for it; ``parts_s`` are the seconds of each of
    ``PARTS``, recomputed items where they belong; their sum is ``time_s``.
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
    parts_s: Mapping[str, float] = field(default_factory=dict[str, float])
    samples: int = 0

    @property
    def samples_per_s(self) -> float:
        """Samples of all GPUs together: ``samples``, or else each GPU's ``batch``."""
        return (self.samples or self.batch * self.gpus) / self.time_s

    def stage_s(self) -> Mapping[str, float]:
        """Seconds by stage; vector ops, optimizer and masks have their own."""
        found: dict[str, float] = {}
        for item in self.items:
            found[item.stage] = found.get(item.stage, 0.0) + item.time_us * 1e-6
        return found


@dataclass
class StepContext:
    """What pricing the items of one step shares, and what it has to say."""

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

    @property
    def attention_kernel(self) -> str:
        chosen = self.settings.attention
        return DEFAULT_KERNELS[self.gpu.architecture] if chosen == "auto" else chosen

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
    updates = cluster.gpus if cluster is not None and strategy != "replicated" else 1
    items, context = price_items(workload, machine, chosen, constants or {}, updates)
    return _run(workload, items, context, cluster, strategy)


def price_items(
    workload: Workload, machine: GpuMachine, chosen: GpuSettings,
    constants: Mapping[str, ConstantSet], update_gpus: int = 1,
) -> tuple[list[GpuItem], StepContext]:  # fmt: skip
    """Every item of a workload priced, and casts after them; updates are ``update_gpus`` GPUs'."""
    if chosen.dtype == "auto":
        chosen = replace(chosen, dtype="bf16" if machine.bf16_flop_clk_sm else "fp16")
    machine.rate_flop_clk_sm(chosen.dtype)
    context = _context(machine, chosen, constants, workload)
    context.update_gpus = update_gpus
    attention = AttentionParts()
    if context.attention_kernel != "math":
        attention = find_attention(workload)
    if attention.products:
        context.note(f"attention by {context.attention_kernel}")
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
    return items, context


def _context(
    gpu: GpuMachine, settings: GpuSettings, given: Mapping[str, ConstantSet], workload: Workload
) -> StepContext:
    dense = given.get("cublas") or load_constants(gpu, "cublas")
    wanted = any(not product.pattern.is_dense for product in workload.products)
    sparse = None
    if wanted and gpu.sparse_ratio > 1:
        sparse = given.get("cusparselt") or load_constants(gpu, "cusparselt")
        launch = min(dense.constants.launch_us, sparse.constants.launch_us)
        sparse = replace(sparse, constants=replace(sparse.constants, launch_us=launch))
    context = StepContext(gpu, settings, dense, sparse, load_power(gpu))
    for values in (dense, sparse):
        if values is not None and values.inherited_from:
            context.note(f"{values.library} constants inherited from {values.inherited_from}")
    if context.power.inherited_from:
        context.note(f"power constants inherited from {context.power.inherited_from}")
    return context


def _products(
    workload: Workload, attention: AttentionParts, context: StepContext
) -> dict[int, GpuItem]:
    """Every product priced, by position."""
    plain: list[int] = []
    sparse: list[int] = []
    found: dict[int, GpuItem] = {}
    small: dict[str, set[str]] = {}
    for position, item in enumerate(workload.items):
        if not isinstance(item, Product):
            continue
        if position in attention.products:
            found[position] = _attention(position, item, attention, context)
            continue
        reason = why_dense(item, context.gpu, context.settings.dtype)
        if reason.startswith("sizes"):
            small.setdefault(reason, set()).add(item.name)
        else:
            context.note(reason)
        is_dense = bool(reason) or item.pattern.is_dense or not item.sparse_operand
        (plain if is_dense else sparse).append(position)
    for reason, names in small.items():
        context.note(f"2:4 runs dense, {reason}: {_listed(names)}")
    wide, chosen = _wide(workload, plain, context), context.settings.dtype
    whole = _unsplit(workload, plain)
    for positions, is_sparse, dtype, splits in (
        ([at for at in plain if at not in wide and at not in whole], False, chosen, True),
        ([at for at in plain if at in wide], False, "bf16", True),
        ([at for at in plain if at in whole], False, chosen, False),
        (sparse, True, chosen, True),
    ):
        if positions:
            kind = kernel_kind(context.gpu, dtype, sparse=is_sparse, weight_copies=float("inf"))
            found |= _kernels(workload, positions, replace(kind, splits=splits), context, is_sparse)
    if sparse:
        kind = kernel_kind(context.gpu, chosen, sparse=False, weight_copies=float("inf"))
        dense = _kernels(workload, sparse, kind, context, False)
        slow = {found[at].name for at in sparse if found[at].time_us > dense[at].time_us}
        if slow:
            context.note(f"2:4, and dense would be faster: {_listed(slow)}")
    return found


def _wide(workload: Workload, positions: Sequence[int], context: StepContext) -> set[int]:
    """Products of the last layer, which 8-bit recipes leave in 16 bits (torchao's and
    torchtitan's filter, Transformer Engine's layers)."""
    if context.element_bytes >= 2:
        return set()
    last = ""
    for item in workload.products:
        if item.stage is Stage.FF and item.right.parameter:
            last = item.name
    return {at for at in positions if last and workload.items[at].name == last}


def _listed(names: set[str]) -> str:
    """Up to eight names, and how many more."""
    shown = sorted(names)[:8]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more


def _unsplit(workload: Workload, positions: Sequence[int]) -> set[int]:
    """Convolutions whose library kernels never share K: forward and input gradient."""
    return {
        at
        for at in positions
        if isinstance(item := workload.items[at], Product)
        and item.convolution is not None
        and item.stage is not Stage.WU
    }


def _kernels(
    workload: Workload, positions: Sequence[int], kind: KernelKind, context: StepContext,
    sparse: bool,
) -> dict[int, GpuItem]:  # fmt: skip
    """Products through the kernel model, dense or 2:4; a sparse left operand changes sides."""
    values = context.sparse if sparse and context.sparse else context.dense
    products = [item for at in positions if isinstance(item := workload.items[at], Product)]
    every = np.array([_sizes(product, sparse, context.gpu) for product in products], np.float64)
    distinct, which = np.unique(every, axis=0, return_inverse=True)
    sizes, which = distinct.T, which.ravel()
    stored = (sizes[4], sizes[5], sizes[6])
    table = Products(sizes[0], sizes[1], sizes[2], sizes[3], stored)
    times = kernel_times(table, kind, context.gpu, values.constants)
    return {
        at: _product_item(at, product, times, int(row), kind, sparse, context)
        for at, product, row in zip(positions, products, which, strict=True)
    }


def _sizes(product: Product, sparse: bool, gpu: GpuMachine) -> tuple[float, ...]:
    m, n, k = implicit_sizes(product, gpu)
    left, right = product.left.elements, product.right.elements
    if sparse and product.sparse_operand == "left":
        m, n, left, right = n, m, right, left
    return m, n, k, product.batch, left, right, product.output.elements


def _product_item(
    position: int, product: Product, times: KernelTimes, row: int, kind: KernelKind, sparse: bool,
    context: StepContext,
) -> GpuItem:  # fmt: skip
    gpu = context.gpu
    time_us, moved = float(times.time_us[row]), float(times.memory_bytes[row])
    ran = "2:4" if sparse else "dense"
    if on_cuda_cores(product, gpu):
        time_us = direct_us(product, gpu, context.dense.constants.launch_us, moved)
        ran = "CUDA cores"
    elif product.convolution is not None and product.batch > 1:
        direct = direct_us(product, gpu, context.dense.constants.launch_us, moved)
        time_us, ran = (direct, "direct") if direct < time_us else (time_us, ran)
    if ran == "dense" and is_turned(product, gpu, context.settings.layout, context.settings.dtype):
        turned = turned_stream(product, context.vector_bytes)
        time_us += stream_us(turned, gpu, context.dense.constants)
        moved += turned.memory_bytes
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
    position: int, product: Product, attention: AttentionParts, context: StepContext
) -> GpuItem:
    time_us, moved, flop = attention_us(
        product, context.gpu, context.dense.constants, context.attention_flop_s,
        element_bytes=context.vector_bytes, recomputed=position in attention.recomputes,
        kernel=context.attention_kernel, causal=position in attention.causal,
    )  # fmt: skip
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
    context: StepContext,
) -> GpuItem:
    """Vector ops, updates and mask work: sweeps over memory."""
    if isinstance(item, VectorOp) and cost is not None:
        width = item.element_bytes * context.vector_bytes / 2.0
        moved = width * (cost.reads + cost.writes)
        lanes = float(item.elements * item.passes) if moved else 0.0
        slow = item.op in ROW_KERNELS and context.settings.fusion == "eager"
        stream = Stream(moved, lanes, cost.launches, ROW_SHARE if slow else 1.0)
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
    position: int, name: str, stage: str, op: str, stream: Stream, why: str, context: StepContext
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


def _casts(workload: Workload, attention: AttentionParts, context: StepContext) -> list[GpuItem]:
    """What the product type costs beside products, once per step.

    Weights cast to 16 bits and gradients back to 32. For 8-bit products a tensor, operand of two
    products, is read for its largest magnitude ("dynamic"; "delayed" takes that of earlier steps),
    read and written in 8 bits, and written turned around for the second product.
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
        wide = _wide(workload, range(end), context)
        scaled = [
            item.left.elements + item.right.elements
            for position, item in enumerate(workload.items)
            if isinstance(item, Product)
            and position not in attention.products
            and position not in wide
        ]
        narrow = context.element_bytes
        once = {
            "dynamic": 2 * context.vector_bytes + 3 * narrow,
            "delayed": context.vector_bytes + 2 * narrow,
        }[context.settings.scaling]
        moved = once / 2 * sum(scaled)
        stream = Stream(moved, 3.0 * sum(scaled), 4.0 * len(scaled))
        items.append(_stream(end, "operands", "vector", "scale to 8 bits", stream, "", context))
    return items


def _run(
    workload: Workload, items: Sequence[GpuItem], context: StepContext, cluster: Cluster | None,
    strategy: str,
) -> GpuRun:  # fmt: skip
    """The items, once more where the backward pass computes again, host and communication."""
    settings = context.settings
    share = recomputed_share(workload, settings.checkpoint, {i.position: i.part for i in items})
    parts = dict.fromkeys(PARTS, 0.0)
    again_s = {item.position: item.time_us * 1e-6 * share.get(item.position, 0.0) for item in items}
    for item in items:
        parts[item.part] += item.time_us * 1e-6 + again_s[item.position]
    again, busy = sum(again_s.values()), sum(parts.values())
    if again:
        context.note(f"checkpoint {settings.checkpoint}: {again:.3g} s computed again")
    kernels = sum(item.kernels * (1 + share.get(item.position, 0.0)) for item in items)
    parts["host"] = max(0.0, kernels * settings.host_us * 1e-6 - busy)
    if parts["host"]:
        context.note(f"launches bound the step: {kernels:.0f} of {settings.host_us} us")
    traffic = _communication(workload, items, again, context, cluster, strategy)
    parts["exposed_communication"] = traffic.exposed_s
    time_s = sum(parts.values())
    macs, gpus = workload.macs_dense, cluster.gpus if cluster else 1
    context.note("optimizer after the backward pass, overlapping with nothing")
    energy_j = sum(item.energy_j for item in items) * (busy / max(busy - again, 1e-12))
    energy_j += (time_s - busy) * context.power.constants.idle * context.gpu.power_limit_w
    return GpuRun(
        context.gpu.name, workload.model, workload.batch, gpus, settings, tuple(items), time_s,
        energy_j, sum(item.memory_bytes for item in items), macs,
        sum(item.macs_done for item in items),
        2.0 * macs / max(time_s, 1e-12) / context.peak_flop_s, traffic.total_s, traffic.exposed_s,
        tuple(context.notes), parts,
    )  # fmt: skip


def _communication(
    workload: Workload, items: Sequence[GpuItem], again: float, context: StepContext,
    cluster: Cluster | None, strategy: str,
) -> Exchange:  # fmt: skip
    """What parameters and gradients cost beside the passes that hide them."""
    if cluster is None or cluster.gpus == 1:
        return Exchange(0.0, 0.0)
    settings = context.settings
    passes = {True: 0.0, False: again}
    for item in items:
        source = workload.items[item.position] if item.position < len(workload.items) else None
        if isinstance(source, Product | VectorOp):
            passes[source.stage is Stage.FF] += item.time_us * 1e-6
    beside = 4.0 if settings.master_weights else context.element_bytes
    found = exchange(
        workload, cluster, strategy, forward_s=passes[True], backward_s=passes[False],
        parameter_bytes=context.element_bytes,
        gradient_bytes=settings.gradient_bytes or beside, accumulate=settings.accumulate,
        gpu=context.gpu,
    )  # fmt: skip
    for note in found.notes:
        context.note(note)
    return found
