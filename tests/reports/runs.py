"""Results to report on: any at all (hypothesis), and one of a large network's size."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import strategies as st

from weft.sim.machine import load_machine
from weft.sim.results import (
    STAGES,
    Costs,
    LayerCost,
    RunResult,
    UncostedOp,
    UnitCost,
    WeightPattern,
    WhatIf,
)

COUNTS = st.integers(0, 2**62)
NUMBERS = st.just(0.0) | st.floats(1e-15, 1e15)
NAMES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "</script><b>",
            "a|b`c`*d*",
            "layers[0].[/bold]",
            "block'0&amp;",
            "{{ 7 * 7 }}",
            "\x1b[31mred\nline",
        ]
    ),
)


def either(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


COSTS = st.builds(
    Costs,
    cycles=either(COUNTS),
    time_s=NUMBERS,
    energy_j=either(NUMBERS),
    macs_dense=COUNTS,
    macs_done=COUNTS,
    dram_bytes=COUNTS,
    stce_utilization=either(st.floats(0, 1)),
    throughput_gops_effective=NUMBERS,
    samples_per_s=NUMBERS,
)
LAYERS = st.builds(
    LayerCost,
    name=NAMES,
    stage=st.sampled_from(STAGES),
    op=NAMES,
    m=either(COUNTS),
    k=either(COUNTS),
    n=either(COUNTS),
    batch=COUNTS,
    pattern=st.sampled_from(["dense", "2:8", "2:4"]),
    dataflow=st.sampled_from([None, "OS", "WS"]),
    cycles=either(COUNTS),
    time_s=NUMBERS,
    stall_cycles=either(COUNTS),
    busy_cycles=either(COUNTS),
    dram_bytes=COUNTS,
    energy_j=either(NUMBERS),
    macs_dense=COUNTS,
    macs_done=COUNTS,
    memory_stall_cycles=COUNTS,
    dependency_stall_cycles=COUNTS,
    fill_drain_cycles=COUNTS,
    bound_cycles=either(COUNTS),
    scheduled_cycles=either(COUNTS),
    candidates=either(COUNTS),
    limit_compute_cycles=either(COUNTS),
    limit_dram_cycles=either(COUNTS),
    limit_fill_cycles=either(COUNTS),
    proven=either(st.booleans()),
    tile=NAMES,
)
MACHINES = st.sampled_from([{}, dataclasses.asdict(load_machine("sat-vcu1525"))])
RUNS = st.builds(
    RunResult,
    weft_version=NAMES,
    model=NAMES,
    recipe=st.sampled_from(["dense", "bdwp"]) | NAMES,
    pattern=NAMES,
    hardware=NAMES,
    batch=st.integers(1, 4096),
    steps=st.integers(1, 10**6),
    total=COSTS,
    stages=st.dictionaries(st.sampled_from(STAGES), COSTS),
    layers=st.lists(LAYERS, max_size=6).map(tuple),
    uncosted=st.lists(
        st.builds(UncostedOp, name=NAMES, op=NAMES, stage=NAMES, elements=COUNTS, count=COUNTS),
        max_size=3,
    ).map(tuple),
    units=st.lists(
        st.builds(
            UnitCost,
            unit=st.sampled_from(["load", "store", "stce", "sore", "wuve"]),
            busy_cycles=COUNTS,
            memory_stall_cycles=COUNTS,
            dependency_stall_cycles=COUNTS,
            buffer_stall_cycles=COUNTS,
        ),
        max_size=5,
    ).map(tuple),
    energy_by_component_j=st.dictionaries(NAMES, NUMBERS, max_size=3),
    actions=st.dictionaries(NAMES, COUNTS, max_size=3),
    notes=st.lists(NAMES, max_size=3).map(tuple),
    provenance=st.dictionaries(NAMES, NAMES, max_size=3),
    machine=MACHINES,
    overlap_cycles=COUNTS,
    weights=st.lists(
        st.builds(
            WeightPattern,
            layer=NAMES,
            axis=st.sampled_from(["k", "o"]),
            pattern=st.just("2:4"),
            share=st.floats(0, 1),
            zeros=st.floats(0, 1),
        ),
        max_size=2,
    ).map(tuple),
    critical_path_cycles=st.dictionaries(NAMES, COUNTS, max_size=3),
    what_if=st.lists(
        st.builds(
            WhatIf,
            knob=NAMES,
            old=COUNTS,
            new=COUNTS,
            saved_cycles=st.integers(-(2**62), 2**62),
            same_schedule_cycles=either(st.integers(-(2**62), 2**62)),
            unit=NAMES,
            unit_cycles=NUMBERS,
        ),
        max_size=2,
    ).map(tuple),
)
"""Any result that the JSON form can hold."""

_CLOCK_HZ = 2e8
_PEAK_MACS = 1024


def big_run(products: int = 160, vectors: int = 400, recipe: str = "bdwp") -> RunResult:
    """A run of ResNet-50's size on sat-vcu1525, its layers' parts adding up to the total."""
    layers = [_product(index, recipe) for index in range(products)]
    layers += [_vector(index) for index in range(vectors)]
    total = _sum(layers)
    return RunResult(
        weft_version="0.1.0",
        model="resnet50",
        recipe=recipe,
        pattern="dense" if recipe == "dense" else "2:8",
        hardware="sat-vcu1525",
        batch=256,
        steps=1,
        total=total,
        stages={stage: _sum([x for x in layers if x.stage == stage]) for stage in STAGES},
        layers=tuple(layers),
        uncosted=(UncostedOp("avgpool", "set_", "ff", 64, 2),),
        units=_units(total.cycles or 0),
        energy_by_component_j={"stce_j": 21.5, "dram_j": 18.3, "buffers_j": 7.1, "sore_j": 3e-5},
        notes=("1 dense: classifier; 1 dense: stem",),
        provenance={"command": "weft simulate resnet50", "validated": "engine = plain stepping"},
        machine=dataclasses.asdict(load_machine("sat-vcu1525")),
        critical_path_cycles={"compute": 9 * (total.cycles or 0) // 10, "read": 1000},
        what_if=(
            WhatIf("memory.read_bytes_per_cycle", 256, 512, 5_000_000, None, "byte per cycle", 9.5),
            WhatIf("array.rows", 32, 64, 100_000_000, None, "PE row", 3e6),
        ),
    )


def _product(index: int, recipe: str) -> LayerCost:
    stage = STAGES[index % 3]
    dense = 10**9 * (1 + index % 7)
    skipped = stage != "wu" and recipe != "dense"
    done = dense // 4 if skipped else dense
    busy = done // _PEAK_MACS
    memory, dependency, fill = 1000 * (index % 11), 300, 40 * (index % 5)
    cycles = busy + memory + dependency + fill
    return LayerCost(
        name=f"layer{index // 12}.{index % 12}.conv",
        stage=stage,
        op="convolution",
        m=802816,
        k=64 * (1 + index % 8),
        n=256,
        batch=1,
        pattern="2:8" if skipped else "dense",
        dataflow=("OS", "WS")[index % 2],
        cycles=cycles,
        time_s=cycles / _CLOCK_HZ,
        stall_cycles=cycles - busy,
        busy_cycles=busy,
        dram_bytes=10**7 + index,
        energy_j=cycles * 1e-9,
        macs_dense=dense,
        macs_done=done,
        memory_stall_cycles=memory,
        dependency_stall_cycles=dependency,
        fill_drain_cycles=fill,
        bound_cycles=cycles - 1,
        scheduled_cycles=cycles,
        candidates=96,
        limit_compute_cycles=busy,
        limit_dram_cycles=busy // 3,
        limit_fill_cycles=66,
        proven=index % 9 != 0,
        tile="1x16128x147x32, outer n, swapped",
    )


def _vector(index: int) -> LayerCost:
    busy = 10_000 * (1 + index % 13)
    stall = 100 * (index % 17)
    return LayerCost(
        name=f"layer{index // 20}.{index % 20}.bn",
        stage=("vector", "optimizer", "sore")[index % 3],
        op="_native_batch_norm_legit+relu",
        m=None,
        k=None,
        n=None,
        batch=1,
        pattern="dense",
        dataflow=None,
        cycles=busy + stall,
        time_s=(busy + stall) / _CLOCK_HZ,
        stall_cycles=stall,
        busy_cycles=busy,
        dram_bytes=256 * (busy + index),
        energy_j=busy * 1e-9,
        memory_stall_cycles=stall,
    )


def _sum(layers: list[LayerCost]) -> Costs:
    cycles = sum(layer.cycles or 0 for layer in layers)
    time_s = sum(layer.time_s for layer in layers)
    dense = sum(layer.macs_dense for layer in layers)
    done = sum(layer.macs_done for layer in layers)
    return Costs(
        cycles=cycles,
        time_s=time_s,
        energy_j=sum(layer.energy_j or 0.0 for layer in layers),
        macs_dense=dense,
        macs_done=done,
        dram_bytes=sum(layer.dram_bytes for layer in layers),
        stce_utilization=done / (_PEAK_MACS * cycles) if cycles else 0.0,
        throughput_gops_effective=2 * dense / time_s / 1e9 if time_s else 0.0,
        samples_per_s=256 / time_s if time_s else 0.0,
    )


def _units(cycles: int) -> tuple[UnitCost, ...]:
    return (
        UnitCost("load", cycles // 5, 0, cycles // 100, cycles // 2),
        UnitCost("store", cycles // 6, 0, cycles // 2, 0),
        UnitCost("stce", 3 * cycles // 4, cycles // 50, cycles // 6, 0),
        UnitCost("sore", cycles // 1000, 0, cycles // 2, 0),
        UnitCost("wuve", cycles // 4, cycles // 2, cycles // 30, 0),
    )
