"""A Program becomes words: one stream of 256-bit words per queue.

The fields of a word and of a lane operation are those of ``weft.rtl.hardware.instruction_word``;
WORDS.md beside it shows them. A transfer of several (count, bytes) runs is one word for each; they
follow each other without a gap, so their beats add up as the closed form says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weft.rtl.cosimulation.matmul import fields
from weft.rtl.cosimulation.parameters import LANE_OPERATIONS, bank_words
from weft.rtl.hardware.instruction_word import (
    COMMON,
    KINDS,
    LANE_OPERATION,
    LOAD_BUFFERS,
    STORE_BUFFERS,
    WORDS,
    FieldError,
)
from weft.sim.lanes import LaneOp, LaneProgram
from weft.sim.lanes.programs import compile_program
from weft.sim.machine import Machine
from weft.sim.program import Channel, Matmul, Program, Queue, Reduce, Sync, Transfer, Update, Vector
from weft.sim.program.strips import strips_of
from weft.sim.program.timing import ceil_div
from weft.sim.program.vector_work import vector_work
from weft.sim.reference.bind import Bound, bind
from weft.sim.reference.update import STATES

__all__ = ["AssembleError", "Assembled", "assemble"]


class AssembleError(ValueError):
    """A program that the Verilog cannot run: what is wrong with which instruction."""


@dataclass(frozen=True)
class Assembled:
    """Words per queue, END included, the tokens that each channel starts with, lane operations."""

    words: tuple[tuple[int, ...], ...]
    tokens: tuple[int, ...]
    operations: tuple[int, ...] = ()


def _word(kind: str, values: Mapping[str, int]) -> int:
    """The bits of a word of that kind with these fields.

    Raises:
        AssembleError: a value that does not fit its field.
    """
    try:
        return COMMON.pack({"kind": KINDS[kind]}) | WORDS[kind].pack(values)
    except FieldError as error:
        raise AssembleError(str(error)) from error


def _mask(channels: tuple[Channel, ...]) -> int:
    if len(set(channels)) != len(channels):
        raise AssembleError(f"a channel appears twice in {[c.name for c in channels]}")
    return sum(1 << channel for channel in channels)


def _whole(value: int, unit: int, what: str) -> int:
    if value % unit:
        raise AssembleError(f"{what} = {value} is no multiple of {unit}")
    return value // unit


def operation_word(op: LaneOp, *, ends: bool, sweeps: bool, halts: bool) -> int:
    """The bits of one lane operation, the last of a phase or of its program or not."""
    return LANE_OPERATION.pack(
        {
            "kind": op.kind,
            "function": op.function,
            "target": op.target,
            "writes": 1,
            "guard": op.guard,
            "a": op.a.code,
            "b": op.b.code,
            "c": op.c.code,
            "negate_a": int(op.a.negate),
            "negate_b": int(op.b.negate),
            "negate_c": int(op.c.negate),
            "absolute_a": int(op.a.absolute),
            "lane_exchange": op.lane_exchange,
            "slot_exchange": op.slot_exchange,
            "pair": op.pair,
            "word": op.word,
            "emit": op.emit,
            "displaced": int(op.displaced),
            "ends": int(ends),
            "sweeps": int(sweeps),
            "halts": int(halts),
            "constant": op.constant,
        }
    )


def program_words(program: LaneProgram) -> list[int]:
    """The lane operations of a vector op in order."""
    last = program.phases[-1]
    return [
        operation_word(
            op,
            ends=op is phase.ops[-1],
            sweeps=phase.sweep,
            halts=phase is last and op is last.ops[-1],
        )
        for phase in program.phases
        for op in phase.ops
    ]


@dataclass(frozen=True)
class _Assembler:
    machine: Machine
    tensors: Mapping[str, int]
    operations: list[int]
    programs: dict[LaneProgram, int]

    def words(self, bound: Bound) -> list[int]:
        """The words of one instruction."""
        work = bound.instruction.work
        match work:
            case Transfer():
                bodies = self._transfer(bound, work)
            case Matmul():
                bodies = [self._matmul(bound, work)]
            case Reduce():
                bodies = [self._reduce(bound, work)]
            case Sync() if bound.instruction.queue is not Queue.LOAD:
                bodies = [KINDS["SYNC"]]
            case Sync():
                raise AssembleError("a sync in the load queue would overtake loads under way")
            case Update():
                bodies = [self._update(bound, work)]
            case Vector():
                bodies = [self._vector(bound, work)]
        last = len(bodies) - 1
        return [
            body
            | COMMON.pack(
                {
                    "starts": int(index == 0),
                    "ends": int(index == last),
                    "waits": _mask(bound.instruction.waits) if index == 0 else 0,
                    "signals": _mask(bound.instruction.signals) if index == last else 0,
                }
            )
            for index, body in enumerate(bodies)
        ]

    def _transfer(self, bound: Bound, work: Transfer) -> list[int]:
        load = bound.instruction.queue is Queue.LOAD
        memory = self.machine.memory
        width = memory.read_bytes_per_cycle if load else memory.write_bytes_per_cycle
        numbers = LOAD_BUFFERS if load else STORE_BUFFERS
        if work.buffer not in numbers:
            raise AssembleError(f"unknown buffer {work.buffer!r}; known: {', '.join(numbers)}")
        if load and work.chunk:
            raise AssembleError("the load unit fills contiguous runs; chunk must be 0")
        narrow = work.buffer == "output" and not work.wide
        unit = 2 * width if narrow else width
        if work.tensor not in self.tensors:
            raise AssembleError(f"unknown tensor {work.tensor!r}")
        address = self.tensors[work.tensor] + bound.address
        place = self._bank_start(bound, work, load=load) + work.offset
        words: list[int] = []
        for count, size in work.runs:
            beats = ceil_div(size, width)
            stride = work.bank_stride or beats * unit
            _whole(address, width, f"address of {work.tensor}")
            if count > 1:
                _whole(work.run_stride, width, "run_stride")
            words.append(
                _word(
                    "TRANSFER",
                    {
                        "address": address,
                        "stride": work.run_stride if count > 1 else 0,
                        "runs": count,
                        "run_beats": beats,
                        "tail_bytes": size % width,
                        "buffer": numbers[work.buffer],
                        "beat": _whole(place, unit, "offset"),
                        "beat_stride": _whole(stride, unit, "bank_stride") % (1 << 24),
                        "narrow": int(narrow),
                        "chunk_beats": _whole(work.chunk, unit, "chunk"),
                        "chunk_stride": _whole(work.chunk_stride, unit, "chunk_stride") % (1 << 24),
                    },
                )
            )
            address += count * work.run_stride
            place += count * stride
        return words

    def _bank_start(self, bound: Bound, work: Transfer, *, load: bool) -> int:
        """First byte of the bank in its buffer."""
        array, lanes, words = self.machine.array, self.machine.sore.lanes, bank_words(self.machine)
        if work.buffer.startswith("right_index"):
            return bound.banks.get("right", 0) * words["right"] * array.cols // 8
        if work.buffer.startswith("mask_index"):
            return bound.banks.get("mask_out", 0) * words["mask"] * lanes // 8
        way = "in" if load else "out"
        group, size = {
            "left": ("left", words["left"] * array.rows * 32),
            "right": ("right", words["right"] * array.cols * 2),
            "output": ("output", words["output"] * array.cols * 4),
            "mask": (f"mask_{way}", words["mask"] * lanes * 2),
            "vector": (f"vector_{way}", words["vector"] * self.machine.wuve.lanes * 4),
            "vector_half": (f"vector_{way}", words["vector"] * self.machine.wuve.lanes * 4),
        }[work.buffer]
        return bound.banks.get(group, 0) * size

    def _matmul(self, bound: Bound, work: Matmul) -> int:
        if work.batch != 1:
            raise AssembleError(f"a matmul of {work.batch} tiles; the Verilog runs one at a time")
        if not work.interleaved:
            raise AssembleError("a matmul without interleave mapping has no Verilog")
        words = bank_words(self.machine)
        shape = fields(work, self.machine.array)
        self._check_fits(work, shape, words)
        first = {name: bound.banks.get(name, 0) * words[name] for name in words}
        bits = work.pattern.index_bits
        return _word(
            "MATMUL",
            {
                "weight_stationary": shape["weight_stationary"],
                "accumulate": shape["accumulate"],
                "n_keep": shape["n_keep"],
                "m_group": shape["m_group"] % 16,
                "group_shift": shape["group_shift"],
                "steps": shape["steps"],
                "vectors": shape["vectors"],
                "row_passes": shape["row_passes"],
                "column_passes": shape["column_passes"],
                "left_step": shape["left_step"],
                "left_base": first["left"],
                "right_base": first["right"],
                "out_base": first["output"],
                "index_planes": (1 << bits) - 1,
            },
        )

    def _check_fits(self, work: Matmul, shape: dict[str, int], words: dict[str, int]) -> None:
        array = self.machine.array
        passes = shape["row_passes"] * shape["column_passes"]
        if shape["weight_stationary"]:
            right = passes * array.rows * shape["n_keep"]
            output = shape["column_passes"] * shape["vectors"]
        else:
            right = shape["column_passes"] * shape["steps"] * array.interleave
            output = passes * array.rows * array.interleave
        used = {"left": shape["row_passes"] * shape["left_step"], "right": right, "output": output}
        for name, count in used.items():
            if count > words[name]:
                raise AssembleError(
                    f"a matmul of {work.rows} x {work.depth} x {work.columns} needs {count} words "
                    f"of the {name} bank; {self.machine.name} has {words[name]}"
                )

    def _reduce(self, bound: Bound, work: Reduce) -> int:
        lanes, words = self.machine.sore.lanes, bank_words(self.machine)
        from_wuve = bound.from_wuve
        source = "vector_out" if from_wuve else "mask_in"
        words_of_source = words["mask"]
        if from_wuve:
            words_of_source = words["vector"] * self.machine.wuve.lanes * 2 // lanes
        return _word(
            "REDUCE",
            {
                "rounds": ceil_div(work.groups, lanes),
                "pattern_m": work.pattern.m,
                "pattern_n": work.pattern.n,
                "across": int(work.across > 0),
                "inner_words": _whole(work.across, lanes, "across"),
                "from_wuve": int(from_wuve),
                "source_base": bound.banks.get(source, 0) * words_of_source,
                "slot_base": bound.banks.get("mask_out", 0) * words["mask"],
            },
        )

    def _update(self, bound: Bound, work: Update) -> int:
        if work.optimizer not in STATES:
            raise AssembleError(f"optimizer {work.optimizer!r} has no Verilog")
        if len(work.constants) != (5 if work.optimizer == "adamw" else 3):
            raise AssembleError(f"an update by {work.optimizer} needs all its constants")
        wuve, held = self.machine.wuve, bank_words(self.machine)["vector"]
        rounds = ceil_div(work.elements, wuve.lanes)
        needed = rounds * (1 + STATES[work.optimizer])
        if needed > held:
            raise AssembleError(f"{work.elements} elements need {needed} of {held} vector words")
        step = vector_work(work.optimizer, work.elements, wuve, work.constants)
        return self._vector(bound, step) | WORDS["VECTOR"].pack({"rounds": rounds})

    def _vector(self, bound: Bound, work: Vector) -> int:
        if not work.op:
            raise AssembleError("a vector op without a lane program")
        wuve, array = self.machine.wuve, self.machine.array
        program = compile_program(work.op, work.over, wuve.lanes, wuve.slots, work.constants)
        if (program.passes, program.row_passes) != (work.passes, work.row_passes):
            raise AssembleError(
                f"{work.op}: {work.passes} passes and {work.row_passes} per row; "
                f"its program has {program.passes} and {program.row_passes}"
            )
        strips = strips_of(work, wuve)
        words = bank_words(self.machine)
        held = words["output"] * array.cols // wuve.lanes if work.fused else 2 * words["vector"]
        if work.window is None and strips.rounds * program.inputs > held:
            raise AssembleError(
                f"{work.elements} elements of {work.op} need more than {held} rounds"
            )
        return _word(
            "VECTOR",
            {
                "strips": strips.count,
                "bank_in": bound.banks.get("vector_in", 0),
                "bank_out": bound.banks.get("vector_out", 0),
                "width": strips.width,
                "planar": int(program.planar),
                "limit": strips.limit,
                "fused": int(work.fused),
                "inputs": program.inputs.bit_length() - 1,
                "strip_stride": strips.strip_stride,
                "slot_stride": strips.slot_stride,
                "stride": strips.stride,
                "used": strips.used,
                "tail": strips.tail,
                "first": self._first_operation(program),
                "words": 0 if program.planar else max(1, program.words).bit_length() - 1,
                "by_strip": int(program.by_strip),
                "two_out": 0 if program.planar else program.words_out - 1,
                "fused_base": bound.banks.get("output", 0) * held if work.fused else 0,
            },
        )

    def _first_operation(self, program: LaneProgram) -> int:
        """Where the program's lane operations begin; they are added when they are new."""
        if program not in self.programs:
            self.programs[program] = len(self.operations)
            self.operations.extend(program_words(program))
            if len(self.operations) > LANE_OPERATIONS:
                raise AssembleError(
                    f"{len(self.operations)} lane operations; WUVE holds {LANE_OPERATIONS}"
                )
        return self.programs[program]


def assemble(program: Program, machine: Machine, tensors: Mapping[str, int]) -> Assembled:
    """Words of every queue for ``program`` with its tensors at these byte addresses.

    Raises:
        AssembleError: what the Verilog cannot run, with the reason.
    """
    assembler = _Assembler(machine, tensors, [], {})
    words: list[list[int]] = [[] for _ in Queue]
    for bound in bind(program):
        words[bound.instruction.queue] += assembler.words(bound)
    tokens = [0] * len(Channel)
    for channel, count in program.tokens:
        tokens[channel] += count
    queues = tuple((*stream, KINDS["END"]) for stream in words)
    return Assembled(queues, tuple(tokens), tuple(assembler.operations))
