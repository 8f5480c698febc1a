"""Every field of every file, and every option, given what it cannot be: one line, no traceback.

The cases are generated from the shipped files and from the command line itself, so a new field or
option is tried without being named here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import sys
import tomllib
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from weft.cli import COMMANDS, main
from weft.cli.predict import predict_table
from weft.faults import is_users_mistake
from weft.mapper.sparsity.patterns import parse_patterns, pattern_setting
from weft.mapper.topology.table import read_topology
from weft.sim.dram import dram_names, load_dram
from weft.sim.gpu.prediction.constants import constant_sets, parse_constants
from weft.sim.gpu.prediction.machine import gpu_names, gpu_sources, load_gpu, parse_gpu
from weft.sim.machine import load_machine, machine_names, machine_text

LONGEST = 2000
"""Characters of a message; one that lists what is known may take a few hundred."""


def told(call: Callable[[], object], *names: str, must: bool = True) -> str:
    """What a call says of its input: one of our own errors, naming what is wrong."""
    error = refusal(call)
    if error is None:
        assert not must, "taken as if it were right"
        return ""
    assert is_users_mistake(error), f"raised outside weft: {error!r}"
    message = " ".join(str(error).split())
    assert 0 < len(message) < LONGEST
    assert not names or any(name in message for name in names), (names, message)
    return message


def refusal(call: Callable[[], object]) -> ValueError | OSError | None:
    """What a call raises for a user's mistake; anything else goes on as it is."""
    try:
        call()
    except (ValueError, OSError) as error:
        return error
    return None


WRONG = (-1, 1.5, 1e300, "x", "", [], [1], {}, True, 10**30, float("nan"))
"""Values that no positive count of anything can be."""


def toml(value: Any) -> str:
    """A TOML value; tables inline."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def places(table: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every field."""
    for key, value in table.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


