"""The Verilog's own account of itself, read with pyverilog: instances, parameters, widths, counts.

Sources are parsed and elaborated here: parameters are propagated, generate loops unrolled. What a
module holds is thereby known for any parameters without synthesis, and can be compared with what
the simulator assumes.
"""

from __future__ import annotations

import functools
import operator
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weft.rtl.hardware import VERILOG

__all__ = ["Child", "Counts", "Module", "StructureError", "closure", "draw", "elaborate"]


class StructureError(ValueError):
    """A module or instance that is not there, or Verilog that this reader does not know."""


@dataclass(frozen=True)
class Counts:
    """What a module's own text asks for, in front of any optimisation.

    ``register_bits`` are clocked scalars and vectors, ``array_bits`` clocked arrays (RAMs and
    delay lines). ``multipliers`` multiply two variables; ``adders`` add or subtract where at
    least one operand varies.
    """

    register_bits: int = 0
    array_bits: int = 0
    multipliers: int = 0
    adders: int = 0

    def plus(self, other: Counts, times: int = 1) -> Counts:
        return Counts(
            self.register_bits + times * other.register_bits,
            self.array_bits + times * other.array_bits,
            self.multipliers + times * other.multipliers,
            self.adders + times * other.adders,
        )


@dataclass(frozen=True)
class Child:
    """An instance, named as in a simulator's paths without the enclosing modules."""

    name: str
    module: Module


@dataclass(frozen=True, eq=False)
class Module:
    """A module with all its parameters set."""

    name: str
    parameters: Mapping[str, int]
    ports: Mapping[str, int]
    """Width in bits of each port."""
    own: Counts
    children: tuple[Child, ...]

    def at(self, path: str) -> Module:
        """The module of the instance at ``path``, for example ``array.rows[0].cols[1].element``.

        Raises:
            StructureError: there is none.
        """
        for child in self.children:
            if path == child.name:
                return child.module
            if path.startswith(child.name + "."):
                return child.module.at(path[len(child.name) + 1 :])
        raise StructureError(
            f"{self.name} has no instance {path}; it has "
            f"{', '.join(child.name for child in self.children) or 'none'}"
        )

    @functools.cached_property
    def total(self) -> Counts:
        """Its own counts and those of everything below it."""
        result = self.own
        for module, times in self._kinds:
            result = result.plus(module.total, times)
        return result

    def instances(self, name: str) -> int:
        """How many instances of module ``name`` lie anywhere below."""
        return sum(
            times * ((module.name == name) + module.instances(name))
            for module, times in self._kinds
        )

    @functools.cached_property
    def _kinds(self) -> tuple[tuple[Module, int], ...]:
        return tuple(Counter(child.module for child in self.children).items())


def closure(top: str, folder: Path = VERILOG) -> tuple[Path, ...]:
    """The files of ``top`` and of every module below it, ``top`` last.

    Raises:
        StructureError: there is no such module.
    """
    known = {path.stem: path for path in sorted(folder.glob("*.v"))}
    if top not in known:
        raise StructureError(f"no Verilog module {top!r} in {folder}")
    found: list[Path] = []

    def visit(name: str) -> None:
        if known[name] in found:
            return
        text = re.sub(r"//[^\n]*|/\*.*?\*/", "", known[name].read_text("utf-8"), flags=re.DOTALL)
        for used in sorted(set(re.findall(r"\w+", text)) & known.keys() - {name}):
            # An instance: the module's name, perhaps its parameters, the instance's name.
            if re.search(rf"\b{used}\s*(#\s*\(|\w+\s*\()", text):
                visit(used)
        found.append(known[name])

    visit(top)
    return tuple(found)


def elaborate(
    top: str, parameters: Mapping[str, int] | None = None, folder: Path = VERILOG
) -> Module:
    """``top`` with those parameters, and everything below it.

    Raises:
        StructureError: no such module or parameter, or Verilog that this reader does not know.
    """
    definitions = {path.stem: _parse(path.read_text("utf-8")) for path in closure(top, folder)}
    return _Elaborator(definitions).module(top, parameters or {})


def draw(top: Module) -> str:
    """The hierarchy as an indented tree, equal instances counted, with totals per line."""
    lines = [f"{'module':<44}{'count':>6}{'mult':>6}{'add':>6}{'register':>10}{'array bits':>12}"]

    def visit(module: Module, depth: int, times: int) -> None:
        total = module.total
        lines.append(
            f"{'  ' * depth + module.name:<44}{times:>6}{total.multipliers:>6}{total.adders:>6}"
            f"{total.register_bits:>10}{total.array_bits:>12}"
        )
        for child, count in module._kinds:
            visit(child, depth + 1, count)

    visit(top, 0, 1)
    return "\n".join(lines)


