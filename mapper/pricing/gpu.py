"""GPUs: a training step as the same result that a SAT machine gives; ``cycles`` are None."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weft.mapper.pricing.machine import Header, Priced, uncosted_ops
from weft.mapper.pricing.settings import GpuSettings
from weft.mapper.sparsity.sparsify import Applied
from weft.sim.gpu.parallel.layout import Layout
from weft.sim.gpu.parallel.price import LayoutRun, best_layout, simulate_layout
from weft.sim.gpu.prediction.constants import ConstantSet, read_constants
from weft.sim.gpu.prediction.link import STRATEGIES, Cluster, read_cluster
from weft.sim.gpu.prediction.machine import load_gpu
from weft.sim.gpu.prediction.settings import GpuSettings as StepSettings
from weft.sim.gpu.prediction.step import PARTS, GpuItem, GpuRun, simulate_step
from weft.sim.results import STAGES, Costs, LayerCost, RunResult
from weft.sim.workload import Workload

__all__ = ["GpuPricing"]


_EVIDENCE = {
    "validated_time": "kernel model fitted to measured products; its errors on shapes it has not "
    "seen, and on published training steps: make bench-gpu",
    "validated_energy": "board power fitted where it was measured (H200, B200), from data sheets "
    "elsewhere: make bench-gpu",
}


@dataclass(frozen=True)
class GpuPricing:
    """GPUs of one kind with their settings."""

    settings: GpuSettings
    pregenerates = True
    notes = ()

    @property
    def hardware(self) -> str:
        return self.settings.hardware

    @property
    def evidence(self) -> Mapping[str, str]:
        return _EVIDENCE

    def check(self) -> None:
        """See ``PricedMachine``."""
        settings = self.settings
        if settings.fusion not in ("eager", "compile"):
            raise ValueError(f"fusion is {settings.fusion!r}; allowed: eager, compile")
        if settings.gpus < 1:
            raise ValueError(f"gpus is {settings.gpus}; it must be at least 1")
        if settings.strategy not in STRATEGIES:
            allowed = ", ".join(STRATEGIES)
            raise ValueError(f"strategy is {settings.strategy!r}; allowed: {allowed}")
        if settings.dtype != "auto":
            load_gpu(settings.hardware).rate_flop_clk_sm(settings.dtype)
        self.constants()
        _layout(settings)
        StepSettings(attention=settings.attention)
        _cluster(settings)

    def constants(self) -> Mapping[str, ConstantSet]:
        """A user's own constants by library; none: those that ship.

        Raises:
            ValueError: a file that cannot be read or does not fit.
        """
        path = self.settings.constants
        return read_constants(Path(path)) if path else {}

    def price(self, steps: Sequence[tuple[Applied, int]], header: Header) -> Priced:
        """See ``PricedMachine``."""
        workloads = [(step.workload, count) for step, count in steps]
        return Priced(_price(workloads, self.settings, self.constants(), header))


def _price(
    steps: Sequence[tuple[Workload, int]],
    settings: GpuSettings,
    constants: Mapping[str, ConstantSet],
    header: Header,
) -> RunResult:
    """Price each distinct step once.

    The result speaks of all GPUs: its batch, energy, bytes and operations are theirs together.
    """
    hardware, gpus = settings.hardware, settings.gpus
    priced = [(_run(workload, settings, constants), times) for workload, times in steps]
    runs = [(found.run, times) for found, times in priced]
    count = sum(times for _, times in runs)
    workload, first = steps[0][0], runs[0][0]
    batch = first.samples or workload.batch * gpus
    samples = batch * count
    layers = _merged(
        _layer(item, times * found.micro_batches, gpus // found.layout.pipeline)
        for found, times in priced
        for item in found.run.items
    )
    return RunResult(
        weft_version=header.weft_version,
        model=header.model,
        recipe=header.recipe,
        pattern=header.pattern,
        hardware=hardware if gpus == 1 else f"{hardware} x{gpus}",
        batch=batch,
        steps=count,
        total=_total(runs, samples, gpus),
        stages={stage: _stage(layers, stage, samples) for stage in STAGES},
        layers=layers,
        uncosted=uncosted_ops(workload),
        energy_by_component_j={"board_j": sum(run.energy_j * times for run, times in runs) * gpus},
        notes=_notes(runs, header, settings),
        provenance={
            **header.provenance,
            "model_flop_utilization": f"{first.model_flop_utilization:.4f}",
            "gpu_settings": str(first.settings),
        },
        machine=_machine(hardware, first.settings.dtype, gpus),
        parts_s={part: sum(run.parts_s[part] * times for run, times in runs) for part in PARTS},
        layout=_shown_layout(priced[0][0]) if _is_laid_out(settings) else {},
    )


def _layout(settings: GpuSettings) -> Layout:
    return Layout(
        settings.gpus, settings.tensor, settings.pipeline, settings.context, settings.expert,
        settings.strategy, settings.micro_batch, settings.schedule, settings.virtual,
        settings.checkpoint,
    )  # fmt: skip


def _cluster(settings: GpuSettings) -> Cluster | None:
    if not settings.cluster:
        return None
    return read_cluster(Path(settings.cluster), load_gpu(settings.hardware), settings.gpus)


def _is_laid_out(settings: GpuSettings) -> bool:
    plain = Layout(strategy=settings.strategy)
    return settings.tune or _layout(settings) != plain


@dataclass(frozen=True)
class _Whole:
    """A step on one GPU, as a layout's result."""

    run: GpuRun
    layout: Layout
    micro_batches: int = 1


