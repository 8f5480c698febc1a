"""The port contract of each module of the machine, and users' own modules held against it.

Ports are those that Verilator elaborates with the parameters that the machine gives the module: so
widths compare as numbers, and a user may write SystemVerilog. PORTS.md is written anew by ``python
-m weft.rtl.inspection.ports``; a test holds it against the Verilog.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weft.rtl.cosimulation.build import BuildError, elaborated
from weft.rtl.cosimulation.parameters import parameters
from weft.rtl.cosimulation.replaced import Replaced
from weft.rtl.cosimulation.simulate import MODULES
from weft.rtl.hardware import VERILOG
from weft.rtl.inspection.structure import Module, elaborate
from weft.sim.machine import Machine

__all__ = ["PAGE", "Contract", "ReplacementError", "contract", "page_text", "replaced_modules"]

PAGE = VERILOG / "PORTS.md"
_OUTSIDE = ("READ_LATENCY", "WRITE_LATENCY", "MEMORY_LOG2")
"""Parameters of the bench, not of ``sat_top``."""


class ReplacementError(ValueError):
    """A file that cannot stand in for a module: which port, and what it must be."""


@dataclass(frozen=True)
class Contract:
    """A module's parameters, and the direction and bits of each of its ports."""

    parameters: tuple[str, ...]
    ports: Mapping[str, tuple[str, int]]


def contract(module: str, files: Sequence[Path], values: Mapping[str, int]) -> Contract:
    """What ``module`` in ``files`` asks for where its parameters have these values.

    Raises:
        ReplacementError: Verilator does not take it; its first complaint is told.
    """
    try:
        tree = elaborated(module, files, values)
    except BuildError as error:
        lines = str(error).splitlines()
        said = next((line for line in lines if line.startswith("%Error")), lines[-1])
        raise ReplacementError(f"{module}: {said.removeprefix('%Error: ')}") from error
    nodes = next(m["stmtsp"] for m in tree["modulesp"] if m["origName"] == module)
    types = {
        kind["addr"]: kind
        for misc in tree["miscsp"]
        if misc["type"] == "TYPETABLE"
        for kind in misc["typesp"]
    }
    variables = [node for node in nodes if node["type"] == "VAR"]
    return Contract(
        tuple(node["origName"] for node in variables if node.get("isGParam")),
        {
            node["origName"]: (node["direction"].lower(), _bits(types[node["dtypep"]], types))
            for node in variables
            if node["direction"] != "NONE"
        },
    )


def _bits(kind: Mapping[str, Any], types: Mapping[str, Mapping[str, Any]]) -> int:
    """Of a port's type; packed arrays and names of types are followed."""
    if kind["type"] == "BASICDTYPE":
        high, _, low = kind.get("range", "0:0").partition(":")
        return abs(int(high) - int(low)) + 1
    inner = str(kind.get("refDTypep") or kind.get("dtypep"))
    elements = 1
    if "declRange" in kind:
        high, _, low = kind["declRange"].strip("[]").partition(":")
        elements = abs(int(high) - int(low)) + 1
    return elements * _bits(types[inner], types) if inner in types and inner != kind["addr"] else 0


def replaced_modules(
    machine: Machine, replacements: Iterable[str] = (), folder: Path | None = None
) -> Replaced:
    """The modules that ``replacements`` ("module=file") and the files of ``folder`` replace.

    Files of the folder that are named for a module replace it; the others are what those use.

    Raises:
        ReplacementError: an unknown module, a file that is not there, or one with a parameter or
            port missing, too many, or of another direction or width; in one line.
    """
    modules: dict[str, Path] = {}
    others: list[Path] = []
    if folder is not None:
        modules, others = _in_folder(folder)
    for text in replacements:
        name, path = _pair(text)
        if modules.get(name, path) != path:
            raise ReplacementError(f"--replace {text}: {name} is replaced twice")
        modules[name] = path
    files = [modules.get(name, VERILOG / f"{name}.v") for name in MODULES] + others
    if modules:
        top = elaborate("sat_top", _top_parameters(machine))
        for name, path in modules.items():
            _check(name, path, files, _values(name, top))
    return Replaced(tuple(modules.items()), tuple(others))


