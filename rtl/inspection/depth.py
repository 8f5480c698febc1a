"""How many logic nodes lie between two registers, read off a netlist that yosys made.

A node is what a signal passes on its way through an UltraScale+ part: a table (LUT), a block of
four bits of carry (CARRY4), a wide multiplexer (MUXF7 to MUXF9), the read of a distributed RAM or
of a shift register at an address, and the multiplication of a DSP slice none of whose registers
cuts it. Inverters lie in tables and count nothing. Paths start at ports, registers and the outputs
of block RAMs, and end at ports, registers and the inputs of block RAMs. Nodes have no delays here:
those are the placer's to say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["DepthError", "Stage", "stages"]

_FLIP_FLOPS = {"FDRE", "FDSE", "FDCE", "FDPE"}
_BLOCK_RAMS = {"RAMB18E2", "RAMB36E2", "URAM288"}
_TABLES = {f"LUT{inputs}" for inputs in range(1, 7)}
_WIDE = {"MUXF7", "MUXF8", "MUXF9"}
_CARRIES = {"CARRY4", "CARRY8"}
_SHIFTERS = {"SRL16E": ("A0", "A1", "A2", "A3"), "SRLC32E": ("A",)}
_DISTRIBUTED = {"RAM32X1D", "RAM64X1D", "RAM128X1D", "RAM32M", "RAM64M", "RAM32M16", "RAM64M8"}
_DSP_REGISTERS = {
    "A": ("AREG", "MREG", "PREG"),
    "B": ("BREG", "MREG", "PREG"),
    "C": ("CREG", "PREG"),
    "D": ("DREG", "ADREG", "MREG", "PREG"),
}
"""Registers of a DSP48E2 between an input and P (Xilinx UG579)."""


class DepthError(ValueError):
    """A netlist with a cell of unknown type, or with a loop that no register cuts."""


@dataclass(frozen=True)
class Stage:
    """The longest path into one set of registers: ``depth`` nodes.

    ``into`` names the registers by the instance that holds them (or the port), ``first`` the bit
    where the path starts and ``last`` the bit where it ends.
    """

    into: str
    depth: int
    first: str
    last: str


@dataclass
class _Cell:
    kind: str
    parameters: Mapping[str, str]
    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]


def stages(netlist: Mapping[str, Any], top: str) -> tuple[Stage, ...]:
    """Each set of registers of a flat netlist with the longest path into it, deepest first.

    ``netlist`` is what yosys' ``write_json`` writes of a design synthesised for UltraScale+.

    Raises:
        DepthError: a cell of unknown type, or a loop.
    """
    module = next(
        body for name, body in netlist["modules"].items() if top in name.split("\\") or name == top
    )
    names, lines = _names(module), _lines(module)
    cells = [
        _Cell(
            cell["type"],
            cell.get("parameters", {}),
            _side(cell, "input"),
            _side(cell, "output"),
        )
        for cell in module["cells"].values()
        if cell["type"] != "$scopeinfo"
    ]
    ends = [
        (name, bit)
        for name, port in module["ports"].items()
        if port["direction"] == "output"
        for bit in port["bits"]
        if isinstance(bit, int)
    ]
    depths, before = _arrivals(cells)
    found: dict[str, tuple[int, int]] = {}
    for place, bit in (*_registered(cells, {**names, **lines}), *ends):
        if (depth := depths.get(bit, 0)) >= found.get(place, (-1, 0))[0]:
            found[place] = (depth, bit)
    return tuple(
        sorted(
            (
                Stage(place, depth, names.get(_start(bit, before), "?"), names.get(bit, "?"))
                for place, (depth, bit) in found.items()
            ),
            key=lambda stage: (-stage.depth, stage.into),
        )
    )


def _side(cell: Mapping[str, Any], side: str) -> dict[str, list[int]]:
    directions = cell["port_directions"]
    return {
        port: [bit for bit in bits if isinstance(bit, int)]
        for port, bits in cell["connections"].items()
        if directions[port] == side
    }


def _names(module: Mapping[str, Any]) -> dict[int, str]:
    """The plainest name of each bit."""
    names: dict[int, str] = {}
    ranked = sorted(
        module["netnames"].items(),
        key=lambda item: (item[1].get("hide_name", 0), item[0].count("."), len(item[0])),
    )
    for name, net in ranked:
        for place, bit in enumerate(net["bits"]):
            if isinstance(bit, int):
                names.setdefault(bit, f"{name}[{place}]" if len(net["bits"]) > 1 else name)
    return names


def _lines(module: Mapping[str, Any]) -> dict[int, str]:
    """Bits that a delay line holds, by the line's name."""
    return {
        bit: name
        for name, net in module["netnames"].items()
        if ".g_line.stage" in name or name.startswith("g_line.stage")
        for bit in net["bits"]
        if isinstance(bit, int)
    }


