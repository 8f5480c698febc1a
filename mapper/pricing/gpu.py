"""A training step on a GPU as the same result that a SAT machine gives; ``cycles`` are None."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weft.mapper.pricing.sat import Header, uncosted_ops
from weft.sim.gpu.prediction.constants import ConstantSet, read_constants
from weft.sim.gpu.prediction.link import Cluster
from weft.sim.gpu.prediction.machine import load_gpu
from weft.sim.gpu.prediction.step import GpuItem, GpuRun, simulate_step
from weft.sim.results import STAGES, Costs, LayerCost, RunResult
from weft.sim.workload import Workload

__all__ = ["GpuOptions", "price_on_gpu"]


@dataclass(frozen=True)
class GpuOptions:
    """How a step runs on GPUs. ``constants`` are a user's own (``weft calibrate``), by library.

    ``gpus`` work on a batch each; gradients and parameters travel as ``strategy`` says:
    "replicated" (data-parallel), "sharded" or "sharded-gradients".
    """

    fusion: str = "eager"
    dtype: str = "auto"
    gpus: int = 1
    strategy: str = "replicated"
    constants: Mapping[str, ConstantSet] = field(default_factory=dict[str, ConstantSet])

    @classmethod
    def read(cls, fusion: str, dtype: str, gpus: int, strategy: str, constants: str) -> GpuOptions:
        """The options, ``constants`` from the file of that name ("": those that ship)."""
        own = read_constants(Path(constants)) if constants else {}
        return cls(fusion, dtype, gpus, strategy, own)


def price_on_gpu(
    steps: Sequence[tuple[Workload, int]], hardware: str, header: Header, options: GpuOptions
) -> RunResult:
    """Price each distinct step once on the GPU called ``hardware``.

    The result speaks of all GPUs: its batch, energy, bytes and operations are theirs together.

    Raises:
        ValueError: an option that the GPU model refuses.
    """
    gpus = options.gpus
    cluster = Cluster.of(load_gpu(hardware), gpus) if gpus > 1 else None
    runs = [
        (
            simulate_step(
                workload,
                hardware,
                cluster=cluster,
                strategy=options.strategy,
                constants=options.constants,
                fusion=options.fusion,
                dtype=options.dtype,
            ),
            count,
        )
        for workload, count in steps
    ]
    count = sum(times for _, times in runs)
    workload, first = steps[0][0], runs[0][0]
    samples = workload.batch * gpus * count
    layers = _merged(_layer(item, times, gpus) for run, times in runs for item in run.items)
    return RunResult(
        weft_version=header.weft_version,
        model=header.model,
        recipe=header.recipe,
        pattern=header.pattern,
        hardware=hardware if gpus == 1 else f"{hardware} x{gpus}",
        batch=workload.batch * gpus,
        steps=count,
        total=_total(runs, samples, gpus),
        stages={stage: _stage(layers, stage, samples) for stage in STAGES},
        layers=layers,
        uncosted=uncosted_ops(workload),
        energy_by_component_j={"board_j": sum(run.energy_j * times for run, times in runs) * gpus},
        notes=_notes(runs, header, options),
        provenance={
            **header.provenance,
            "model_flop_utilization": f"{first.model_flop_utilization:.4f}",
            "gpu_settings": str(first.settings),
        },
        machine=_machine(hardware, first.settings.dtype, gpus),
    )


def _machine(hardware: str, dtype: str, gpus: int) -> dict[str, object]:
    """The board's facts, and its peak for products of ``dtype`` (each GPU's, dense)."""
    gpu = load_gpu(hardware)
    peak = gpu.peak_flop_s(dtype)
    return {**dataclasses.asdict(gpu), "gpus": gpus, "dtype": dtype, "product_flop_s": peak}


def _notes(
    runs: Sequence[tuple[GpuRun, int]], header: Header, options: GpuOptions
) -> tuple[str, ...]:
    notes = [*header.notes, *(note for run, _ in runs for note in run.notes)]
    if options.gpus > 1:
        moved = sum(run.communication_s * times for run, times in runs)
        exposed = sum(run.exposed_s * times for run, times in runs)
        notes.append(
            f"{options.gpus} GPUs, {options.strategy}: {moved:.3g} s of communication, "
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
