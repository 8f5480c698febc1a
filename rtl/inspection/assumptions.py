"""What the simulator takes for granted about the Verilog, read out of the Verilog and compared.

Each assumption has two sides: a number that ``weft.sim`` computes with, and the same number as the
elaborated sources have it (port widths, delay lines, instance counts). Changing one alone shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weft.rtl.cosimulation.parameters import lane_depth
from weft.rtl.hardware import VERILOG
from weft.rtl.hardware.instruction_word import LANE_OPERATION
from weft.rtl.inspection.structure import Module, elaborate
from weft.sim.lanes import REGISTERS
from weft.sim.lanes.functions import SEGMENTS, WIDTHS, Function
from weft.sim.machine import Array
from weft.sim.pattern import MAX_M, Pattern
from weft.sim.program import Channel, Queue

__all__ = ["Assumption", "array_assumptions", "differences", "unit_assumptions"]

_HALF_BITS = 16
_FLOAT_BITS = 32
_ELEMENT = "array.rows[0].cols[0].element"


@dataclass(frozen=True)
class Assumption:
    """One number on both sides."""

    name: str
    simulator: int
    verilog: int


def array_assumptions(array: Array, folder: Path = VERILOG) -> tuple[Assumption, ...]:
    """What the timing and the counts of the STCE rest on.

    Raises:
        StructureError: a module, instance or parameter that is looked at is gone.
    """
    unit = elaborate(
        "stce_unit",
        {
            "ROWS": array.rows,
            "COLS": array.cols,
            "INTERLEAVE": array.interleave,
            "LM": array.multiplier_stages,
            "LA": array.adder_stages,
        },
        folder,
    )
    element = unit.at(_ELEMENT)
    adder = _stages(element.at("adder"))
    waits = array.interleave > array.adder_stages
    turn = _delay(element.at("wait_for_turn.line"), _FLOAT_BITS) if waits else 0
    index_bits = Pattern(1, MAX_M).index_bits
    weights = 2 * MAX_M * (_HALF_BITS + index_bits)
    return (
        Assumption("processing elements", array.rows * array.cols, unit.instances("uspe")),
        Assumption(
            "multipliers in all elements",
            array.rows * array.cols,
            unit.at("array").total.multipliers,
        ),
        Assumption(
            "multiplier stages",
            array.multiplier_stages,
            _stages(element.at("multiplier")),
        ),
        Assumption("adder stages", array.adder_stages, adder),
        Assumption("interleave", array.interleave, adder + turn),
        Assumption(
            "adder stages at the drain",
            array.adder_stages,
            _stages(unit.at("column[0].port.adder")),
        ),
        Assumption("bits of an activation word", MAX_M * _HALF_BITS, element.ports["west_word"]),
        Assumption("bits of a lane in the word", index_bits, element.ports["west_base"]),
        Assumption("bits of a weight", _HALF_BITS, element.ports["north_weight"]),
        Assumption("bits of an index", index_bits, element.ports["north_index"]),
        Assumption("bits of a sum", _FLOAT_BITS, element.ports["south_sum"]),
        Assumption("bits of the weight banks of an element", weights, element.own.array_bits),
        Assumption(
            "bits of the left buffer's words",
            array.rows * MAX_M * _HALF_BITS,
            unit.ports["left_data"],
        ),
        Assumption(
            "bits of the right buffer's words",
            array.cols * (_HALF_BITS + index_bits),
            unit.ports["right_data"],
        ),
        Assumption(
            "bits of the outputs of a cycle", array.cols * _FLOAT_BITS, unit.ports["out_write_data"]
        ),
        # Captured sums and the drain behind them.
        Assumption(
            "drain words of an element",
            array.interleave,
            (element.own.register_bits - _register_bits_without_drain(element))
            // (2 * _FLOAT_BITS),
        ),
    )


def unit_assumptions(folder: Path = VERILOG) -> tuple[Assumption, ...]:
    """What Programs rest on: queues, token channels, and the sorter's reach."""
    top = elaborate("sat_top", folder=folder)
    lane = elaborate("sore_lane", folder=folder)
    update, engine = elaborate("wuve_lane", folder=folder), elaborate("wuve", folder=folder)
    table = elaborate("function_table", folder=folder)
    return (
        Assumption("queues", len(Queue), top.instances("queue")),
        Assumption("token channels", len(Channel), top.at("tokens").ports["available"]),
        Assumption("SORE lanes", top.parameters["SORE_LANES"], top.instances("sore_lane")),
        Assumption("largest N of SORE", MAX_M - 1, lane.parameters["KEEP_MAX"]),
        Assumption("bits of SORE's elements", _HALF_BITS, lane.ports["value"]),
        Assumption("bits of SORE's index", Pattern(1, MAX_M).index_bits, lane.ports["out_index"]),
        Assumption("WUVE lanes", top.parameters["WUVE_LANES"], top.instances("wuve_lane")),
        Assumption(
            "registers of a lane's slot",
            REGISTERS,
            update.own.array_bits // (update.parameters["SLOTS"] * _FLOAT_BITS),
        ),
        Assumption(
            "cycles of a lane operation",
            lane_depth(Array(1, 1, 1, update.parameters["LM"], update.parameters["LA"])),
            _delay(update.at("chosen_line"), _FLOAT_BITS),
        ),
        Assumption("bits of a lane operation", LANE_OPERATION.bits, engine.ports["host_operation"]),
        Assumption("bits of a segment's coefficients", sum(WIDTHS), table.ports["row"]),
        Assumption(
            "elementary functions", len(Function), 2 ** table.ports["address"] // SEGMENTS - 1
        ),
    )


def differences(assumptions: tuple[Assumption, ...]) -> list[str]:
    """One line per assumption that does not hold."""
    return [
        f"{held.name}: the simulator has {held.simulator}, the Verilog {held.verilog}"
        for held in assumptions
        if held.simulator != held.verilog
    ]


def _stages(arithmetic: Module) -> int:
    """Registers in a row between the stages of an adder or a multiplier."""
    return sum(
        _delay(child.module, child.module.parameters["WIDTH"])
        for child in arithmetic.children
        if child.module.name == "delay_line"
    )


def _delay(line: Module, width: int) -> int:
    """Cycles of a delay line ``width`` bits wide."""
    return line.own.array_bits // width


def _register_bits_without_drain(element: Module) -> int:
    """Registers that pass words on: each input but the sums' goes east or south one cycle later."""
    passed = [name for name in element.ports if name.startswith(("east_", "south_"))]
    return sum(element.ports[name] for name in passed if not name.startswith("south_sum"))
