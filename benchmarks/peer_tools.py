"""Other simulators, each from PyPI in an environment of its own, run on one layer."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "SCALE_SIM",
    "ZIGZAG",
    "PeerLayer",
    "PeerRun",
    "environment",
    "run_scale_sim",
    "run_zigzag",
]

SCALE_SIM = ("scalesim==3.0.0", "numpy<2.4")
"""It crashes on newer numpy."""

ZIGZAG = ("zigzag-dse==3.9.1", "six")
"""It imports six without asking for it."""


@dataclass(frozen=True)
class PeerLayer:
    """A layer as a topology file has it; ``slow`` ones take SCALE-Sim minutes."""

    name: str
    sizes: tuple[int, ...]
    slow: bool = False

    @property
    def is_matrix(self) -> bool:
        return len(self.sizes) == 3

    def text(self) -> str:
        """The topology file: M, N, K, or the seven sizes of a convolution."""
        header = (
            "Layer, M, N, K"
            if self.is_matrix
            else "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, "
            "Num Filter, Strides"
        )
        return f"{header},\n{self.name}, {', '.join(map(str, self.sizes))},\n"


@dataclass(frozen=True)
class PeerRun:
    """What a peer says of one layer, and the seconds it took without starting up and reading."""

    cycles: int
    cpu_s: float
    wall_s: float


_SCALE_SIM_RUN = """
import json, resource, sys, time
from scalesim.scale_sim import scalesim
config, topology, layout, out, matrix = sys.argv[1:]
def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
run = scalesim(save_disk_space=True, verbose=False, config=config, topology=topology,
               layout=layout, input_type_gemm=matrix == "1")
wall, before = time.perf_counter(), cpu()
run.run_scale(top_path=out)
print(json.dumps({"cpu_s": cpu() - before, "wall_s": time.perf_counter() - wall}))
"""

_CONFIG = """
[general]
run_name = run
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {cols}
IfmapSramSzkB = 4096
FilterSramSzkB = 4096
OfmapSramSzkB = 4096
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = {dataflow}
ReadRequestBuffer = 64
WriteRequestBuffer = 64
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
"""
_LAYOUT_COLUMNS = 20
"""Numbers of a line of SCALE-Sim's layout file, which must exist although it is not used."""


def environment(folder: Path, requirements: Sequence[str]) -> Path:
    """The Python of a virtual environment in ``folder`` that has these packages."""
    python = folder / "bin" / "python"
    done = folder / ".installed"
    wanted = " ".join(requirements)
    if not done.is_file() or done.read_text() != wanted:
        print(f"installing {wanted} in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirements], check=True)
        done.write_text(wanted)
    return python


def run_scale_sim(
    python: Path, topology: Path, layer: PeerLayer, dataflow: str, side: int
) -> PeerRun:
    """Compute cycles, CPU and wall seconds of SCALE-Sim on one topology file."""
    folder = topology.parent
    config, layout = folder / f"{dataflow}.cfg", folder / "layout.csv"
    config.write_text(_CONFIG.format(rows=side, cols=side, dataflow=dataflow))
    layout.write_text("layout,\n" + ", ".join([layer.name, *["1"] * _LAYOUT_COLUMNS]) + ",\n")
    arguments = [str(config), str(topology), str(layout), str(folder / dataflow)]
    measured = _run(python, _SCALE_SIM_RUN, *arguments, str(int(layer.is_matrix)))
    with (folder / dataflow / "run" / "COMPUTE_REPORT.csv").open(encoding="utf-8") as stream:
        row = next(csv.DictReader(stream, skipinitialspace=True))
    return PeerRun(int(float(row["Total Cycles"])), measured["cpu_s"], measured["wall_s"])


_ZIGZAG_RUN = """
import json, logging, resource, sys, time
from pathlib import Path
import yaml
import zigzag
from zigzag.api import get_hardware_performance_zigzag
logging.disable(logging.CRITICAL)
m, n, k, out = *map(int, sys.argv[1:4]), sys.argv[4]
def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
layer = {"id": 0, "name": "product", "operator_type": "Gemm",
         "equation": "O[b][k]+=I[b][c]*W[c][k]", "dimension_relations": [],
         "loop_dims": ["B", "K", "C"], "loop_sizes": [m, n, k],
         "operand_precision": {"W": 8, "I": 8, "O": 16, "O_final": 8},
         "operand_source": {"I": 0, "W": 0}}
workload = Path(out) / "product.yaml"
workload.write_text(yaml.safe_dump([layer]))
inputs = Path(zigzag.__file__).parent / "inputs"
wall, before = time.perf_counter(), cpu()
_, latency, _ = get_hardware_performance_zigzag(
    str(workload), str(inputs / "hardware/tpu_like.yaml"), str(inputs / "mapping/tpu_like.yaml"),
    dump_folder=out, lpf_limit=6, loma_show_progress_bar=False)
print(json.dumps({"cycles": latency, "cpu_s": cpu() - before,
                  "wall_s": time.perf_counter() - wall}))
"""


def run_zigzag(python: Path, m: int, k: int, n: int, folder: Path) -> PeerRun:
    """One product on ZigZag's own ``tpu_like`` machine, its mapping search for latency included.

    That machine is 32x32 and its memory binds: its cycles stand beside weft's, they are not equal.
    """
    measured = _run(python, _ZIGZAG_RUN, *map(str, (m, n, k)), str(folder))
    return PeerRun(int(measured["cycles"]), measured["cpu_s"], measured["wall_s"])


def _run(python: Path, code: str, *arguments: str) -> dict[str, float]:
    """What ``code`` prints last, as JSON."""
    command = [str(python), "-c", code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        status, told = result.returncode, result.stderr[-2000:]
        raise RuntimeError(f"the peer ended with {status} on {' '.join(arguments)}:\n{told}")
    return json.loads(result.stdout.splitlines()[-1])
