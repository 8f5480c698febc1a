"""A training step on a GPU as the same result that a SAT machine gives; ``cycles`` are None."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weft.pricing import Header, uncosted_ops
from weft.sim.gpu.step import GpuItem, GpuRun, simulate_step
from weft.sim.results import STAGES, Costs, LayerCost, RunResult
from weft.sim.workload import Workload

__all__ = ["price_on_gpu"]


def price_on_gpu(
    steps: Sequence[tuple[Workload, int]], hardware: str, header: Header, **settings: Any
) -> RunResult:
    """Price each distinct step once on the GPU called ``hardware``; settings are GpuSettings'.

    Raises:
        ValueError: a setting that the GPU model refuses.
    """
    runs = [(simulate_step(workload, hardware, **settings), count) for workload, count in steps]
    count = sum(times for _, times in runs)
    workload, first = steps[0][0], runs[0][0]
    samples = workload.batch * count
    layers = tuple(_layer(item, times) for run, times in runs for item in run.items)
    gaps_s = sum((run.time_s - sum(run.stage_s().values())) * times for run, times in runs)
    notes = [*header.notes, *(note for run, _ in runs for note in run.notes)]
    if abs(gaps_s) > 1e-9:
        notes.append(f"{gaps_s:.3g} s are between kernels and belong to no layer")
    return RunResult(
        weft_version=header.weft_version,
        model=header.model,
        recipe=header.recipe,
        pattern=header.pattern,
        hardware=hardware,
        batch=workload.batch,
        steps=count,
        total=_total(runs, samples),
        stages={stage: _stage(layers, stage, samples) for stage in STAGES},
        layers=layers,
        uncosted=uncosted_ops(workload),
        energy_by_component_j={"board_j": sum(run.energy_j * times for run, times in runs)},
        notes=tuple(dict.fromkeys(notes)),
        provenance={
            **header.provenance,
            "model_flop_utilization": f"{first.model_flop_utilization:.4f}",
            "gpu_settings": str(first.settings),
        },
    )


def _layer(item: GpuItem, times: int) -> LayerCost:
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
        dram_bytes=round(item.memory_bytes) * times,
        energy_j=item.energy_j * times,
        macs_dense=item.macs_dense * times,
        macs_done=item.macs_done * times,
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


def _total(runs: Sequence[tuple[GpuRun, int]], samples: int) -> Costs:
    return _costs(
        sum(run.time_s * times for run, times in runs),
        sum(run.energy_j * times for run, times in runs),
        (
            sum(run.macs_dense * times for run, times in runs),
            sum(run.macs_done * times for run, times in runs),
        ),
        round(sum(run.memory_bytes * times for run, times in runs)),
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
