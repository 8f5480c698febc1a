"""``python -m benchmarks.scaling``: what weft costs against model size, batch and tile count.

One training step each, traced, scheduled and timed in a process of its own: CPU seconds by part
and peak memory, the least of a few runs. Written as a table, JSON, and one HTML file that opens
offline. The cost must grow with the distinct work of a model and with nothing else: it is flat in
the batch, and flat in the number of tiles that a product is cut into. (A part that is 0.1 s too
long now and then held Python's full garbage collection over all that torch has loaded.)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers import mean_s

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["Point", "Scaling", "main", "measure_model", "measure_tiles", "write_html"]

_MODELS = ("mlp", "resnet18", "resnet50", "gpt2", "gpt2-xl", "llama-7b", "llama-70b")
_BATCHES = (1, 4, 16, 64, 256, 1024)
_BATCH_MODEL = "resnet50"
_ROWS = tuple(2**exponent for exponent in range(8, 29, 4))
"""M of the products that are cut into ever more tiles; their K and N are 1024."""

_PARTS = ("trace", "lower", "schedule", "engine")


@dataclass(frozen=True)
class Point:
    """One measurement: ``x`` is parameters, batch or instructions; memory is the peak."""

    name: str
    x: int
    seconds: Mapping[str, float]
    memory_mb: float
    instructions: int

    @property
    def total_s(self) -> float:
        return sum(self.seconds.values())


@dataclass(frozen=True)
class Scaling:
    """The three curves."""

    models: tuple[Point, ...]
    batches: tuple[Point, ...]
    tiles: tuple[Point, ...]


def measure_model(model: str, batch: int, repeats: int, x: int) -> Point:
    """A BDWP 2:8 training step of a zoo model.

    Importing torch is not counted; what PyTorch loads when it first traces is, about a second.
    """
    step = (model, batch, 0, "bdwp", "2:8")
    code = f"import json, benchmarks.speed as b; print(json.dumps(b.measure_step(*{step!r})))"
    runs: list[dict[str, Any]] = []
    for _ in range(repeats):
        command = [sys.executable, "-c", code]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        runs.append(json.loads(result.stdout))
    return Point(
        f"{model}, batch {batch}",
        x,
        {part: min(run[f"{part}_cpu_s"] for run in runs) for part in _PARTS},
        min(run["peak_memory_gb"] for run in runs) * 1e3,
        runs[0]["instructions"],
    )


def measure_tiles(rows: int) -> Point:
    """Search and exact timing of one product of ``rows`` x 1024 x 1024; memory is Python's own."""
    from weft.mapper.scheduling.emit import Gate
    from weft.mapper.scheduling.schedule import Scheduler, start_tokens
    from weft.mapper.scheduling.switches import Switches
    from weft.mapper.scheduling.tiling import Fused
    from weft.mapper.topology.table import Layer, Topology
    from weft.mapper.topology.workload import topology_workload
    from weft.sim.engine import Engine
    from weft.sim.machine import load_machine
    from weft.sim.program import Program, Segment, count_instructions

    machine = load_machine("sat-vcu1525")
    layer = Layer("product", rows, 1024, 1024)
    (product,) = topology_workload(Topology("product", (layer,))).products

    def search() -> Scheduler:
        scheduler = Scheduler(machine)
        scheduler.pick(product, Fused())
        return scheduler

    body = search().body(product, Fused(), Gate())
    program = Program((Segment("", body),), start_tokens(machine, Switches()))
    seconds = {
        "schedule": mean_s(search),
        "engine": mean_s(lambda: Engine(machine).run(program)),
    }
    tracemalloc.start()
    search()
    Engine(machine).run(program)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    instructions = count_instructions(body)
    return Point(f"{rows:,} x 1024 x 1024", instructions, seconds, peak / 1e6, instructions)


def measure(
    models: Sequence[str], batches: Sequence[int], rows: Sequence[int], repeats: int
) -> Scaling:
    """All three curves, with a line on stderr for each point."""
    from weft.models.zoo import ZOO

    def step(model: str, batch: int, x: int) -> Point:
        print(f"{model}, batch {batch}", file=sys.stderr)
        return measure_model(model, batch, repeats, x)

    return Scaling(
        tuple(step(name, ZOO[name].default_batch, ZOO[name].parameters) for name in models),
        tuple(step(_BATCH_MODEL, batch, batch) for batch in batches),
        tuple(measure_tiles(count) for count in rows),
    )


_TITLES = {
    "models": ("Model size", "parameters"),
    "batches": ("Batch", "samples per step"),
    "tiles": ("Tiles", "instructions of one product"),
}


def _print(scaling: Scaling) -> None:
    for curve, (title, axis) in _TITLES.items():
        points: tuple[Point, ...] = getattr(scaling, curve)
        if not points:
            continue
        parts = list(points[0].seconds)
        print(f"\n{title:28}{axis:>28}{'instructions':>18}", end="")
        print("".join(f"{part + ' s':>12}" for part in parts), f"{'total s':>10}{'MB':>9}")
        for point in points:
            print(f"{point.name:28}{point.x:28,}{point.instructions:18,}", end="")
            seconds = "".join(f"{point.seconds[part]:12.3g}" for part in parts)
            print(seconds, f"{point.total_s:10.3g}{point.memory_mb:9.1f}")


def _figure(points: Sequence[Point], axis: str) -> Figure:
    """Seconds by part and memory over ``x``, both axes logarithmic."""
    from plotly.graph_objects import Figure, Scatter

    figure = Figure()
    x, names = [point.x for point in points], [point.name for point in points]
    for part in points[0].seconds:
        y = [point.seconds[part] for point in points]
        figure.add_trace(Scatter(x=x, y=y, text=names, name=f"{part}, CPU s"))
    memory = [point.memory_mb / 1e3 for point in points]
    figure.add_trace(Scatter(x=x, y=memory, text=names, name="memory, GB", line={"dash": "dot"}))
    figure.update_layout(
        template="plotly_white",
        xaxis={"type": "log", "title": axis},
        yaxis={"type": "log", "title": "CPU seconds, GB"},
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
    )
    return figure


def write_html(scaling: Scaling, target: Path) -> None:
    """One page that opens offline."""
    parts = ["<!doctype html><meta charset='utf-8'><title>weft: scaling</title><h1>weft</h1>"]
    library: bool = True
    for curve, (title, axis) in _TITLES.items():
        points: tuple[Point, ...] = getattr(scaling, curve)
        if points:
            figure = _figure(points, axis).to_html(full_html=False, include_plotlyjs=library)
            parts.append(f"<h2>{title}</h2>{figure}")
            library = False
    target.write_text("\n".join(parts), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write ``scaling.json`` and ``scaling.html``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--models", nargs="*", default=list(_MODELS))
    parser.add_argument("--batches", nargs="*", type=int, default=list(_BATCHES))
    parser.add_argument("--rows", nargs="*", type=int, default=list(_ROWS))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/scaling"))
    options = parser.parse_args(arguments)
    scaling = measure(options.models, options.batches, options.rows, options.repeats)
    _print(scaling)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "scaling.json").write_text(json.dumps(asdict(scaling), indent=1) + "\n")
    write_html(scaling, options.out / "scaling.html")
    print(f"\n{options.out / 'scaling.json'}, {options.out / 'scaling.html'}")


if __name__ == "__main__":
    main()
