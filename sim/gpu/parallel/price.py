"""A training step laid out over many GPUs: time, parts, memory and traffic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from weft.sim.gpu.parallel.layout import Layout, divisors
from weft.sim.gpu.parallel.memory import Memory, memory_of, refuse
from weft.sim.gpu.parallel.schedule import StageTimes, makespan
from weft.sim.gpu.parallel.shard import Share, share_of
from weft.sim.gpu.prediction.attention import find_attention
from weft.sim.gpu.prediction.constants import ConstantSet
from weft.sim.gpu.prediction.link import Cluster, collective_s
from weft.sim.gpu.prediction.machine import GpuMachine, load_gpu
from weft.sim.gpu.prediction.overlap import exchange
from weft.sim.gpu.prediction.recompute import recomputed_share
from weft.sim.gpu.prediction.settings import GpuSettings
from weft.sim.gpu.prediction.step import PARTS, GpuItem, GpuRun, StepContext, price_items
from weft.sim.workload import Product, Stage, VectorOp, Workload

__all__ = ["LayoutRun", "best_layout", "simulate_layout"]


@dataclass(frozen=True)
class LayoutRun:
    """One GPU's run (the busiest pipeline rank's items), the layout and its memory."""

    run: GpuRun
    layout: Layout
    memory: Memory
    micro_batches: int


@dataclass
class _Chunk:
    """Seconds of one micro-batch in one chunk of layers."""

    forward_s: float = 0.0
    backward_s: float = 0.0
    weights_s: float = 0.0
    exchanged_s: float = 0.0
    once_s: float = 0.0
    parts_s: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def busy_s(self) -> float:
        return self.forward_s + self.backward_s + self.weights_s

    def add(self, part: str, seconds: float) -> None:
        self.parts_s[part] = self.parts_s.get(part, 0.0) + seconds


def simulate_layout(
    workload: Workload, gpu: str | GpuMachine, layout: Layout, *,
    settings: GpuSettings | None = None, cluster: Cluster | None = None,
    constants: Mapping[str, ConstantSet] | None = None, fits: bool = True,
) -> LayoutRun:  # fmt: skip
    """Price a step of ``workload``, the batch of one data rank, as ``layout`` lays it out.

    ``cluster`` says how all GPUs are wired, by default as their maker does. ``fits``: refuse what
    no GPU can hold.

    Raises:
        ValueError: something does not divide, or does not fit.
    """
    machine = load_gpu(gpu) if isinstance(gpu, str) else gpu
    wires = replace(cluster or Cluster.of(machine, layout.gpus), gpus=layout.gpus)
    micros = layout.micro_batches(workload.batch)
    share = share_of(workload, layout, micros)
    shards = layout.data * layout.context
    per_step = replace(settings or GpuSettings(), checkpoint=layout.checkpoint, accumulate=micros)
    sharded = 1 if layout.strategy == "replicated" else shards
    items, context = price_items(share.workload, machine, per_step, constants or {}, sharded)
    memory = memory_of(
        share, layout, micros, _shards(layout, wires), element_bytes=context.element_bytes,
        master_weights=context.settings.master_weights,
        inside=find_attention(share.workload).inside,
    )  # fmt: skip
    if fits:
        refuse(memory, machine, layout)
    chunks = _chunks(share, layout, items, context, wires)
    return LayoutRun(_assembled(workload, share, layout, items, chunks, context, wires, micros),
                     layout, memory, micros)  # fmt: skip


def _shards(layout: Layout, wires: Cluster) -> int:
    """GPUs that share what a strategy shards."""
    every = layout.data * layout.context
    group = wires.group(every, layout.tensor)
    return min(every, group.node_gpus) if layout.strategy == "hsdp" else every


def _chunks(
    share: Share, layout: Layout, items: list[GpuItem], context: StepContext, wires: Cluster
) -> list[_Chunk]:
    count = layout.pipeline * layout.virtual
    chunks = [_Chunk() for _ in range(count)]
    again = recomputed_share(
        share.workload, layout.checkpoint, {item.position: item.part for item in items}
    )
    for item in items:
        seconds = item.time_us * 1e-6
        if item.position >= len(share.blocks):
            for chunk in chunks:  # casts of all weights, each chunk its own
                chunk.add(item.part, seconds / count)
                chunk.forward_s += seconds / count
            continue
        chunk = chunks[share.blocks[item.position] * count // share.count]
        source = share.workload.items[item.position]
        more = again.get(item.position, 0.0)
        chunk.add(item.part, seconds * (1 + more))
        if not isinstance(source, Product | VectorOp):
            chunk.once_s += seconds
        elif source.stage is Stage.FF:
            chunk.forward_s += seconds
            chunk.backward_s += seconds * more
        elif source.stage is Stage.WU:
            chunk.weights_s += seconds
        else:
            chunk.backward_s += seconds
        waits, moved = _exchanged(item, share, layout, context, wires)
        if moved:
            chunk.exchanged_s += moved * (1 + more)
            chunk.add("exposed_communication", waits * (1 + more))
            forward = isinstance(source, Product) and source.stage is Stage.FF
            chunk.forward_s += waits if forward else 0.0
            chunk.backward_s += waits * more if forward else waits
    return chunks


def _exchanged(
    item: GpuItem, share: Share, layout: Layout, context: StepContext, wires: Cluster
) -> tuple[float, float]:
    """Seconds that an item waits for its peers, and seconds of what they exchange."""
    at, width = item.position, context.vector_bytes
    waits = moved = 0.0
    tensor = wires.group(layout.tensor, 1)
    for elements, kind in ((share.gathers.get(at), "gather"), (share.sums.get(at), "reduce")):
        if elements:
            each = collective_s(kind, elements * width, tensor)
            hidden = min(item.time_us * 1e-6, each * (1 - 1 / layout.tensor))
            waits += each - (hidden if layout.async_tensor else 0.0)
            moved += each
    if at in share.keys:
        ring = wires.group(layout.context, layout.tensor)
        each = collective_s("gather", share.keys[at] * width, ring)
        waits += max(each / layout.context, each - item.time_us * 1e-6)
        moved += each
    if at in share.tokens:
        peers = wires.group(layout.expert, layout.tensor)
        each = 2.0 * collective_s("gather", share.tokens[at] * width, peers)
        waits, moved = waits + each, moved + each
    return waits, moved


def _assembled(
    workload: Workload, share: Share, layout: Layout, items: list[GpuItem], chunks: list[_Chunk],
    context: StepContext, wires: Cluster, micros: int,
) -> GpuRun:  # fmt: skip
    """The whole step: the pipeline, then what travels once, then the update."""
    ranks = layout.pipeline
    by_rank = [[c for at, c in enumerate(chunks) if at % ranks == rank] for rank in range(ranks)]
    busiest = max(by_rank, key=lambda own: sum(chunk.busy_s for chunk in own))
    parts = dict.fromkeys(PARTS, 0.0)
    for chunk in busiest:
        for part, seconds in chunk.parts_s.items():
            parts[part] += micros * seconds
    busy = micros * sum(chunk.busy_s for chunk in busiest)
    if ranks > 1:
        stride = layout.gpus // ranks
        near = wires.node_gpus > stride
        rate = wires.link_bytes_s if near else wires.network_bytes_s
        latency = wires.link_latency_s if near else wires.network_latency_s
        send = share.boundary * context.vector_bytes / layout.tensor / (rate * wires.efficiency)
        times = [StageTimes(c.forward_s, c.backward_s, c.weights_s, send + latency)
                 for c in chunks]  # fmt: skip
        total = makespan(layout.schedule, times, ranks, micros, layout.virtual)
        parts["pipeline_bubble"] = max(0.0, total - busy)
        context.note(f"{layout.schedule} over {ranks} ranks, {micros} micro-batches: "
                     f"{parts['pipeline_bubble']:.3g} s of bubble")  # fmt: skip
    moved = micros * sum(chunk.exchanged_s for chunk in busiest)
    moved, parts = _data_parallel(layout, share, busiest, context, wires, micros, moved, parts)
    time_s = sum(parts.values())
    macs = workload.macs_dense * layout.data // layout.gpus
    idle = context.power.constants.idle * context.gpu.power_limit_w
    energy = micros * sum(item.energy_j for item in items) / ranks
    energy += idle * max(0.0, time_s - busy)
    return GpuRun(
        context.gpu.name, workload.model, workload.batch, layout.gpus,
        context.settings, tuple(items), time_s, energy,
        micros * sum(item.memory_bytes for item in items) / ranks, macs,
        micros * sum(item.macs_done for item in items) // ranks,
        2.0 * macs / max(time_s, 1e-12) / context.peak_flop_s, moved,
        parts["exposed_communication"], tuple(context.notes), parts, workload.batch * layout.data,
    )  # fmt: skip


def _data_parallel(
    layout: Layout, share: Share, busiest: list[_Chunk], context: StepContext, wires: Cluster,
    micros: int, moved: float, parts: dict[str, float],
) -> tuple[float, dict[str, float]]:  # fmt: skip
    """Parameters and gradients between data ranks, beside what hides them."""
    ranks = layout.data * layout.context
    if ranks == 1:
        return moved, parts
    settings = context.settings
    beside = 4.0 if settings.master_weights else context.element_bytes
    own = replace(share.workload, parameters=share.workload.parameters // layout.pipeline)
    found = exchange(
        own, wires.group(ranks, layout.tensor), layout.strategy,
        forward_s=sum(chunk.forward_s for chunk in busiest),
        backward_s=sum(chunk.backward_s + chunk.weights_s for chunk in busiest),
        parameter_bytes=context.element_bytes,
        gradient_bytes=settings.gradient_bytes or beside, accumulate=micros, gpu=context.gpu,
        layers=max(1, share.count // layout.pipeline),
    )  # fmt: skip
    times = 1 if layout.pipeline > 1 and layout.strategy not in ("replicated", "zero1") else micros
    for note in found.notes:
        context.note(note)
    parts["exposed_communication"] += times * found.exposed_s
    return moved + times * found.total_s, parts


def _candidates(
    layout: Layout, workload: Workload, wires: Cluster, blocks: int, heads: int
) -> Iterator[Layout]:
    """Layouts of the same GPUs: what was asked for stays, the rest varies."""
    tensors = [layout.tensor] if layout.tensor > 1 else [
        t for t in divisors(max(heads, 1)) if t <= wires.node_gpus and layout.gpus % t == 0
    ]  # fmt: skip
    for tensor in tensors:
        rest = layout.gpus // tensor
        pipelines = [layout.pipeline] if layout.pipeline > 1 else [
            p for p in divisors(blocks) if rest % p == 0 and p <= 16
        ]  # fmt: skip
        for pipeline in pipelines:
            for micro in {layout.micro_batch} - {0} or {1, workload.batch}:
                for checkpoint in ("none", "full"):
                    try:
                        yield replace(layout, tensor=tensor, pipeline=pipeline, micro_batch=micro,
                                      checkpoint=checkpoint)  # fmt: skip
                    except ValueError:
                        continue


def best_layout(
    workload: Workload, gpu: str | GpuMachine, layout: Layout, *,
    settings: GpuSettings | None = None, cluster: Cluster | None = None,
    constants: Mapping[str, ConstantSet] | None = None,
) -> LayoutRun:  # fmt: skip
    """The layout with the highest throughput that fits; degrees above 1 stay as given.

    Raises:
        ValueError: none fits; the refusal of the one that came nearest is told.
    """
    machine = load_gpu(gpu) if isinstance(gpu, str) else gpu
    wires = replace(cluster or Cluster.of(machine, layout.gpus), gpus=layout.gpus)
    probe = share_of(workload, Layout(checkpoint="full"), 1)
    heads = max((p.batch // workload.batch for p in workload.products
                 if p.op.startswith("attention") or ":qk" in p.name), default=1)  # fmt: skip
    best: LayoutRun | None = None
    refusal = "no layout divides"
    for candidate in _candidates(layout, workload, wires, probe.count, heads):
        try:
            found = simulate_layout(workload, machine, candidate, settings=settings,
                                    cluster=cluster, constants=constants)  # fmt: skip
        except ValueError as error:
            refusal = str(error)
            continue
        if best is None or found.run.samples_per_s > best.run.samples_per_s:
            best = found
    if best is None:
        raise ValueError(f"tune: nothing fits {layout.gpus} GPUs; the last tried {refusal}")
    return best
