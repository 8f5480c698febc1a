"""What a set of co-simulated programs made every module do: functional coverage, counted in bins.

Arithmetic and processing element have benches of their own with bins of values; here a bin is a
kind of instruction, of address, of edge or of waiting that a module must have met in a program
whose cycles and bits were compared. Which bins an instruction falls into follows from the program,
its times and the memory's pauses alone, not from the Verilog.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from weft.rtl.cosimulation.product import Case
from weft.rtl.cosimulation.simulate import Pauses, RtlRun
from weft.sim.lanes import CODES, Emit, Guard, Kind, LaneOp, Over
from weft.sim.lanes.functions import Function
from weft.sim.lanes.programs import compile_program
from weft.sim.machine import Machine
from weft.sim.program import (
    Channel,
    Dataflow,
    Matmul,
    Queue,
    Reduce,
    Sync,
    Transfer,
    Update,
    Vector,
)
from weft.sim.program.strips import strips_of
from weft.sim.program.timing import ceil_div, pass_timing
from weft.sim.reference.bind import Bound, bind
from weft.sim.reference.product import shape_of
from weft.sim.reference.stepper import Span

__all__ = ["BINS", "cover"]

BURST_BEATS = 256
BORDER = 4096

_LOADED = ("left", "right", *(f"right_index{bit}" for bit in range(4)), "mask", "vector",
           "vector_half")  # fmt: skip
_STORED = ("output", "mask", *(f"mask_index{bit}" for bit in range(4)), "vector", "vector_half")

_UNITS = {
    "load_unit": (
        *_LOADED,
        *("one run", "many runs", "runs spread in the bank", "last beat not full", "next bank"),
    ),
    "store_unit": (
        *_STORED,
        *("one run", "many runs", "runs backwards in the bank", "runs in parts", "to halves"),
        *("as singles", "last beat not full", "next bank", "fence"),
    ),
    "burst_walker": ("within a page", "across a page", "longer than a burst"),
    "axi": ("ideal", *(f"{channel} pauses" for channel in ("ar", "r", "aw", "w", "b"))),
    "queue": (
        *(f"{queue.name} starts at once" for queue in Queue),
        *(f"{queue.name} waits for a token" for queue in Queue),
        "two tokens at once",
    ),
    "token_counters": tuple(channel.name for channel in Channel),
    "unit_control": tuple(
        f"{queue.name} sync" for queue in (Queue.STORE, Queue.STCE, Queue.SORE, Queue.WUVE)
    ),
    "stce_unit": (
        *("OS dense", "OS sparse", "WS dense", "WS sparse", "accumulate OS", "accumulate WS"),
        *("one pass", "passes over rows", "passes over columns", "issue-bound", "drain-bound"),
        *("rows ragged", "columns ragged", "reduction ragged", "M of 4", "M of 8", "M of 16"),
        "M that is no power of two",
    ),
    "sore": (
        *("groups in a row", "groups across rows", "from memory", "from the WUVE", "one round"),
        *("many rounds", "N of 1", "N of 2", "N above 2", "M of 4", "M of 8", "M of 16"),
    ),
    "wuve": (
        *("sgd", "sgd-momentum", "adamw", "one round", "many rounds"),
        *(f"rows over {over.name}" for over in Over),
        *("windows", "fused", "one strip", "many strips", "ragged lanes", "ragged slots"),
    ),
    "wuve_lane": (
        *(f"kind {kind.name}" for kind in Kind if kind is not Kind.FUNCTION),
        *(f"function {function.name}" for function in Function),
        *(f"source {name}" for name in ("register", *CODES)),
        *(f"guard {guard.name}" for guard in Guard),
        *(f"emit {emit.name}" for emit in Emit),
        *(
            "number of the lane",
            "negated",
            "absolute",
            "lanes exchanged",
            "slots exchanged",
            "displaced",
        ),
        *("1 operand", "2 operands", "4 operands", "words by strip", "words by step"),
    ),
}

BINS: tuple[str, ...] = tuple(f"{unit}: {name}" for unit, names in _UNITS.items() for name in names)
"""Every bin that a set of programs should fill."""


def cover(machine: Machine, case: Case, pauses: Pauses, run: RtlRun) -> Counter[str]:
    """How often ``case``, as it ran, fell into each bin."""
    found: Counter[str] = Counter()
    found.update(f"axi: {name}" for name in _pauses(pauses))
    ready = dict.fromkeys(Queue, 0)
    for bound, span in zip(bind(case.program), run.spans, strict=True):
        found.update(f"queue: {name}" for name in _starts(bound, span, ready[span.queue]))
        ready[span.queue] = span.free
        channels = (*bound.instruction.waits, *bound.instruction.signals)
        found.update(f"token_counters: {channel.name}" for channel in channels)
        found.update(_work_bins(machine, case, bound))
    return found


def _pauses(pauses: Pauses) -> Iterator[str]:
    paused = [name for name in ("ar", "r", "aw", "w", "b") if getattr(pauses, name)]
    yield from (f"{name} pauses" for name in paused)
    if not paused:
        yield "ideal"


def _starts(bound: Bound, span: Span, ready: int) -> Iterator[str]:
    late = span.start > ready
    yield f"{span.queue.name} {'waits for a token' if late else 'starts at once'}"
    if late and len(bound.instruction.waits) > 1:
        yield "two tokens at once"


def _work_bins(machine: Machine, case: Case, bound: Bound) -> Iterable[str]:
    queue = bound.instruction.queue
    match bound.instruction.work:
        case Transfer() as work:
            unit = "load_unit" if queue is Queue.LOAD else "store_unit"
            yield from (f"{unit}: {name}" for name in _transfer(machine, bound, work))
            yield from (f"burst_walker: {name}" for name in _bursts(machine, case, bound, work))
        case Matmul() as work:
            yield from (f"stce_unit: {name}" for name in _matmul(machine, work))
        case Reduce() as work:
            yield from (f"sore: {name}" for name in _reduce(machine, bound, work))
        case Update() as work:
            yield f"wuve: {work.optimizer}"
            rounds = "one round" if work.elements <= machine.wuve.lanes else "many rounds"
            yield f"wuve: {rounds}"
        case Vector() as work:
            yield from (f"wuve: {name}" for name in _strips(machine, work))
            yield from (f"wuve_lane: {name}" for name in _lane_program(machine, work))
        case Sync():
            if queue is Queue.STORE:
                yield "store_unit: fence"
            yield f"unit_control: {queue.name} sync"


def _width(machine: Machine, bound: Bound) -> int:
    memory = machine.memory
    load = bound.instruction.queue is Queue.LOAD
    return memory.read_bytes_per_cycle if load else memory.write_bytes_per_cycle


def _transfer(machine: Machine, bound: Bound, work: Transfer) -> Iterator[str]:
    width = _width(machine, bound)
    yield work.buffer
    yield "one run" if sum(count for count, _ in work.runs) == 1 else "many runs"
    if any(size % width for _, size in work.runs):
        yield "last beat not full"
    if any(bound.banks.values()):
        yield "next bank"
    if bound.instruction.queue is Queue.LOAD:
        if work.bank_stride:
            yield "runs spread in the bank"
        return
    if work.bank_stride < 0:
        yield "runs backwards in the bank"
    if work.chunk:
        yield "runs in parts"
    if work.buffer == "output":
        yield "as singles" if work.wide else "to halves"


def _bursts(machine: Machine, case: Case, bound: Bound, work: Transfer) -> Iterator[str]:
    width = _width(machine, bound)
    address = case.tensors[work.tensor] + bound.address
    for count, size in work.runs:
        for _ in range(count):
            last = address + ceil_div(size, width) * width - 1
            yield "across a page" if address // BORDER != last // BORDER else "within a page"
            if size > BURST_BEATS * width:
                yield "longer than a burst"
            address += work.run_stride


def _matmul(machine: Machine, work: Matmul) -> Iterator[str]:
    array = machine.array
    shape = shape_of(work, array)
    flow = work.dataflow.name
    yield f"{flow} {'dense' if work.pattern.is_dense else 'sparse'}"
    if work.accumulate:
        yield f"accumulate {flow}"
    if shape.row_passes == shape.column_passes == 1:
        yield "one pass"
    if shape.row_passes > 1:
        yield "passes over rows"
    if shape.column_passes > 1:
        yield "passes over columns"
    timing = pass_timing(array, work)
    yield "issue-bound" if timing.next_cycles == timing.issue_cycles else "drain-bound"
    across = work.rows if work.dataflow is Dataflow.OS else shape.groups
    width = array.cols * (array.interleave if work.dataflow is Dataflow.OS else 1)
    if across % array.rows:
        yield "rows ragged"
    if work.columns % width:
        yield "columns ragged"
    m = work.pattern.m
    if work.depth % m:
        yield "reduction ragged"
    if not work.pattern.is_dense:
        yield f"M of {m}" if m & (m - 1) == 0 else "M that is no power of two"


def _reduce(machine: Machine, bound: Bound, work: Reduce) -> Iterator[str]:
    yield "groups across rows" if work.across else "groups in a row"
    yield "from the WUVE" if bound.from_wuve else "from memory"
    yield "one round" if work.groups <= machine.sore.lanes else "many rounds"
    yield f"N of {work.pattern.n}" if work.pattern.n <= 2 else "N above 2"
    yield f"M of {work.pattern.m}"


def _strips(machine: Machine, work: Vector) -> Iterator[str]:
    wuve, strips = machine.wuve, strips_of(work, machine.wuve)
    yield "windows" if work.window else f"rows over {work.over.name}"
    if work.fused:
        yield "fused"
    yield "one strip" if strips.count == 1 else "many strips"
    if strips.tail < wuve.lanes:
        yield "ragged lanes"
    if strips.used < wuve.slots:
        yield "ragged slots"


def _lane_program(machine: Machine, work: Vector) -> Iterator[str]:
    wuve = machine.wuve
    program = compile_program(work.op, work.over, wuve.lanes, wuve.slots, work.constants)
    yield f"{program.inputs} operand{'s' if program.inputs > 1 else ''}"
    if program.words:
        yield "words by strip" if program.by_strip else "words by step"
    for op in (op for phase in program.phases for op in phase.ops):
        yield from _lane_op(op)


def _lane_op(op: LaneOp) -> Iterator[str]:
    is_number = op.kind is Kind.RANDOM and op.function > 0
    if op.kind is Kind.FUNCTION:
        yield f"function {Function(op.function).name}"
    else:
        yield "number of the lane" if is_number else f"kind {op.kind.name}"
    for source in (op.a, op.b, op.c):
        yield f"source {_SOURCES.get(source.code, 'register')}"
        if source.negate:
            yield "negated"
        if source.absolute:
            yield "absolute"
    yield f"guard {op.guard.name}"
    yield f"emit {op.emit.name}"
    if op.lane_exchange:
        yield "lanes exchanged"
    if op.slot_exchange:
        yield "slots exchanged"
    if op.displaced:
        yield "displaced"


_SOURCES = {code: name for name, code in CODES.items()}
