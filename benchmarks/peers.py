"""``python -m benchmarks.peers``: weft and SCALE-Sim on the same topology files, side by side.

SCALE-Sim 3.0.0 comes from PyPI into an environment of its own (it needs numpy below 2.4). Each
layer is one topology file that both read; cycles must be equal for every dataflow. Seconds are of
simulating alone, without starting up and reading: CPU seconds of one run for SCALE-Sim, the mean
of many runs for weft. ``--zigzag`` sets ZigZag 3.9.1's answer beside: another machine's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.peer_tools import (
    SCALE_SIM,
    ZIGZAG,
    PeerLayer,
    environment,
    run_scale_sim,
    run_zigzag,
)
from weft.mapper.topology.table import Layer, read_topology
from weft.sim.ideal import IdealArray, IdealDataflow, ideal_cycles

__all__ = ["LAYERS", "Comparison", "compare", "main", "mean_s"]

_SIDE = 32


LAYERS = (
    PeerLayer("g16", (16, 16, 16)),
    PeerLayer("g32", (32, 32, 32)),
    PeerLayer("g3x5x16", (3, 5, 16)),
    PeerLayer("g128", (128, 128, 128)),
    PeerLayer("g512x32x16", (512, 32, 16)),
    PeerLayer("g65x127x200", (65, 127, 200)),
    PeerLayer("g197x197x64", (197, 197, 64)),
    PeerLayer("g64x64x1024", (64, 64, 1024)),
    PeerLayer("r18_ds_1x1_64_128_s2", (56, 56, 1, 1, 64, 128, 2)),
    PeerLayer("conv3x3_64_64_56", (58, 58, 3, 3, 64, 64, 1), slow=True),
    PeerLayer("conv3x3_128_128_28", (30, 30, 3, 3, 128, 128, 1), slow=True),
    PeerLayer("r18_conv1_7x7_s2", (230, 230, 7, 7, 3, 64, 2), slow=True),
    PeerLayer("g1024", (1024, 1024, 1024), slow=True),
)


@dataclass(frozen=True)
class Comparison:
    """One layer on one dataflow. ``*_s``: CPU seconds of one simulation.

    ``engine_s`` is weft's whole way for the same product on ``sat-vcu1525``: search of the tiling
    and exact timing with memory; its cycles are that machine's, ``engine_cycles``.
    """

    layer: str
    dataflow: str
    peer_cycles: int
    cycles: int
    peer_s: float
    peer_wall_s: float
    closed_form_s: float
    engine_s: float
    engine_cycles: int

    @property
    def ratio(self) -> float:
        """How many times faster weft gives the same number."""
        return self.peer_s / self.closed_form_s

    @property
    def engine_ratio(self) -> float:
        """How many times faster weft schedules and times the product on a real machine."""
        return self.peer_s / self.engine_s


def mean_s(action: Callable[[], object], at_least_s: float = 0.05) -> float:
    """CPU seconds of ``action``, the mean of as many runs as fill ``at_least_s``."""
    repeats = 1
    while True:
        before = time.process_time()
        for _ in range(repeats):
            action()
        spent = time.process_time() - before
        if spent >= at_least_s:
            return spent / repeats
        repeats *= 4


def compare(python: Path, layer: PeerLayer, dataflow: IdealDataflow, folder: Path) -> Comparison:
    """Run one layer on SCALE-Sim and on weft, from the same file."""
    read = _read(layer, folder)
    peer = run_scale_sim(python, folder / f"{layer.name}.csv", layer, dataflow, _SIDE)
    array = IdealArray(_SIDE, _SIDE, dataflow)
    engine_cycles, engine_s = _engine(read)
    return Comparison(
        layer.name,
        dataflow,
        peer.cycles,
        ideal_cycles(array, read.m, read.k, read.n),
        peer.cpu_s,
        peer.wall_s,
        mean_s(lambda: ideal_cycles(array, read.m, read.k, read.n)),
        engine_s,
        engine_cycles,
    )


def _read(layer: PeerLayer, folder: Path) -> Layer:
    """Write the layer's topology file into ``folder``, and read it as users' files are."""
    topology = folder / f"{layer.name}.csv"
    topology.write_text(layer.text())
    return read_topology(topology).layers[0]


def _engine(layer: Layer) -> tuple[int, float]:
    """Cycles of the product on sat-vcu1525 and CPU seconds of finding them, nothing cached."""
    from weft.mapper.scheduling.schedule import Scheduler
    from weft.mapper.scheduling.tiling import Fused
    from weft.mapper.topology.table import Topology
    from weft.mapper.topology.workload import topology_workload
    from weft.sim.machine import load_machine

    machine = load_machine("sat-vcu1525")
    (product,) = topology_workload(Topology(layer.name, (layer,))).products

    def schedule() -> int:
        return Scheduler(machine).pick(product, Fused()).cycles

    return schedule(), mean_s(schedule)


def _show_zigzag(layers: Sequence[PeerLayer], python: Path) -> None:
    """ZigZag's machine and weft's sat-vcu1525, both 32x32, each with its own best mapping."""
    print(f"\n{'layer':22}{'ZigZag':>12}{'ZigZag s':>10}{'SAT':>12}{'SAT ms':>9}{'ratio':>8}")
    for layer in layers:
        with TemporaryDirectory() as folder:
            read = _read(layer, Path(folder))
            peer = run_zigzag(python, read.m, read.k, read.n, Path(folder))
        cycles, spent_s = _engine(read)
        print(
            f"{layer.name:22}{peer.cycles:12,}{peer.cpu_s:10.2f}{cycles:12,}"
            f"{spent_s * 1e3:9.1f}{peer.cpu_s / spent_s:8,.0f}"
        )


def _print(rows: Sequence[Comparison]) -> None:
    print(
        f"{'layer':22}{'flow':>5}{'SCALE-Sim':>12}{'weft':>12}{'equal':>6}{'CPU s':>8}{'wall s':>8}"
        f"{'closed form us':>16}{'ratio':>12}{'SAT ms':>9}{'ratio':>8}"
    )
    for row in rows:
        equal = "yes" if row.peer_cycles == row.cycles else "NO"
        print(
            f"{row.layer:22}{row.dataflow:>5}{row.peer_cycles:12,}{row.cycles:12,}"
            f"{equal:>6}{row.peer_s:8.2f}{row.peer_wall_s:8.2f}"
            f"{row.closed_form_s * 1e6:16.2f}{row.ratio:12,.0f}{row.engine_s * 1e3:9.1f}"
            f"{row.engine_ratio:8,.0f}"
        )


def _options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    names = [layer.name for layer in LAYERS]
    flows = [flow for flow in IdealDataflow if flow is not IdealDataflow.OS_EDGE]
    parser.add_argument("--all", action="store_true", help="the slow layers too (an hour)")
    parser.add_argument("--layers", nargs="+", choices=names, help="these layers only")
    parser.add_argument(
        "--dataflows", nargs="+", choices=[str(flow) for flow in flows], default=["os", "ws"]
    )
    parser.add_argument("--zigzag", action="store_true", help="ask ZigZag too")
    parser.add_argument("--environments", type=Path, default=Path("build/peers"))
    parser.add_argument("--json", type=Path, help="write the table as JSON too")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; 1 where cycles differ."""
    options = _options(arguments)
    python = environment(options.environments.resolve() / "scale-sim", SCALE_SIM)
    layers = [
        layer
        for layer in LAYERS
        if (layer.name in options.layers if options.layers else options.all or not layer.slow)
    ]
    rows: list[Comparison] = []
    for layer in layers:
        with TemporaryDirectory() as folder:
            for dataflow in options.dataflows:
                rows.append(compare(python, layer, IdealDataflow(dataflow), Path(folder)))
    _print(rows)
    ratios = sorted(row.ratio for row in rows)
    print(f"at equal cycles weft is {ratios[0]:,.0f} to {ratios[-1]:,.0f} times faster")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if options.zigzag:
        _show_zigzag(layers, environment(options.environments.resolve() / "zigzag", ZIGZAG))
    return int(any(row.peer_cycles != row.cycles for row in rows))


if __name__ == "__main__":
    sys.exit(main())
