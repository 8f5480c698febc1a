"""WUVE's vector ops on ``sat_top``, every program: the reference's bits, the engine's cycles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.rtl.vector_cases import (
    Halves,
    elementwise_cases,
    pool_cases,
    row_cases,
    several_results_cases,
)
from weft.rtl.cosimulation.build import Design, lint
from weft.rtl.cosimulation.cosim import compare
from weft.rtl.cosimulation.product import Case
from weft.rtl.cosimulation.simulate import IDEAL, Pauses, simulate
from weft.rtl.inspection.structure import closure
from weft.sim.machine import Machine, load_machine
from weft.sim.program import (
    Channel,
    Instruction,
    Node,
    Program,
    Queue,
    Segment,
    Sync,
    Transfer,
)
from weft.sim.program.vector_work import vector_work

MACHINE = load_machine("sat-4x4")
WORDS = load_machine("sat-4x4-words")
"""A round of its lanes is a beat of its memory."""


def check(machine: Machine, cases: list[Case], pauses: list[Pauses] | None = None) -> None:
    pauses = pauses or [IDEAL] * len(cases)
    for case, pause, run in zip(cases, pauses, simulate(machine, cases, pauses), strict=True):
        result = compare(case, machine, pause, run, 0.0)
        assert not result.differences, (case.name, result.differences[:3])


def test_every_elementwise_program() -> None:
    check(MACHINE, elementwise_cases(MACHINE))


def test_every_program_of_rows() -> None:
    check(MACHINE, row_cases(MACHINE, 7) + pool_cases(MACHINE))


def test_every_program_of_several_results() -> None:
    check(MACHINE, several_results_cases(MACHINE))


def test_back_pressure_on_another_array() -> None:
    machine = load_machine("sat-8x8")
    cases = row_cases(machine, 3)[::3]
    check(machine, cases, [Pauses(40, 40, 40, 40, 40, seed) for seed in range(len(cases))])


def test_other_lanes_slots_and_pipelines() -> None:
    machine = replace(
        MACHINE,
        buffers=replace(MACHINE.buffers, vector_bytes=16384),
        array=replace(MACHINE.array, multiplier_stages=3, adder_stages=5, interleave=5),
        wuve=replace(MACHINE.wuve, lanes=8, slots=32, pipeline_cycles=13),
    )
    check(
        machine, row_cases(machine, 5)[::4] + pool_cases(machine) + several_results_cases(machine)
    )


def embedding_case(tokens: list[int], width: int) -> tuple[Case, Halves, Halves]:
    """Rows of a table by tokens that the host knows, and their gradients added up, row by row."""
    draw = np.random.default_rng(3)
    table = draw.standard_normal((50, width)).astype(np.float16)
    gradient = draw.standard_normal((len(tokens), width)).astype(np.float16)
    pitch, lanes = 2 * width, WORDS.wuve.lanes
    images = {"table": table, "rows": 0 * gradient, "gradient": gradient, "sums": 0 * table}
    tensors: dict[str, int] = {}
    memory = np.zeros(4 * 8192, np.uint8)
    for place, (name, image) in enumerate(images.items()):
        tensors[name] = 8192 * place
        memory[8192 * place :][: image.nbytes] = image.view(np.uint8).reshape(-1)
    body: list[Node] = []
    line = 2 * lanes
    for number, token in enumerate(tokens):
        body += [
            _load(Transfer(((1, pitch),), "vector_half", "table", pitch * token), Channel.VIN_FREE),
            *_worked("copy", width, "rows", pitch * number),
        ]
        # The sum so far must have been stored before it is loaded again.
        sums = Transfer(
            ((width // lanes, line),), "vector_half", "sums", pitch * token,
            run_stride=line, bank_stride=2 * line,
        )  # fmt: skip
        new = replace(sums, tensor="gradient", base=pitch * number, offset=line)
        waits = (Channel.VIN_FREE, *((Channel.STORED,) if number else ()))
        body += [
            Instruction(Queue.LOAD, sums, waits),
            Instruction(Queue.LOAD, new, (), (Channel.VIN_FULL,)),
            *_worked("add", width, "sums", pitch * token),
            Instruction(Queue.STORE, Sync(), (), (Channel.STORED,)),
        ]
    free = ((Channel.VIN_FREE, 2), (Channel.VOUT_FREE, 2))
    case = Case("embedding", Program((Segment("", tuple(body)),), free), memory, tensors, None)
    wanted = np.zeros((50, width), np.float16)
    for number, token in enumerate(tokens):
        wanted[token] = (wanted[token].astype(np.float32) + gradient[number]).astype(np.float16)
    return case, table[tokens], wanted


def _load(work: Transfer, waits: Channel) -> Instruction:
    return Instruction(Queue.LOAD, work, (waits,), (Channel.VIN_FULL,))


def _worked(op: str, width: int, tensor: str, base: int) -> list[Node]:
    takes, gives = (Channel.VIN_FULL, Channel.VOUT_FREE), (Channel.VIN_FREE, Channel.VOUT_FULL)
    store = Transfer(((1, 2 * width),), "vector_half", tensor, base)
    return [
        Instruction(Queue.WUVE, vector_work(op, width, WORDS.wuve), takes, gives),
        Instruction(Queue.STORE, store, (Channel.VOUT_FULL,), (Channel.VOUT_FREE,)),
    ]


def test_embedding_by_tokens_that_the_host_knows() -> None:
    case, rows, sums = embedding_case([7, 3, 7, 49, 0, 3, 7], 32)
    (run,) = simulate(WORDS, [case])
    assert not compare(case, WORDS, IDEAL, run, 0.0).differences
    for name, wanted in (("rows", rows), ("sums", sums)):
        image = run.memory[case.tensors[name] :][: wanted.nbytes].view(np.float16)
        assert np.array_equal(image.reshape(wanted.shape), wanted)


VARIANTS = [
    ("wuve", {"LANES": 64, "SLOTS": 16}),
    ("wuve", {"LANES": 2, "SLOTS": 32, "LM": 3, "LA": 5}),
    ("output_buffer", {"COLS": 4, "LANES": 16, "BEAT_BYTES": 8}),
    ("output_buffer", {"COLS": 16, "LANES": 4, "BEAT_BYTES": 32, "BANKS": 3, "WORDS": 192}),
    ("output_buffer", {"COLS": 4, "LANES": 4}),
]


@pytest.mark.parametrize(("top", "parameters"), VARIANTS)
def test_lints_clean_with_all_warnings_on(top: str, parameters: dict[str, int]) -> None:
    lint(Design(top, closure(top), parameters))