def _in_folder(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    if not folder.is_dir():
        raise ReplacementError(f"--rtl {folder}: no such folder")
    files = sorted(p.resolve() for p in folder.iterdir() if p.suffix in (".v", ".sv"))
    modules = {path.stem: path for path in files if path.stem in MODULES}
    if not modules:
        raise ReplacementError(f"--rtl {folder}: no file is named for a module: {_known()}")
    return modules, [path for path in files if path.stem not in MODULES]


def _pair(text: str) -> tuple[str, Path]:
    name, equals, file = text.partition("=")
    name = name.removesuffix(".v")
    if not equals or not file:
        raise ReplacementError(f"--replace {text!r}; it must be module=file, as stce.v=my_stce.v")
    if name not in MODULES:
        raise ReplacementError(f"--replace {text}: no module {name!r}; known: {_known()}")
    path = Path(file)
    if not path.is_file():
        raise ReplacementError(f"--replace {text}: no file {file}")
    return name, path.resolve()


def _known() -> str:
    return ", ".join(MODULES)


def _top_parameters(machine: Machine) -> dict[str, int]:
    values = parameters(machine)
    return {name: value for name, value in values.items() if name not in _OUTSIDE}


def _values(name: str, top: Module) -> Mapping[str, int]:
    """The parameters of the first instance of ``name``."""
    if top.name == name:
        return top.parameters
    return next((found for child in top.children if (found := _values(name, child.module))), {})


def _check(name: str, path: Path, files: Sequence[Path], values: Mapping[str, int]) -> None:
    shipped = [VERILOG / f"{module}.v" for module in MODULES]
    plain = contract(name, files, {})
    needed = contract(name, shipped, {})
    for parameter in needed.parameters:
        if parameter not in plain.parameters:
            raise ReplacementError(f"{path} has no parameter {parameter}; {name} needs it")
    given = {key: value for key, value in values.items() if key in needed.parameters}
    own, wanted = contract(name, files, given), contract(name, shipped, given)
    for port, (direction, bits) in wanted.ports.items():
        if port not in own.ports:
            raise ReplacementError(f"{path} has no port {port}; {name} needs {direction} {port}")
        is_direction, is_bits = own.ports[port]
        if is_direction != direction:
            raise ReplacementError(f"{path}: port {port} is an {is_direction}, not an {direction}")
        if is_bits != bits:
            raise ReplacementError(
                f"{path}: port {port} has {is_bits} bits; {name} has {bits} there, "
                f"with {', '.join(f'{key} = {value}' for key, value in given.items())}"
            )
    for port, (direction, _) in own.ports.items():
        if port not in wanted.ports and direction == "input":
            raise ReplacementError(
                f"{path} has an input {port} that nothing drives; {name} has "
                f"{', '.join(wanted.ports)}"
            )


_HEADER = re.compile(
    r"^module \w+(?: #\(\n(?P<parameters>.*?)\n\))? ?\(\n(?P<ports>.*?)\n\);", re.S | re.M
)
_PORT = re.compile(r"^ *(input|output) +(?:wire|reg) *(\[[^]]*\])? *(\w+),? *(?://\s*(.*))?$", re.M)
_PARAMETER = re.compile(r"^ *parameter (?:\[[^]]*\] *)?(\w+) = ([^,/]*?),? *(?://\s*(.*))?$", re.M)


def page_text() -> str:
    """PORTS.md, from the headers of the Verilog."""
    lines = [
        "# Port contracts",
        "",
        "Written by `rtl/inspection/ports.py`; do not edit. What a file given by `weft cosim "
        "--replace MODULE.v=FILE`",
        "must have: these parameters, and these ports with their directions and widths; further "
        "outputs are allowed.",
        "What each module must do is at the top of its file.",
        "",
    ]
    for name in MODULES:
        lines += _section(name, (VERILOG / f"{name}.v").read_text(encoding="utf-8"))
    return "\n".join(lines)


def _section(name: str, text: str) -> list[str]:
    header = _HEADER.search(text)
    if header is None:
        raise ReplacementError(f"{name}.v: its header is not laid out as the others'")
    comment = text[: header.start()].split("\n//\n")[0]
    says = " ".join(line.removeprefix("//").strip() for line in comment.splitlines())
    lines = [f"## {name}", "", says.partition(": ")[2].strip(), ""]
    for parameter, value, note in _PARAMETER.findall(header["parameters"] or ""):
        lines.append(f"- parameter `{parameter}` = {value}" + (f": {note}" if note else ""))
    for direction, width, port, note in _PORT.findall(header["ports"]):
        tail = f": {note}" if note else ""
        size = f" `{re.sub(' +', '', width)}`" if width else ""
        lines.append(f"- {direction}{size} `{port}`{tail}")
    return [*lines, ""]


if __name__ == "__main__":
    PAGE.write_text(page_text(), encoding="utf-8")
