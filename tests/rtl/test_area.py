"""Area: yosys' counts, and the method that carries small arrays to large ones."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from weft.rtl.cosimulation.parameters import parameters
from weft.rtl.inspection import synthesis as synthesis_module
from weft.rtl.inspection.area import area, buffer_shapes, ram_blocks, stce_area
from weft.rtl.inspection.depth import DepthError, stages
from weft.rtl.inspection.structure import Module, elaborate
from weft.rtl.inspection.synthesis import AreaError, Resources, logic_stages, synthesize
from weft.sim.machine import Array, load_machine

ARRAY = Array(rows=4, cols=8, interleave=4, multiplier_stages=2, adder_stages=4)


def test_buffers_hold_what_the_verilog_holds() -> None:
    machine = load_machine("sat-4x4")
    settings = parameters(machine)
    names = elaborate("sat_top").parameters.keys()
    top = elaborate("sat_top", {name: settings[name] for name in names})

    def bits(module: Module) -> int:
        own = module.own.array_bits if module.name in ("bank_ram", "output_buffer") else 0
        return own + sum(bits(child.module) for child in module.children)

    assert bits(top) == sum(n * words * wide for _, n, words, wide in buffer_shapes(machine))


def test_multiplier_takes_one_dsp_and_its_registers() -> None:
    found = synthesize("fp16_multiplier", {"STAGES": 3})["fp16_multiplier"]
    assert found.dsp == 1
    assert 0 < found.lut < 400
    assert 0 < found.flip_flop <= 3 * 34


DEEPEST = 16
"""A third of the adder's 49 nodes when all of it lay before its first register."""


@pytest.mark.parametrize(
    ("module", "parameters"),
    [
        ("fp16_multiplier", {"STAGES": 2}),
        ("fp32_adder", {"STAGES": 4}),
        ("fp32_multiplier", {"STAGES": 2}),
        ("function_unit", {}),
        ("uspe", {"INTERLEAVE": 4, "LM": 2, "LA": 4}),
    ],
)
def test_no_stage_of_the_arithmetic_is_deep(module: str, parameters: dict[str, int]) -> None:
    deepest = logic_stages(module, parameters)[0]
    assert 0 < deepest.depth <= DEEPEST, deepest


def test_registers_left_out_show_in_the_depth() -> None:
    assert logic_stages("fp32_adder", {"STAGES": 1})[0].depth > 2 * DEEPEST


def test_a_wide_write_port_is_one_port_of_a_block_ram() -> None:
    found = synthesize("bank_ram", {"BITS": 1 << 16, "WRITE_BITS": 128, "READ_BITS": 16})
    assert found["bank_ram"].bram36 > 0
    assert found["bank_ram"].flip_flop == 0


def _cell(
    kind: str, inputs: dict[str, list[int]], outputs: dict[str, list[int]]
) -> dict[str, object]:
    directions = dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output")
    return {"type": kind, "connections": inputs | outputs, "port_directions": directions}


def _netlist(*cells: dict[str, object]) -> dict[str, object]:
    names = {f"net{bit}": {"bits": [bit]} for bit in range(2, 9)}
    ports = {"y": {"direction": "output", "bits": [8]}}
    module = {"ports": ports, "netnames": names, "cells": dict(enumerate(cells))}
    return {"modules": {"top": module}}


def test_depth_counts_nodes_and_not_inverters_and_stops_at_registers() -> None:
    netlist = _netlist(
        _cell("LUT2", {"I0": [2], "I1": [3]}, {"O": [4]}),
        _cell("INV", {"I": [4]}, {"O": [5]}),
        _cell("CARRY4", {"S": [5]}, {"CO": [6]}),
        _cell("FDRE", {"D": [6], "C": [2]}, {"Q": [7]}),
        _cell("LUT1", {"I0": [7]}, {"O": [8]}),
    )
    assert [(stage.into, stage.depth) for stage in stages(netlist, "top")] == [
        ("net7", 2),
        ("y", 1),
    ]


def test_a_loop_of_logic_and_an_unknown_cell_are_named() -> None:
    loop = _netlist(
        _cell("LUT1", {"I0": [8]}, {"O": [7]}),
        _cell("LUT1", {"I0": [7]}, {"O": [8]}),
    )
    with pytest.raises(DepthError, match="loop without a register, through a LUT1"):
        stages(loop, "top")
    with pytest.raises(DepthError, match="unknown type LUT9"):
        stages(_netlist(_cell("LUT9", {"I0": [2]}, {"O": [8]})), "top")


def test_results_are_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    first = synthesize("fp16_normalize", {})

    def refuse(*_: object) -> None:
        raise AssertionError("yosys ran again")

    monkeypatch.setattr(synthesis_module, "_yosys", refuse)
    assert synthesize("fp16_normalize", {}) == first


def test_yosys_says_what_it_does_not_like() -> None:
    with pytest.raises(AreaError, match="yosys failed"):
        synthesize("delay_line", {"NO_SUCH_PARAMETER": 1})


@pytest.mark.parametrize(
    ("words", "bits", "blocks"),
    [
        (512, 72, Resources(bram36=1)),
        (1024, 36, Resources(bram36=1)),
        (1025, 36, Resources(bram36=2)),
        (32768, 1, Resources(bram36=1)),
        (4096, 72, Resources(uram=1)),  # 8 of 2,160 BRAM against 1 of 960 URAM
        (4097, 73, Resources(uram=4)),
    ],
)
def test_ram_blocks(words: int, bits: int, blocks: Resources) -> None:
    assert ram_blocks(words, bits) == blocks


@pytest.mark.deep
def test_array_method_against_the_whole_array() -> None:
    """Parts times counts, against yosys on 4 x 8 flattened as one: nothing large is missed."""
    parts = sum((unit.total for unit in stce_area(ARRAY)), Resources())
    whole = synthesize("stce_unit", {"ROWS": 4, "COLS": 8, "INTERLEAVE": 4, "LM": 2, "LA": 4})[
        "stce_unit"
    ]
    for ours, flat in zip(astuple(parts)[:2], astuple(whole)[:2], strict=True):
        assert flat == pytest.approx(ours, rel=0.1)
    assert whole.dsp == pytest.approx(parts.dsp, abs=4)


@pytest.mark.deep
def test_extrapolation_against_the_array_of_32_by_32() -> None:
    machine = load_machine("sat-vcu1525")
    keep = ("uspe", "row_feeder", "column_feeder", "column_port")
    control = synthesize(
        "stce_unit", {"ROWS": 32, "COLS": 32, "INTERLEAVE": 4, "LM": 2, "LA": 4}, keep
    )["stce_unit"]
    units = {unit.name: unit for unit in stce_area(machine.array)}
    total = sum((unit.total for unit in units.values()), Resources())
    guessed = units["STCE control"].total
    assert abs(control.lut - guessed.lut) < 0.001 * total.lut
    assert abs(control.flip_flop - guessed.flip_flop) < 0.001 * total.flip_flop
    assert abs(control.dsp - guessed.dsp) < 0.03 * total.dsp


@pytest.mark.deep
def test_the_preset_by_unit() -> None:
    found = area(load_machine("sat-vcu1525"))
    names = [unit.name for unit in found.units]
    assert {"USPE", "SORE lane", "WUVE lane", "STCE control"} <= set(names)
    assert len(names) == len(set(names))
    assert found.total.lut == sum(unit.count * unit.each.lut for unit in found.units)
    for used, there in zip(astuple(found.total)[1:], astuple(found.chip)[1:], strict=True):
        assert used <= there  # all but tables, which yosys does not pack as a placer does