def _registered(cells: Iterable[_Cell], names: Mapping[int, str]) -> Iterator[tuple[str, int]]:
    """(where, bit) of each input that a register, RAM or shift register takes at the clock."""
    for cell in cells:
        outputs = [bit for bits in cell.outputs.values() for bit in bits]
        place = _instance(names.get(outputs[0], "?")) if outputs else "?"
        for port, bits in cell.inputs.items():
            if port not in ("C", "CLK", "WCLK") and not _combinational(cell, port):
                for bit in bits:
                    yield place, bit


def _instance(name: str) -> str:
    """``add.summed.g_line.stage[0][3]`` lies in ``add.summed``, and ``count[3]`` is ``count``."""
    line, cut, _ = name.partition(".g_line.stage")
    return line if cut else name.rsplit(".", 1)[0] if "." in name else name.split("[")[0]


def _combinational(cell: _Cell, port: str) -> bool:
    """Whether an input reaches an output without a clock."""
    kind = cell.kind
    if kind in _TABLES | _WIDE | _CARRIES | {"INV"}:
        return True
    if kind in _FLIP_FLOPS | _BLOCK_RAMS:
        return False
    if kind in _SHIFTERS:
        return port in _SHIFTERS[kind]
    if kind in _DISTRIBUTED:
        return port.startswith(("ADDR", "DPRA")) or (port.startswith("A") and port[1:].isdigit())
    if kind == "DSP48E2":
        registers = _DSP_REGISTERS.get(port)
        return registers is not None and not any(_value(cell, name) for name in registers)
    raise DepthError(f"a cell of unknown type {kind}")


def _value(cell: _Cell, name: str) -> int:
    return int(cell.parameters.get(name, "0"), 2)


def _arrivals(cells: list[_Cell]) -> tuple[dict[int, int], dict[int, int]]:
    """Nodes before each bit, and the bit before it on the longest path."""
    driver: dict[int, _Cell] = {}
    needs: dict[int, set[int]] = {}
    users: defaultdict[int, list[int]] = defaultdict(list)
    for number, cell in enumerate(cells):
        needs[number] = {
            bit for port, bits in cell.inputs.items() if _combinational(cell, port) for bit in bits
        }
        for bits in cell.outputs.values():
            for bit in bits:
                driver[bit] = cell
        for bit in needs[number]:
            users[bit].append(number)
    missing = {number: sum(bit in driver for bit in bits) for number, bits in needs.items()}
    depths: dict[int, int] = {}
    before: dict[int, int] = {}
    ready = [number for number, count in missing.items() if not count]
    done = 0
    while ready:
        number = ready.pop()
        done += 1
        cell = cells[number]
        node = 0 if cell.kind == "INV" or not needs[number] else 1
        latest = max(needs[number], key=lambda bit: depths.get(bit, 0), default=None)
        depth = 0 if latest is None else depths.get(latest, 0) + node
        for bit in (bit for bits in cell.outputs.values() for bit in bits):
            depths[bit] = depth
            if latest is not None:
                before[bit] = latest
            for user in users[bit]:
                missing[user] -= 1
                if not missing[user]:
                    ready.append(user)
    if done < len(cells):
        loop = next(cells[number].kind for number, count in missing.items() if count)
        raise DepthError(f"a loop without a register, through a {loop}")
    return depths, before


def _start(bit: int, before: Mapping[int, int]) -> int:
    while bit in before:
        bit = before[bit]
    return bit
