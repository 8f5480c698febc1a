"""A Program becomes words: one stream of 256-bit words per queue.

Bits of a word; addresses on chip count the words or beats that the unit's port has:

    all        0   3  kind: 0 END, 1 SYNC, 2 TRANSFER, 3 MATMUL, 4 REDUCE, 5 UPDATE, 6 VECTOR
               3   1  first word of its instruction (its start is traced)
               4   1  last word of its instruction (its finish is traced)
               5  19  channels that it takes a token from, by their number (sim/program)
              24  19  channels that it gives a token to
    TRANSFER  48  40  byte address of the first run
              88  32  bytes from run to run
             120  20  runs
             140  20  beats of a run
             160   8  bytes in a run's last beat (0: all); store only
             168   4  buffer; load: 0 left, 1 right, 2 to 5 right index planes, 6 mask, 7 vector,
                      8 vector half; store: 0 output, 1 vector, 2 mask, 3 to 6 mask index planes,
                      7 vector half
             172  24  first beat in the buffer, bank included
             196  24  beats from run to run in the buffer
             220   1  FP32 to FP16; a beat in the buffer is then two beats wide; store only
             221  11  contiguous beats of a run (0: all); store only
             232  24  beats from one contiguous part to the next; store only
    MATMUL    48   1  weight stationary
              49   1  accumulate
              50   5  N
              55   5  M
              60   3  log2 of the groups in a left word
              64  16  steps
              80  16  vectors
              96  16  row passes
             112  16  column passes
             128  16  left words between row passes
             144  24  first left word, right word and output word (24 bits each)
             216   4  index planes in use
    REDUCE    48  24  rounds
              72   5  M
              77   4  N
              81   1  groups run across rows
              84  16  words of a row
             100   1  source: 0 mask bank, 1 FP16 weights in the vector output bank
             104  24  first source word
             128  24  first slot
    VECTOR    48  16  strips, rounds of a slot in a sweep (16 bits each); updates too
              80   1  words go by rounds, each kind apart; word 0 leaves as FP16 too
              81   2  slots are limited in: 0 the last strip, 1 the last step, 2 all
              84   4  input bank, output bank (4 bits each)
              93   1  fused: on an output bank of the STCE
              94   2  log2 of the operands of a round
              96  24  strides of strips, slots and steps (24 bits each)
             168   7  slots in use where they are limited
             175   9  lanes in use in a row's last round
             184  12  first lane operation
             196   2  log2 of the words of a row
             198   1  words go by strips
             199   1  two words leave per strip
             200  24  first round of outputs
             224  24  rounds, of words that go by them

Lane operations lie in a memory of their own, written as queue 5: bits as wuve.v has them.

A transfer of several (count, bytes) runs is one word for each; they follow each other without a
gap, so their beats add up as the closed form says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weft.rtl.cosimulation.matmul import fields
from weft.rtl.cosimulation.parameters import LANE_OPERATIONS, bank_words
from weft.sim.lanes import LaneOp, LaneProgram, Source
from weft.sim.lanes.programs import compile_program
from weft.sim.machine import Machine
from weft.sim.program import Channel, Matmul, Program, Queue, Reduce, Sync, Transfer, Update, Vector
from weft.sim.program.strips import strips_of
from weft.sim.program.timing import ceil_div
from weft.sim.program.vector_work import vector_work
from weft.sim.reference.bind import Bound, bind
from weft.sim.reference.update import STATES

__all__ = ["AssembleError", "Assembled", "assemble"]

END, SYNC, TRANSFER, MATMUL, REDUCE, VECTOR = range(6)

_LOAD_BUFFERS = {"left": 0, "right": 1, "mask": 6, "vector": 7, "vector_half": 8}
_LOAD_BUFFERS |= {f"right_index{bit}": 2 + bit for bit in range(4)}
_STORE_BUFFERS = {"output": 0, "vector": 1, "mask": 2, "vector_half": 7}
_STORE_BUFFERS |= {f"mask_index{bit}": 3 + bit for bit in range(4)}


OPERATION_BITS = 76
"""Of a lane operation."""


class AssembleError(ValueError):
    """A program that the Verilog cannot run: what is wrong with which instruction."""


@dataclass(frozen=True)
class Assembled:
    """Words per queue, END included, the tokens that each channel starts with, lane operations."""

    words: tuple[tuple[int, ...], ...]
    tokens: tuple[int, ...]
    operations: tuple[int, ...] = ()


def pack(parts: Mapping[tuple[int, int], int]) -> int:
    """A word from values by (first bit, bits).

    Raises:
        AssembleError: a value that does not fit its field.
    """
    word = 0
    for (first, bits), value in parts.items():
        if not 0 <= value < 1 << bits:
            raise AssembleError(f"{value} does not fit the {bits} bits from bit {first}")
        word |= value << first
    return word


def _mask(channels: tuple[Channel, ...]) -> int:
    if len(set(channels)) != len(channels):
        raise AssembleError(f"a channel appears twice in {[c.name for c in channels]}")
    return sum(1 << channel for channel in channels)


def _whole(value: int, unit: int, what: str) -> int:
    if value % unit:
        raise AssembleError(f"{what} = {value} is no multiple of {unit}")
    return value // unit


def _source(place: int, source: Source) -> dict[tuple[int, int], int]:
    """Fields of operand a, b or c."""
    return {(12 + 4 * place, 4): source.code, (24 + place, 1): int(source.negate)}


def operation_word(op: LaneOp, *, ends: bool, sweeps: bool, halts: bool) -> int:
    """The bits of one lane operation, the last of a phase or of its program or not."""
    word = pack(
        {
            (0, 3): op.kind,
            (3, 3): op.function,
            (6, 3): op.target,
            (9, 1): 1,
            (10, 2): op.guard,
            **_source(0, op.a),
            **_source(1, op.b),
            **_source(2, op.c),
            (27, 1): int(op.a.absolute),
            (28, 4): op.lane_exchange,
            (32, 3): op.slot_exchange,
            (35, 1): op.pair,
            (36, 2): op.word,
            (38, 2): op.emit,
            (40, 1): int(op.displaced),
            (41, 1): int(ends),
            (42, 1): int(sweeps),
            (43, 1): int(halts),
            (44, 32): op.constant,
        }
    )
    assert word < 1 << OPERATION_BITS
    return word


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
                bodies = [SYNC]
            case Sync():
                raise AssembleError("a sync in the load queue would overtake loads under way")
            case Update():
                bodies = [self._update(bound, work)]
            case Vector():
                bodies = [self._vector(bound, work)]
        last = len(bodies) - 1
        return [
            body
            | pack(
                {
                    (3, 1): int(index == 0),
                    (4, 1): int(index == last),
                    (5, 19): _mask(bound.instruction.waits) if index == 0 else 0,
                    (24, 19): _mask(bound.instruction.signals) if index == last else 0,
                }
            )
            for index, body in enumerate(bodies)
        ]

    def _transfer(self, bound: Bound, work: Transfer) -> list[int]:
        load = bound.instruction.queue is Queue.LOAD
        memory = self.machine.memory
        width = memory.read_bytes_per_cycle if load else memory.write_bytes_per_cycle
        numbers = _LOAD_BUFFERS if load else _STORE_BUFFERS
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
                pack(
                    {
                        (0, 3): TRANSFER,
                        (48, 40): address,
                        (88, 32): work.run_stride if count > 1 else 0,
                        (120, 20): count,
                        (140, 20): beats,
                        (160, 8): size % width,
                        (168, 4): numbers[work.buffer],
                        (172, 24): _whole(place, unit, "offset"),
                        (196, 24): _whole(stride, unit, "bank_stride") % (1 << 24),
                        (220, 1): int(narrow),
                        (221, 11): _whole(work.chunk, unit, "chunk"),
                        (232, 24): _whole(work.chunk_stride, unit, "chunk_stride") % (1 << 24),
                    }
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
        return pack(
            {
                (0, 3): MATMUL,
                (48, 1): shape["weight_stationary"],
                (49, 1): shape["accumulate"],
                (50, 5): shape["n_keep"],
                (55, 5): shape["m_group"],
                (60, 3): shape["group_shift"],
                (64, 16): shape["steps"],
                (80, 16): shape["vectors"],
                (96, 16): shape["row_passes"],
                (112, 16): shape["column_passes"],
                (128, 16): shape["left_step"],
                (144, 24): first["left"],
                (168, 24): first["right"],
                (192, 24): first["output"],
                (216, 4): (1 << bits) - 1,
            }
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
        return pack(
            {
                (0, 3): REDUCE,
                (48, 24): ceil_div(work.groups, lanes),
                (72, 5): work.pattern.m,
                (77, 4): work.pattern.n,
                (81, 1): int(work.across > 0),
                (84, 16): _whole(work.across, lanes, "across"),
                (100, 1): int(from_wuve),
                (104, 24): bound.banks.get(source, 0) * words_of_source,
                (128, 24): bound.banks.get("mask_out", 0) * words["mask"],
            }
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
        return self._vector(bound, step) | pack({(224, 24): rounds})

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
        return self._banks(bound) | pack(
            {
                (0, 3): VECTOR,
                (48, 16): strips.count,
                (64, 16): strips.width,
                (80, 1): int(program.planar),
                (81, 2): strips.limit,
                (93, 1): int(work.fused),
                (94, 2): program.inputs.bit_length() - 1,
                (96, 24): strips.strip_stride,
                (120, 24): strips.slot_stride,
                (144, 24): strips.stride,
                (168, 7): strips.used,
                (175, 9): strips.tail,
                (184, 12): self._first_operation(program),
                (196, 2): 0 if program.planar else max(1, program.words).bit_length() - 1,
                (198, 1): int(program.by_strip),
                (199, 1): 0 if program.planar else program.words_out - 1,
                (200, 24): bound.banks.get("output", 0) * words["output"] * array.cols // wuve.lanes
                if work.fused
                else 0,
            }
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

    def _banks(self, bound: Bound) -> int:
        return pack(
            {
                (84, 4): bound.banks.get("vector_in", 0),
                (88, 4): bound.banks.get("vector_out", 0),
            }
        )


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
    queues = tuple((*stream, END) for stream in words)
    return Assembled(queues, tuple(tokens), tuple(assembler.operations))
