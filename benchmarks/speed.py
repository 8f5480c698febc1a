"""``python -m benchmarks.speed``: what the whole way costs on this machine, as JSON.

Each measurement runs in a process of its own, so that its memory and CPU time are its own.
Seconds are CPU seconds of that process (user and system); wall time is beside them.
"""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
import time
from typing import Any

__all__ = ["measure_cosim", "measure_start", "measure_step"]


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure_step(model: str, batch: int, length: int, recipe: str, pattern: str) -> dict[str, Any]:
    """Trace, lower, schedule and time one step in this process; CPU seconds of each part."""
    marks = [("start", _cpu_s())]
    wall = time.perf_counter()

    def mark(name: str) -> None:
        marks.append((name, _cpu_s()))

    from weft.mapper.lowering.lower import lower
    from weft.mapper.planning.plan import make_plan
    from weft.mapper.scheduling.schedule import Scheduler
    from weft.mapper.sparsity.sparsify import apply_recipe
    from weft.mapper.tracing.trace import trace
    from weft.models.recipes import find_recipe
    from weft.models.zoo import build
    from weft.sim.engine import Engine
    from weft.sim.machine import load_machine
    from weft.sim.pattern import Pattern
    from weft.sim.program import count_instructions

    mark("import")
    shape = (length,) if length else None
    graph = trace(lambda: build(model, batch=batch, input_shape=shape), name=model)
    mark("trace")
    workload = lower(graph)
    mark("lower")
    machine = load_machine("sat-vcu1525")
    applied = apply_recipe(workload, find_recipe(recipe), Pattern.parse(pattern))
    plan = make_plan(applied.workload, Scheduler(machine))
    mark("schedule")
    timing = Engine(machine).run(plan.program)
    mark("engine")
    parts = {
        f"{name}_cpu_s": now - before for (_, before), (name, now) in itertools.pairwise(marks)
    }
    return {
        "model": model,
        "batch": batch,
        "recipe": f"{recipe} {pattern}",
        **parts,
        "total_cpu_s": marks[-1][1] - marks[0][1],
        "total_wall_s": time.perf_counter() - wall,
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "instructions": count_instructions(plan.program.body),
        "instructions_stepped": timing.stepped,
        "cycles": timing.cycles,
    }


def measure_start() -> dict[str, Any]:
    """CPU and wall seconds of ``weft --help``, the best of five."""
    best: tuple[float, float] | None = None
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall = time.perf_counter()
        subprocess.run([sys.executable, "-m", "weft", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found = (cpu, time.perf_counter() - wall)
        best = found if best is None else min(best, found)
    assert best is not None
    return {"command": "weft --help", "cpu_s": best[0], "wall_s": best[1]}


def measure_cosim() -> list[dict[str, Any]]:
    """Seconds of a build from nothing and cycles per second of a long run, array by array."""
    from benchmarks.cosimulation import measure

    return [
        {
            "array": speed.array,
            "build_wall_s": speed.build_s,
            "cycles": speed.cycles,
            "cycles_per_wall_s": speed.cycles_per_s,
        }
        for speed in measure()
    ]


_STEPS = (
    ("resnet50", 256, 0, "bdwp", "2:8"),
    ("llama-70b", 4, 4096, "srste", "2:4"),
)


_MEASUREMENTS: dict[str, tuple[str, str, tuple[object, ...]]] = {
    **{f"step {step[0]}": ("benchmarks.speed", "measure_step", step) for step in _STEPS},
    "a million GPU predictions": ("benchmarks.gpu", "seconds_per_million", ()),
    "co-simulation": ("benchmarks.speed", "measure_cosim", ()),
    "masks": ("benchmarks.masks", "measure_masks", ()),
    "wrapped step": ("benchmarks.masks", "measure_wrapped_step", ()),
}
"""What is measured in a process of its own: module, function, arguments."""


def _alone(module: str, function: str, arguments: tuple[object, ...]) -> Any:
    code = f"import json, {module} as b; print(json.dumps(b.{function}(*{arguments!r})))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout)


def main() -> None:
    """Print all measurements as one JSON object."""
    measured: dict[str, Any] = {"start": measure_start()}
    measured |= {name: _alone(*call) for name, call in _MEASUREMENTS.items()}
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
