"""How fast co-simulation is: build time, and simulated cycles per second, array by array."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from weft.rtl.cosimulation.build import build_cocotb
from weft.rtl.cosimulation.cosim import machine_of_array, random_case
from weft.rtl.cosimulation.product import Case
from weft.rtl.cosimulation.simulate import cosim_design, simulate
from weft.sim.machine import Machine, load_machine
from weft.sim.pattern import Pattern
from weft.sim.program import Dataflow

__all__ = ["ARRAYS", "Speed", "measure"]

ARRAYS = ((4, 4), (8, 8), (16, 16), (32, 32))
_TINY = (1, 1, 1)


@dataclass(frozen=True)
class Speed:
    """One array: seconds of a build from nothing, and cycles per second of a long run."""

    array: str
    build_s: float
    cycles: int
    run_s: float

    @property
    def cycles_per_s(self) -> float:
        return self.cycles / self.run_s


@contextmanager
def _empty_cache() -> Iterator[None]:
    """Builds go to an empty folder for a while."""
    before = os.environ.get("WEFT_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WEFT_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["WEFT_CACHE"]
            else:
                os.environ["WEFT_CACHE"] = before


def _timed(machine: Machine, case: Case) -> tuple[int, float]:
    """Cycles and seconds of one simulation, start-up included."""
    began = time.perf_counter()
    (run,) = simulate(machine, [case])
    return run.cycles, time.perf_counter() - began


def measure(arrays: Sequence[tuple[int, int]] = ARRAYS) -> list[Speed]:
    """Build each array's bench from nothing, then run a 2:8 product on it.

    The seconds of a product of one element, nearly all start-up, are taken off the run.
    """
    speeds: list[Speed] = []
    for rows, cols in arrays:
        name = machine_of_array(rows, cols)
        machine = load_machine(name)
        pattern = Pattern(2, 8)
        long = random_case(machine, (8 * rows, 512, 8 * cols), pattern, Dataflow.OS, 1)
        short = random_case(machine, _TINY, pattern, Dataflow.OS, 1)
        with _empty_cache():
            began = time.perf_counter()
            build_cocotb(cosim_design(machine, 4096, 23))
            build_s = time.perf_counter() - began
            cycles, run_s = _timed(machine, long)
            few, start_s = _timed(machine, short)
        speeds.append(Speed(name, build_s, cycles - few, run_s - start_s))
    return speeds