@functools.cache
def _parser() -> Any:
    from pyverilog.vparser.parser import VerilogParser

    with tempfile.TemporaryDirectory() as tables:
        return VerilogParser(outputdir=tables, debug=False)


@functools.lru_cache(maxsize=256)
def _parse(text: str) -> Any:
    """The module definition of a file that holds one module and no macros."""
    (definition,) = _parser().parse(text).description.definitions
    return definition


_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "Plus": operator.add,
    "Minus": operator.sub,
    "Times": operator.mul,
    "Divide": operator.floordiv,
    "Mod": operator.mod,
    "Power": operator.pow,
    "Sll": operator.lshift,
    "Srl": operator.rshift,
    "And": operator.and_,
    "Or": operator.or_,
    "Xor": operator.xor,
    "LessThan": operator.lt,
    "GreaterThan": operator.gt,
    "LessEq": operator.le,
    "GreaterEq": operator.ge,
    "Eq": operator.eq,
    "NotEq": operator.ne,
    "Land": lambda a, b: bool(a) and bool(b),
    "Lor": lambda a, b: bool(a) or bool(b),
}


class _VariesError(Exception):
    """An expression that is no constant."""


def _kind(node: Any) -> str:
    return type(node).__name__


def _literal(text: str) -> int:
    """``12``, ``4'd3``, ``8'hFF``, ``6'b00_0001``."""
    size, quote, rest = text.replace("_", "").partition("'")
    if not quote:
        return int(size)
    digits = rest.lstrip("sS")
    return int(digits[1:], {"d": 10, "h": 16, "b": 2, "o": 8}[digits[0].lower()])


def _constant(node: Any, names: Mapping[str, int]) -> int:
    """The value of an expression of parameters, genvars and literals."""
    kind = _kind(node)
    if kind in _OPERATORS:
        return int(_OPERATORS[kind](_constant(node.left, names), _constant(node.right, names)))
    match kind:
        case "IntConst":
            return _literal(node.value)
        case "Identifier" if node.name in names:
            return names[node.name]
        case "Rvalue" | "Lvalue":
            return _constant(node.var, names)
        case "Cond":
            chosen = node.true_value if _constant(node.cond, names) else node.false_value
            return _constant(chosen, names)
        case "Ulnot":
            return int(not _constant(node.right, names))
        case "Uminus":
            return -_constant(node.right, names)
        case "SystemCall" if node.syscall == "clog2":
            return (_constant(node.args[0], names) - 1).bit_length()
        case _:
            raise _VariesError


def _width(width: Any, names: Mapping[str, int]) -> int:
    if width is None:
        return 1
    return abs(_constant(width.msb, names) - _constant(width.lsb, names)) + 1


