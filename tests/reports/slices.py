"""Timelines to report on: windows of a layer-like program on the real machine."""

from __future__ import annotations

import functools

from weft.reports.entries import Entry, entry_of
from weft.sim.engine import Engine, Slice
from weft.sim.machine import load_machine
from weft.sim.pattern import Pattern
from weft.sim.program import (
    Channel,
    Dataflow,
    Instruction,
    Loop,
    Matmul,
    Program,
    Queue,
    Segment,
    Transfer,
    Vector,
    check_program,
)

MACHINE = load_machine("sat-vcu1525")
_LOAD, _STORE, _STCE, _WUVE = Queue.LOAD, Queue.STORE, Queue.STCE, Queue.WUVE


def _product(tiles: int) -> Loop:
    """Double-buffered tiles: two loads, a matmul, a store."""
    moved = Transfer(((64, 512),), "left", tensor="x<1>")
    return Loop(
        tiles,
        (
            Instruction(_LOAD, moved, (Channel.LEFT_FREE,), (Channel.LEFT_FULL,)),
            Instruction(
                _LOAD, Transfer(((8, 300),), "right"), (Channel.RIGHT_FREE,), (Channel.RIGHT_FULL,)
            ),
            Instruction(
                _STCE,
                Matmul(Dataflow.OS, 64, 256, 64, Pattern(2, 8), groups=32),
                (Channel.LEFT_FULL, Channel.RIGHT_FULL, Channel.OUT_FREE),
                (Channel.LEFT_FREE, Channel.RIGHT_FREE, Channel.OUT_FULL),
            ),
            Instruction(
                _STORE, Transfer(((64, 128),), "output"), (Channel.OUT_FULL,), (Channel.OUT_FREE,)
            ),
        ),
    )


def _vector(tiles: int) -> Loop:
    return Loop(
        tiles,
        (
            Instruction(
                _LOAD, Transfer(((1, 4096),), "vector"), (Channel.VIN_FREE,), (Channel.VIN_FULL,)
            ),
            Instruction(
                _WUVE,
                Vector(2048, 2, "relu"),
                (Channel.VIN_FULL, Channel.VOUT_FREE),
                (Channel.VIN_FREE, Channel.VOUT_FULL),
            ),
            Instruction(
                _STORE, Transfer(((1, 4096),), "vector"), (Channel.VOUT_FULL,), (Channel.VOUT_FREE,)
            ),
        ),
    )


BANKS = 2


@functools.cache
def big_program() -> Program:
    """Eight layers, forward and backward, of 400 product tiles and 100 vector tiles each."""
    segments = [
        Segment(name, body)
        for stage in ("ff", "bp")
        for layer in range(8)
        for name, body in (
            (f"block{layer}.conv:{stage}", (_product(400),)),
            (f"block{layer}.bn:{stage}", (_vector(100),)),
        )
    ]
    free = (
        Channel.LEFT_FREE,
        Channel.RIGHT_FREE,
        Channel.OUT_FREE,
        Channel.VIN_FREE,
        Channel.VOUT_FREE,
    )
    program = Program(tuple(segments), tuple((channel, BANKS) for channel in free))
    check_program(program)
    return program


@functools.cache
def big_slices(limit: int) -> list[Slice]:
    """The first ``limit`` instructions of ``big_program``."""
    program = big_program()
    return Engine(MACHINE).timeline(program, 0, len(program.segments), limit)


def big_entries(limit: int) -> list[Entry]:
    """The same as charts take them."""
    return [entry_of(part) for part in big_slices(limit)]
