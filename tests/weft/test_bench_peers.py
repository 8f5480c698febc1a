"""The peers' bench: its layers are the reference runs', and one run end to end with a stand-in."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import peer_tools as peers
from benchmarks import peers as bench_peers
from benchmarks.peer_tools import PeerLayer
from benchmarks.peers import LAYERS, mean_s
from tests.sim.test_ideal import peer_rows, sizes
from weft.mapper.topology.table import read_topology
from weft.sim.ideal import IdealArray, IdealDataflow, ideal_cycles


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_layers_are_the_reference_runs(layer: PeerLayer, tmp_path: Path) -> None:
    path = tmp_path / "layer.csv"
    path.write_text(layer.text())
    (read,) = read_topology(path).layers
    rows = peer_rows("scalesim_3.0.0_32x32.csv")
    assert (read.m, read.k, read.n) in {sizes(row) for row in rows if row["layer"] == layer.name}


def fake_peer(off_by: int) -> str:
    """Python that answers like SCALE-Sim for 16 x 16 x 16, ``off_by`` cycles away."""
    cycles = {
        flow: ideal_cycles(IdealArray(32, 32, IdealDataflow(flow)), 16, 16, 16) + off_by
        for flow in ("os", "ws")
    }
    return f"""
import json, sys
from pathlib import Path
config, topology, layout, out, matrix = sys.argv[1:]
assert matrix == "1" and Path(topology).read_text().endswith("g16, 16, 16, 16,\\n")
flow = Path(config).stem
assert f"Dataflow = {{flow}}" in Path(config).read_text() and Path(layout).is_file()
folder = Path(out) / "run"
folder.mkdir(parents=True)
cycles = {cycles}[flow]
(folder / "COMPUTE_REPORT.csv").write_text(f"LayerID, Total Cycles,\\n0, {{cycles}},\\n")
print(json.dumps({{"cpu_s": 1.5, "wall_s": 2.0}}))
"""


@pytest.mark.parametrize(("off_by", "status"), [(0, 0), (1, 1)])
def test_a_difference_in_cycles_fails(
    off_by: int,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(peers, "_SCALE_SIM_RUN", fake_peer(off_by))
    monkeypatch.setattr(bench_peers, "environment", lambda *_: Path(sys.executable))
    target = tmp_path / "peers.json"
    assert bench_peers.main(["--layers", "g16", "--json", str(target)]) == status
    rows = json.loads(target.read_text())
    assert [row["dataflow"] for row in rows] == ["os", "ws"]
    assert all(row["peer_cycles"] == row["cycles"] + off_by for row in rows)
    assert all(row["engine_cycles"] > 0 for row in rows)
    printed = capsys.readouterr().out
    assert ("NO" in printed) == bool(off_by)


def test_an_environment_that_is_there_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".installed").write_text("some==1")
    calls: list[object] = []
    monkeypatch.setattr(peers.subprocess, "run", lambda *a, **_: calls.append(a))
    peers.environment(tmp_path, ["some==1"])
    assert calls == []
    peers.environment(tmp_path, ["some==2"])
    assert len(calls) == 2


def test_means_are_of_many_runs() -> None:
    calls: list[int] = []
    spent = mean_s(lambda: calls.append(sum(range(1000))), at_least_s=0.01)
    assert len(calls) > 5
    assert 0 < spent < 0.01
