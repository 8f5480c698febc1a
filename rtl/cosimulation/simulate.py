"""Run Programs on ``sat_top`` in Verilator: files in, one simulation, files out."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weft.rtl.cosimulation.assemble import Assembled, assemble
from weft.rtl.cosimulation.build import Design, build_cocotb, run_cocotb
from weft.rtl.cosimulation.icarus import build_icarus, icarus_launcher
from weft.rtl.cosimulation.parameters import parameters
from weft.rtl.cosimulation.product import Case
from weft.rtl.cosimulation.replaced import NONE, Replaced
from weft.rtl.cosimulation.waveform import check_waveform, vcd_to_fst
from weft.rtl.hardware import VERILOG
from weft.sim.machine import Machine
from weft.sim.program import Queue
from weft.sim.reference.bind import bind
from weft.sim.reference.stepper import Span

__all__ = ["IDEAL", "Pauses", "RtlRun", "SimulationError", "cosim_design", "outcomes", "simulate"]

TOKEN_BITS = 16
BENCH = Path(__file__).resolve().parent / "bench"
MODULES = (
    "delay_line",
    "fp16_normalize",
    "fp16_multiplier",
    "leading_zeros_28",
    "fp32_adder",
    "fp32_to_fp16",
    "fp16_to_fp32",
    "fp32_multiplier",
    "uspe",
    "stce",
    "row_feeder",
    "column_feeder",
    "column_port",
    "stce_unit",
    "bank_ram",
    "left_buffer",
    "right_buffer",
    "output_buffer",
    "sore_lane",
    "sore",
    "function_table",
    "function_unit",
    "wuve_lane",
    "wuve",
    "token_counters",
    "queue",
    "unit_control",
    "burst_walker",
    "beat_pacer",
    "load_unit",
    "store_unit",
    "sat_top",
)

PORTS = (
    *("clk", "load", "index", "words", "used_bytes", "limit", "seed"),
    *("pause_ar", "pause_r", "pause_aw", "pause_w", "pause_b"),
    *("done", "hung", "cycles", "faults"),
)


class SimulationError(RuntimeError):
    """The Verilog hung, or broke a rule of its bus."""


@dataclass(frozen=True)
class Pauses:
    """Back-pressure: probability, in 1/256, that a channel of the bus pauses in a cycle."""

    ar: int = 0
    r: int = 0
    aw: int = 0
    w: int = 0
    b: int = 0
    seed: int = 1


IDEAL = Pauses()
"""A memory that never pauses."""


@dataclass(frozen=True)
class RtlRun:
    """What the Verilog did: ``spans`` in program order, its cycles, and memory after it."""

    cycles: int
    spans: tuple[Span, ...]
    memory: NDArray[np.uint8]


def cosim_design(machine: Machine, program_words: int, memory_log2: int) -> Design:
    """The bench around ``sat_top`` for one machine."""
    sources = [VERILOG / f"{module}.v" for module in MODULES]
    sources += [BENCH / "axi_memory.v", BENCH / "cosim_top.v"]
    values = {**parameters(machine, program_words), "MEMORY_LOG2": memory_log2}
    visible = tuple(f"cosim_top.{port}" for port in PORTS)
    return Design("cosim_top", tuple(sources), values, visible)


def _hex(image: NDArray[np.uint8], width: int) -> str:
    """Bytes as words of ``width``, the first byte lowest."""
    words = np.zeros(-(-image.size // width) * width, np.uint8)
    words[: image.size] = image
    return words.reshape(-1, width)[:, ::-1].tobytes().hex("\n", width)


def _unhex(text: str, width: int) -> NDArray[np.uint8]:
    """The reverse of ``_hex``; comments and addresses of $writememh are left out."""
    lines = [line for line in text.splitlines() if line and line[0] not in "@/"]
    words = np.frombuffer(bytes.fromhex("".join(lines)), np.uint8)
    return words.reshape(-1, width)[:, ::-1].reshape(-1)


def _write_case(folder: Path, case: Case, code: Assembled, width: int) -> int:
    folder.mkdir()
    lines = [
        f"{queue:01x}{address:05x}{word:064x}"
        for queue, words in enumerate((*code.words, code.operations))
        for address, word in enumerate(words)
    ]
    (folder / "words.hex").write_text("\n".join(lines))
    tokens = sum(count << TOKEN_BITS * index for index, count in enumerate(code.tokens))
    (folder / "tokens.hex").write_text(f"{tokens:076x}")
    (folder / "memory.hex").write_text(_hex(case.memory, width))
    return len(lines)


def _read_log(text: str) -> list[list[list[int]]]:
    """Cycles by kind (start, free, finish) and queue, in order."""
    cycles: list[list[list[int]]] = [[[] for _ in Queue] for _ in range(3)]
    for line in text.splitlines():
        kind, queue, cycle = map(int, line.split())
        cycles[kind][queue].append(cycle)
    return cycles


def _spans(case: Case, text: str) -> tuple[Span, ...]:
    starts, frees, finishes = ([iter(queue) for queue in kind] for kind in _read_log(text))
    return tuple(
        Span(queue, next(starts[queue]), next(frees[queue]), next(finishes[queue]))
        for queue in (bound.instruction.queue for bound in bind(case.program))
    )


def _log2_above(value: int, least: int) -> int:
    return max(least, (value - 1).bit_length())


def simulate(
    machine: Machine,
    cases: Sequence[Case],
    pauses: Sequence[Pauses] | None = None,
    limit: int = 50_000_000,
    wave: Path | None = None,
    replaced: Replaced = NONE,
) -> list[RtlRun]:
    """Run every case on the Verilog of ``machine``, all in one process; ``wave`` takes a
    waveform (its name ends in .vcd or .fst); ``replaced`` modules come from other files.

    Raises:
        AssembleError, UnsupportedMachineError: what the Verilog cannot run.
        WaveformError: a waveform that cannot be written.
        SimulationError: a case hung, or the bus protocol was broken.
    """
    found = outcomes(machine, cases, pauses, limit, wave, replaced.into)
    for outcome in found:
        if isinstance(outcome, SimulationError):
            raise outcome
    return [outcome for outcome in found if isinstance(outcome, RtlRun)]


def outcomes(
    machine: Machine,
    cases: Sequence[Case],
    pauses: Sequence[Pauses] | None = None,
    limit: int = 50_000_000,
    wave: Path | None = None,
    change: Callable[[Design], Design] = lambda design: design,
    ports: Sequence[Mapping[str, int]] | None = None,
    *,
    icarus: bool = False,
) -> list[RtlRun | SimulationError]:
    """Like ``simulate``, with each case's failure in its place.

    ``change`` may replace the design by a variant of it, whose further ``ports`` are set per case.
    ``icarus`` runs it there instead of on Verilator, without waveforms.
    """
    width = min(machine.memory.read_bytes_per_cycle, machine.memory.write_bytes_per_cycle)
    codes = [assemble(case.program, machine, case.tensors) for case in cases]
    longest = max(len(words) for code in codes for words in code.words)
    largest = max(case.memory.size for case in cases)
    design = change(cosim_design(machine, 1 << _log2_above(longest, 12), _log2_above(largest, 23)))
    if wave is not None:
        check_waveform(wave)
        design = dataclasses.replace(design, arguments=("--trace-vcd",))
    pauses = pauses or [IDEAL] * len(cases)
    ports = ports or [{}] * len(cases)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        program = build_icarus(design, folder) if icarus else build_cocotb(design)
        settings: list[dict[str, int]] = []
        for index, (case, code, pause) in enumerate(zip(cases, codes, pauses, strict=True)):
            words = _write_case(folder / str(index), case, code, width)
            settings.append(
                {
                    "index": index,
                    "words": words,
                    "used_bytes": -(-case.memory.size // 4096) * 4096,
                    "limit": limit,
                    "seed": pause.seed,
                    **{
                        f"pause_{name}": getattr(pause, name)
                        for name in ("ar", "r", "aw", "w", "b")
                    },
                    **ports[index],
                }
            )
        (folder / "cases.json").write_text(json.dumps(settings))
        run_cocotb(
            program,
            "weft.rtl.cosimulation.bench.cosim_cases",
            folder=folder,
            environment={"WEFT_CASES": str(folder)},
            arguments=[f"+cases={folder}"],
            waves=wave is not None,
            launcher=icarus_launcher() if icarus else (),
        )
        if wave is not None:
            _keep_waveform(folder / "dump.vcd", wave)
        answers = json.loads((folder / "answers.json").read_text())
        return [
            _result(case, answer, folder / str(index), width)
            for index, (case, answer) in enumerate(zip(cases, answers, strict=True))
        ]


def _keep_waveform(dump: Path, wave: Path) -> None:
    """Beside its place first: the scratch folder may lie on another disk."""
    beside = wave.with_name(f".{wave.name}.{os.getpid()}")
    try:
        if wave.suffix == ".fst":
            vcd_to_fst(dump, beside)
        else:
            shutil.move(dump, beside)
        beside.replace(wave)
    finally:
        beside.unlink(missing_ok=True)


def _result(
    case: Case, answer: dict[str, int], folder: Path, width: int
) -> RtlRun | SimulationError:
    if answer["hung"]:
        return SimulationError(f"{case.name}: still running after {answer['cycles']} cycles")
    if answer["faults"]:
        return SimulationError(f"{case.name}: {answer['faults']} breaks of the AXI4 protocol")
    memory = _unhex((folder / "result.hex").read_text(), width)[: case.memory.size]
    spans = _spans(case, (folder / "log.txt").read_text())
    return RtlRun(max(max(span.free, span.finish) for span in spans), spans, memory)