def _run(
    workload: Workload, settings: GpuSettings, constants: Mapping[str, ConstantSet]
) -> _Whole | LayoutRun:
    own = StepSettings(
        fusion=settings.fusion, dtype=settings.dtype, attention=settings.attention
    )  # fmt: skip
    if not _is_laid_out(settings):
        run = simulate_step(workload, settings.hardware, settings=own, constants=constants)
        return _Whole(run, _layout(settings))
    price = best_layout if settings.tune else simulate_layout
    return price(workload, settings.hardware, _layout(settings), settings=own,
                 cluster=_cluster(settings), constants=constants)  # fmt: skip


def _shown_layout(found: _Whole | LayoutRun) -> dict[str, object]:
    """The layout, its data ranks, and bytes on the fullest GPU."""
    shown: dict[str, object] = {
        **dataclasses.asdict(found.layout),
        "data": found.layout.data,
        "micro_batches": found.micro_batches,
    }
    if isinstance(found, LayoutRun):
        shown["memory_bytes"] = dict(found.memory.to_json())
    return shown


def _machine(hardware: str, dtype: str, gpus: int) -> dict[str, object]:
    """The board's facts, and its peak for products of ``dtype`` (each GPU's, dense)."""
    gpu = load_gpu(hardware)
    peak = gpu.peak_flop_s(dtype)
    return {**dataclasses.asdict(gpu), "gpus": gpus, "dtype": dtype, "product_flop_s": peak}


def _notes(
    runs: Sequence[tuple[GpuRun, int]], header: Header, settings: GpuSettings
) -> tuple[str, ...]:
    notes = [*header.notes, *(note for run, _ in runs for note in run.notes)]
    if settings.gpus > 1:
        moved = sum(run.communication_s * times for run, times in runs)
        exposed = sum(run.exposed_s * times for run, times in runs)
        notes.append(
            f"{settings.gpus} GPUs, {settings.strategy}: {moved:.3g} s of communication, "
            f"{exposed:.3g} s of it not hidden"
        )
    gaps_s = sum((run.time_s - sum(run.stage_s().values())) * times for run, times in runs)
    if abs(gaps_s) > 1e-9:
        notes.append(f"{gaps_s:.3g} s are between kernels or GPUs and belong to no layer")
    return tuple(dict.fromkeys(notes))


def _merged(layers: Iterable[LayerCost]) -> tuple[LayerCost, ...]:
    """Rows of distinct steps that are the same work, added up."""
    found: dict[tuple[object, ...], LayerCost] = {}
    for place, layer in enumerate(layers):
        key = (layer.name, layer.stage, layer.op, layer.m, layer.k, layer.n, layer.pattern)
        known = found.get(key)
        if known is None or not layer.name:
            found[key if layer.name else (place,)] = layer
            continue
        found[key] = dataclasses.replace(
            known,
            time_s=known.time_s + layer.time_s,
            dram_bytes=known.dram_bytes + layer.dram_bytes,
            energy_j=(known.energy_j or 0.0) + (layer.energy_j or 0.0),
            macs_dense=known.macs_dense + layer.macs_dense,
            macs_done=known.macs_done + layer.macs_done,
        )
    return tuple(found.values())


def _layer(item: GpuItem, times: int, gpus: int) -> LayerCost:
    pattern = "2:4" if item.ran == "2:4" else "dense"
    return LayerCost(
        name=item.name,
        stage=_bucket(item),
        op=item.op,
        m=item.m,
        k=item.k,
        n=item.n,
        batch=item.batch,
        pattern=pattern,
        dataflow=None,
        cycles=None,
        time_s=item.time_us * 1e-6 * times,
        stall_cycles=None,
        busy_cycles=None,
        dram_bytes=round(item.memory_bytes) * times * gpus,
        energy_j=item.energy_j * times * gpus,
        macs_dense=item.macs_dense * times * gpus,
        macs_done=item.macs_done * times * gpus,
        tile=item.ran,
    )


def _bucket(item: GpuItem) -> str:
    """The stage's name in results; what the model prices beside the stages counts as vector."""
    return item.stage if item.stage in STAGES else "vector"


def _costs(
    time_s: float, energy_j: float, macs: tuple[int, int], moved: int, samples: int
) -> Costs:
    return Costs(
        cycles=None,
        time_s=time_s,
        energy_j=energy_j,
        macs_dense=macs[0],
        macs_done=macs[1],
        dram_bytes=moved,
        stce_utilization=None,
        throughput_gops_effective=2 * macs[0] / time_s / 1e9 if time_s else 0.0,
        samples_per_s=samples / time_s if time_s else 0.0,
    )


def _total(runs: Sequence[tuple[GpuRun, int]], samples: int, gpus: int) -> Costs:
    return _costs(
        sum(run.time_s * times for run, times in runs),
        gpus * sum(run.energy_j * times for run, times in runs),
        (
            gpus * sum(run.macs_dense * times for run, times in runs),
            gpus * sum(run.macs_done * times for run, times in runs),
        ),
        round(gpus * sum(run.memory_bytes * times for run, times in runs)),
        samples,
    )


def _stage(layers: Sequence[LayerCost], stage: str, samples: int) -> Costs:
    own = [layer for layer in layers if layer.stage == stage]
    return _costs(
        sum(layer.time_s for layer in own),
        sum(layer.energy_j or 0.0 for layer in own),
        (sum(layer.macs_dense for layer in own), sum(layer.macs_done for layer in own)),
        sum(layer.dram_bytes for layer in own),
        samples,
    )