def changed(table: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The table with one field set, or left out if the value is ``...``."""
    key, rest = path[0], path[1:]
    if rest:
        return {**table, key: changed(table[key], rest, value)}
    if value is ...:
        return {name: entry for name, entry in table.items() if name != key}
    return {**table, key: value}


def number_at(table: dict[str, Any], path: tuple[str, ...]) -> bool:
    for key in path:
        table = table[key]
    return isinstance(table, int | float) and not isinstance(table, bool)


MACHINES = {name: tomllib.loads(machine_text(name)) for name in machine_names()}
MACHINE_FIELDS = [(name, path) for name, table in MACHINES.items() for path in places(table)]


@pytest.mark.parametrize(("name", "path"), MACHINE_FIELDS, ids=lambda part: ".".join(part))
def test_every_field_of_every_machine(name: str, path: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    whole = number_at(MACHINES[name], path) and path != ("clock_hz",)
    for value in (*WRONG, ...):
        table = changed(MACHINES[name], path, value)
        file.write_text("\n".join(f"{key} = {toml(entry)}" for key, entry in table.items()))
        told(lambda: load_machine(str(file)), path[-1], must=whole and value is not ...)


def test_fields_that_a_machine_does_not_have(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    for name, table in MACHINES.items():
        for section in ("", "array", "memory", "buffers", "sore", "wuve"):
            path = (section, "colour") if section else ("colour",)
            text = changed(table, path, 1)
            file.write_text("\n".join(f"{key} = {toml(entry)}" for key, entry in text.items()))
            assert "colour" in told(lambda: load_machine(str(file))), name


DRAMS: dict[str, dict[str, Any]] = {}
for _name in dram_names():
    _place = Path(sys.modules[load_dram.__module__].__file__ or "").parent / "presets"
    DRAMS[_name] = tomllib.loads((_place / f"{_name}.toml").read_text(encoding="utf-8"))
DRAM_FIELDS = [(name, path) for name, table in DRAMS.items() for path in places(table)]


@pytest.mark.parametrize(("name", "path"), DRAM_FIELDS, ids=lambda part: ".".join(part))
def test_every_field_of_every_memory(name: str, path: tuple[str, ...], tmp_path: Path) -> None:
    for number, value in enumerate((*WRONG, ...)):
        file = tmp_path / f"memory-{number}.toml"
        table = changed(DRAMS[name], path, value)
        file.write_text("\n".join(f"{key} = {toml(entry)}" for key, entry in table.items()))
        must = number_at(DRAMS[name], path) and value in (-1, "x")
        told(lambda file=file: load_dram(str(file)), must=must)


GPU_FIELDS = [(name, field) for name in gpu_names() for field in gpu_sources(name)]


@pytest.mark.parametrize(("name", "field"), GPU_FIELDS, ids=lambda part: part)
def test_every_field_of_every_gpu(name: str, field: str) -> None:
    facts = dataclasses.asdict(load_gpu(name))
    table = {
        key: entry if key == "name" else {"value": entry, "source": "test"}
        for key, entry in facts.items()
    }
    assert parse_gpu(table) == load_gpu(name)
    number = not isinstance(facts[field], str)
    for value in WRONG:
        entry = {"value": value, "source": "test"}
        must = number and value in (-1, "x", 10**30)
        told(lambda entry=entry: parse_gpu({**table, field: entry}), field, must=must)
    told(lambda: parse_gpu({**table, field: facts[field]}), field)
    told(lambda: parse_gpu({**table, field: {"value": facts[field]}}), field)
    told(lambda: parse_gpu(changed(table, (field,), ...)), field)


CONSTANTS = [
    (gpu, library, field)
    for (gpu, library), found in constant_sets().items()
    for field in vars(found.constants)
]


@pytest.mark.parametrize(("gpu", "library", "field"), CONSTANTS, ids=lambda part: part)
def test_every_constant_of_every_set(gpu: str, library: str, field: str) -> None:
    found = constant_sets()[gpu, library]
    table = {"gpu": gpu, "library": library, "constants": dict(vars(found.constants))}
    for value in (-1e9, 1e300, "x", None, [], {}, float("nan"), float("inf"), 10**400):
        told(lambda value=value: parse_constants(changed(table, ("constants", field), value), "f"))
    told(lambda: parse_constants(changed(table, ("constants", field), ...), "f"))


CELLS = ("", "x", "-1", "0", "1.5", "1e3", "nan", "9" * 30, "٣", "2:4:8", "\x00", " ", "1 1")
"""What a cell of a table of sizes cannot be."""


@pytest.mark.parametrize("column", range(1, 8))
@pytest.mark.parametrize("cell", CELLS, ids=ascii)
def test_every_cell_of_a_table_of_convolutions(column: int, cell: str, tmp_path: Path) -> None:
    cells = ["conv", "32", "32", "3", "3", "8", "8", "1"]
    cells[column] = cell
    path = tmp_path / "net.csv"
    path.write_text("name,h,w,r,s,c,f,stride\n" + ",".join(cells) + "\n", encoding="utf-8")
    assert "net.csv" in told(lambda: read_topology(path))


@pytest.mark.parametrize("column", range(1, 4))
@pytest.mark.parametrize("cell", CELLS, ids=ascii)
def test_every_cell_of_a_table_of_products(column: int, cell: str, tmp_path: Path) -> None:
    cells = ["fc", "32", "32", "3"]
    cells[column] = cell
    path = tmp_path / "net.csv"
    path.write_text("Layer,M,N,K\n" + ",".join(cells) + "\n", encoding="utf-8")
    assert "net.csv" in told(lambda: read_topology(path))


PREDICTED = {
    **dict.fromkeys(("m", "n", "k"), CELLS),
    "batch": tuple(cell for cell in CELLS if cell.strip()),
    "dtype": ("fp12", "x", "int4096"),
    "sparsity": ("x", "4:2", "0:4", "2:0", "2:32", "-1:4", "2:4:8", "9" * 30 + ":4"),
}
"""Columns of a table of products, and what their cells cannot be."""


@pytest.mark.parametrize("hardware", ["sat-4x4", "h100-sxm", "systolic-ideal"])
@pytest.mark.parametrize("column", PREDICTED)
def test_every_cell_of_products_to_predict(column: str, hardware: str, tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    right = {"m": "8", "n": "8", "k": "8", "batch": "1", "dtype": "fp16", "sparsity": "dense"}
    for cell in PREDICTED[column]:
        if hardware == "systolic-ideal" and cell == "2:32":
            continue  # closed forms take any N:M
        row = {**right, column: cell}
        path.write_text(f"{','.join(row)}\n{','.join(row.values())}\n", encoding="utf-8")
        told(lambda: predict_table(path, hardware, tmp_path / "out.csv"), column, cell)
        assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    "text",
    [
        *("2", "2:", ":8", "8:2", "0:4", "2:0", "2:32", "-2:8", "2:8:16", "2.0:8", "a:b", "２:８"),
        *('{"a": 2}', '{"a": "8:2"}', "{", '{"a"}', "{}", '{"a": null}', '{"a": ["2:8"]}'),
    ],
)
def test_patterns(text: str) -> None:
    told(lambda: parse_patterns(text))


@pytest.mark.parametrize("text", ["", "[]", "{", "2:8", '{"a": 1}', "\x00", "null", '{"a": "8:2"}'])
def test_pattern_files(text: str, tmp_path: Path) -> None:
    path = tmp_path / "layers.json"
    path.write_text(text, encoding="utf-8")
    told(lambda: pattern_setting(str(path)))


def options() -> list[tuple[str, str, str]]:
    """(subcommand, option, what its value is) of the whole command line."""
    found: list[tuple[str, str, str]] = []
    for name in COMMANDS:
        app = importlib.import_module(f"weft.cli.{name}").app
        hints = typing.get_type_hints(app.registered_commands[0].callback)
        for parameter in typer.main.get_command(app).params:
            if parameter.opts[0].startswith("--"):
                hint = str(hints.get(parameter.name, ""))
                kind = next((kind for kind in ("bool", "int", "float") if kind in hint), "text")
                found.append((name, parameter.opts[0], kind))
    return found


def run(arguments: list[str]) -> tuple[int, str, str]:
    """The command line in this process: status, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["weft", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        return int(end.code or 0), out.getvalue(), err.getvalue()
    finally:
        sys.argv = before
    return 0, out.getvalue(), err.getvalue()


REFUSED = {"int": ("x", "", "1.5", "1e99", "0x10"), "float": ("x", "", "1,5", "--")}
"""What an option of that type never is."""
NUMBERS = [entry for entry in options() if entry[2] in REFUSED]
FLAGS = [entry for entry in options() if entry[2] == "bool"]
NEEDED = {
    "simulate": ["mlp"],
    "compare": ["mlp"],
    "ablate": ["mlp"],
    "export": ["mlp"],
    "train": ["mlp", "--data", "synthetic", "--recipe", "bdwp"],
    "predict": ["none.csv"],
    "calibrate": ["none.csv", "--hardware", "l4"],
    "measure": ["--out", "none.csv"],
    "report": ["none"],
}
"""Arguments without which a subcommand asks for them first."""


@pytest.mark.parametrize(("command", "option", "kind"), NUMBERS)
def test_every_option_that_is_a_number(command: str, option: str, kind: str) -> None:
    for text in REFUSED[kind]:
        status, out, err = run([command, *NEEDED.get(command, []), f"{option}={text}"])
        assert (status, out, err.count("\n")) == (2, "", 1), (text, out, err)
        assert option in err


@pytest.mark.parametrize(("command", "option", "kind"), FLAGS)
def test_every_flag_takes_no_value(command: str, option: str, kind: str) -> None:
    status, out, err = run([command, *NEEDED.get(command, []), f"{option}=maybe"])
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert option in err


@pytest.mark.parametrize("command", COMMANDS)
def test_options_that_are_not_there(command: str) -> None:
    status, out, err = run([command, "--colour"])
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--colour" in err


BAD = {
    "--recipe": ("nope", "", "bdwp:decay=x", "bdwp:colour=1"),
    "--pattern": ("2", "8:2", "2:32", "no.json", "{", "x:y"),
    "--hardware": ("nope", "no.toml", "/", "sat"),
    "--input": ("x", "3,x", "0", "-1", "1,2", "3,0,3", "", "1,2,3,4", "9" * 40),
    "--batch": ("0", "-1"),
    "--steps": ("0", "-1", "9" * 30),
    "--optimizer": ("nope", "", "adam "),
    "--without": ("nope", "overlap,nope", "overlap overlap"),
    "--memory": ("nope", "no.toml", "/"),
    "--skip": ("nope", "1,nope"),
    "--window": ("nope", "layer=", "cycles=1", "cycles=5:1", "cycles=a:b"),
    "--fusion": ("nope", ""),
    "--dtype": ("nope", "fp12"),
    "--strategy": ("nope", ""),
    "--constants": ("no.json", "/"),
    "--json": ("/no/such/folder/run.json", "/"),
    "--out": ("/dev/null/run",),
    "--gpus": ("0", "-1"),
    "--format": ("nope", ""),
    "--array": ("4", "4x", "0x4", "4x4x4", "x", "-4x4"),
    "--product": ("1,2", "a,b,c", "0,1,1", "1,2,3,4", "", "-1,2,3"),
    "--dataflow": ("is", "", "OSWS"),
    "--program": ("no.npz", "/"),
    "--wave": ("out.txt", "out", "/no/such/out.vcd"),
    "--step": ("nope", "no.py:f", "no.module:f"),
    "--data": ("nope", "/no/such/folder"),
    "--seeds": ("0", "-1"),
    "--learning-rate": ("-1", "nan", "inf"),
    "--device": ("nope", "cuda:99"),
    "--accuracy": ("/no/such/folder",),
    "--jobs": ("-1",),
    "--copies": ("0", "-1"),
    "--replays": ("0", "2"),
    "--power-s": ("-1",),
    "--limit": ("0", "-1"),
}
"""What these options cannot be, whatever the subcommand that has them."""
ON_GPU = ("--fusion", "--dtype", "--strategy", "--constants", "--gpus")
ELSEWHERE = {
    ("measure", "--out"),  # needs a GPU before it looks at anything
    ("measure", "--copies"),
    ("measure", "--steps"),
    ("predict", "--constants"),
    ("export", "--gpus"),
    ("train", "--skip"),  # a warning there
    ("train", "--recipe"),  # tests/models
    ("cosim", "--recipe"),  # of a step: tests/rtl
    ("cosim", "--hardware"),
    ("cosim", "--optimizer"),
    ("cosim", "--pattern"),
}
ALLOWED = {("train", "--pattern", "2:32"), ("train", "--hardware", "")}
"""Training takes any N:M, and no machine to price it on."""
VALUES = [
    (command, option, text)
    for command, option, _ in options()
    if (command, option) not in ELSEWHERE
    for text in BAD.get(option, ())
    if (command, option, text) not in ALLOWED
]


@pytest.mark.parametrize(("command", "option", "text"), VALUES, ids=ascii)
def test_every_option_with_what_it_cannot_be(
    command: str, option: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    needed = [part for part in NEEDED.get(command, []) if part != option]
    if option in ON_GPU and command in ("simulate", "compare"):
        needed = [*needed, "--hardware", "l4"]
    if option == "--pattern" and command in ("simulate", "compare"):
        needed = [*needed, "--recipe", "srste"]
    if option == "--window" and command == "simulate":
        needed = [*needed, "--out", "run"]
    if command == "hardware":
        needed = ["sat-4x4"]
    status, out, err = run([command, *needed, f"{option}={text}"])
    assert (status, out, err.count("\n")) == (2, "", 1), (status, out[:300], err)
    assert err.startswith("weft: ")
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_there_are_at_least_five_hundred() -> None:
    tables = 10 * len(CELLS) + 3 * sum(map(len, PREDICTED.values()))
    fields = len(MACHINE_FIELDS) + len(DRAM_FIELDS) + len(GPU_FIELDS) + len(CONSTANTS)
    on_the_command_line = len(VALUES) + len(FLAGS) + 5 * len(NUMBERS) + len(COMMANDS)
    assert min(tables, fields, on_the_command_line) > 200
    assert tables + fields * len(WRONG) + on_the_command_line > 5000