def _iterations(loop: Any, names: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """The names in each turn of a ``for`` with constant bounds."""
    variable = loop.pre.left.var.name
    inner = {**names, variable: _constant(loop.pre.right, names)}
    while _constant(loop.cond, inner):
        yield dict(inner)
        inner[variable] = _constant(loop.post.right, inner)


def _operations(node: Any, names: Mapping[str, int]) -> tuple[int, int]:
    """(multipliers, adders) of an expression or statement, loops unrolled."""
    kind = _kind(node)
    if kind == "ForStatement":
        turns = [_operations(node.statement, inner) for inner in _iterations(node, names)]
        return sum(turn[0] for turn in turns), sum(turn[1] for turn in turns)
    try:
        _constant(node, names)
    except _VariesError:
        pass
    else:
        return 0, 0
    multipliers = int(kind == "Times" and all(_varies(part, names) for part in node.children()))
    adders = int(kind in ("Plus", "Minus"))
    for part in node.children():
        more = _operations(part, names)
        multipliers, adders = multipliers + more[0], adders + more[1]
    return multipliers, adders


def _varies(node: Any, names: Mapping[str, int]) -> bool:
    try:
        _constant(node, names)
    except _VariesError:
        return True
    return False


def _targets(node: Any) -> Iterator[str]:
    """Names on the left of an assignment."""
    match _kind(node):
        case "LConcat":
            for part in node.list:
                yield from _targets(part)
        case "Identifier":
            yield node.name
        case _:
            yield from _targets(node.var)


def _clocked(node: Any) -> Iterator[str]:
    """Names that a statement assigns without blocking."""
    if _kind(node) == "NonblockingSubstitution":
        yield from _targets(node.left.var)
    for part in node.children():
        yield from _clocked(part)


class _Elaborator:
    """Walks module definitions; equal modules with equal parameters become one object."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._made: dict[tuple[str, tuple[tuple[str, int], ...]], Module] = {}

    def module(self, name: str, overrides: Mapping[str, int]) -> Module:
        key = (name, tuple(sorted(overrides.items())))
        if key not in self._made:
            self._made[key] = self._elaborate(name, overrides)
        return self._made[key]

    def _elaborate(self, name: str, overrides: Mapping[str, int]) -> Module:
        definition = self._definitions[name]
        names: dict[str, int] = {}
        for declaration in definition.paramlist.params:
            for parameter in declaration.list:
                value = _constant(parameter.value.var, names)
                names[parameter.name] = overrides.get(parameter.name, value)
        unknown = sorted(overrides.keys() - names.keys())
        if unknown:
            raise StructureError(
                f"{name} has no parameter {unknown[0]}; it has {', '.join(names) or 'none'}"
            )
        body = _Body(self, frozenset(_clocked(definition)))
        ports: dict[str, int] = {}
        parameters = dict(names)
        for port in definition.portlist.ports:
            ports[port.first.name] = _width(port.first.width, names)
            if port.second is not None:
                body.register(port.second, names)
        body.items(definition.items, names, "")
        return Module(name, parameters, ports, body.counts, tuple(body.children))


class _Body:
    """Collects what a module's items ask for."""

    def __init__(self, elaborator: _Elaborator, clocked: frozenset[str]) -> None:
        self._elaborator = elaborator
        self._clocked = clocked
        self.counts = Counts()
        self.children: list[Child] = []

    def register(self, declared: Any, names: Mapping[str, int]) -> None:
        if _kind(declared) != "Reg" or declared.name not in self._clocked:
            return
        bits = _width(declared.width, names)
        if declared.dimensions is None:
            self.counts = self.counts.plus(Counts(register_bits=bits))
            return
        for length in declared.dimensions.lengths:
            bits *= _width(length, names)
        self.counts = self.counts.plus(Counts(array_bits=bits))

    def items(self, items: Any, names: dict[str, int], prefix: str) -> None:
        for item in items:
            self._item(item, names, prefix)

    def _item(self, item: Any, names: dict[str, int], prefix: str) -> None:
        match _kind(item):
            case "Decl":
                self._declarations(item, names)
            case "Assign" | "Always":
                multipliers, adders = _operations(item, names)
                self.counts = self.counts.plus(Counts(multipliers=multipliers, adders=adders))
            case "InstanceList":
                for instance in item.instances:
                    self._instance(instance, names, prefix)
            case "GenerateStatement":
                self.items(item.items, names, prefix)
            case "ForStatement":
                variable = item.pre.left.var.name
                for inner in _iterations(item, names):
                    label = f"{prefix}{item.statement.scope}[{inner[variable]}]."
                    self.items(item.statement.statements, inner, label)
            case "IfStatement":
                chosen = (
                    item.true_statement if _constant(item.cond, names) else item.false_statement
                )
                if chosen is not None:
                    self._chosen(chosen, names, prefix)
            case "Initial":
                pass
            case kind:
                raise StructureError(f"line {item.lineno}: {kind} is not understood")

    def _chosen(self, branch: Any, names: dict[str, int], prefix: str) -> None:
        if _kind(branch) == "Block":
            label = f"{prefix}{branch.scope}." if branch.scope else prefix
            self.items(branch.statements, dict(names), label)
        else:
            self._item(branch, names, prefix)

    def _declarations(self, item: Any, names: dict[str, int]) -> None:
        for declared in item.list:
            match _kind(declared):
                case "Localparam" | "Parameter":
                    names[declared.name] = _constant(declared.value.var, names)
                case "Assign":
                    self._item(declared, names, "")
                case _:
                    self.register(declared, names)

    def _instance(self, instance: Any, names: Mapping[str, int], prefix: str) -> None:
        settings = {
            setting.paramname: _constant(setting.argname, names)
            for setting in instance.parameterlist
        }
        module = self._elaborator.module(instance.module, settings)
        self.children.append(Child(prefix + instance.name, module))
        for port in instance.portlist:
            if port.argname is not None:
                multipliers, adders = _operations(port.argname, names)
                self.counts = self.counts.plus(Counts(multipliers=multipliers, adders=adders))
