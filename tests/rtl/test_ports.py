"""Users' own modules in place of weft's: contracts, refusals in one line that names the port."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from weft.rtl.cosimulation.simulate import MODULES, cosim_design
from weft.rtl.hardware import VERILOG
from weft.rtl.inspection.ports import (
    PAGE,
    ReplacementError,
    contract,
    page_text,
    replaced_modules,
)
from weft.sim.machine import load_machine

MACHINE = load_machine("sat-4x4")
LANE = (VERILOG / "sore_lane.v").read_text(encoding="utf-8")


def test_the_page_is_as_the_verilog_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page_text(), "python -m weft.rtl.inspection.ports"


@pytest.mark.parametrize("name", ["stce", "queue", "load_unit", "wuve_lane", "bank_ram"])
def test_the_page_names_every_port_that_verilator_finds(name: str) -> None:
    found = contract(name, [VERILOG / f"{module}.v" for module in MODULES], {})
    section = page_text().split(f"\n## {name}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("- ")]
    ports = [re.sub(r"`\[[^`]*` ", "", line).split("`")[1] for line in lines if "put " in line[:9]]
    assert ports == list(found.ports)
    parameters = [line.split("`")[1] for line in lines if line.startswith("- parameter")]
    assert parameters == list(found.parameters)


def replace_lane(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "mine.v"
    text = re.sub(old, new, LANE)
    assert text != LANE
    file.write_text(text)
    replaced_modules(MACHINE, [f"sore_lane={file}"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (r"\bvalue\b", "number", "has no port value; sore_lane needs input value"),
        (
            r"15(:0\] value)",
            r"14\1",
            "port value has 15 bits; sore_lane has 16 there, with KEEP_MAX",
        ),
        (r"input (.* value,)", r"output \1", "port value is an output, not an input"),
        (r"(.* value,.*)", r"\1\n    input wire more,", "has an input more that nothing drives"),
        (r"wire (\[.* value,)", r"wyre \1", "sore_lane: .*mine.v:18:12: Can.t find typedef.*wyre"),
    ],
)
def test_wrong_ports_are_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ReplacementError, match=said) as error:
        replace_lane(tmp_path, old, new)
    assert "\n" not in str(error.value)


def test_a_missing_parameter_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReplacementError, match="has no parameter KEEP_MAX; sore_lane needs it"):
        replace_lane(tmp_path, "parameter KEEP_MAX", "localparam KEEP_MAX")


def test_bad_words_are_refused_in_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "helper.v").write_text("module helper; endmodule\n")
    for given, folder, said in (
        (["stce"], None, "it must be module=file, as stce.v=my_stce.v"),
        (["stcf.v=x.v"], None, "no module 'stcf'; known: delay_line, .*sat_top"),
        (["stce.v=none.v"], None, "no file none.v"),
        ([], tmp_path / "none", "no such folder"),
        ([], empty, "no file is named for a module: delay_line"),
        ([f"uspe={VERILOG / 'uspe.v'}", f"uspe={VERILOG / 'stce.v'}"], None, "replaced twice"),
    ):
        with pytest.raises(ReplacementError, match=said) as error:
            replaced_modules(MACHINE, given, folder)
        assert "\n" not in str(error.value)


def test_a_folder_replaces_what_it_names_and_brings_what_those_use(tmp_path: Path) -> None:
    (tmp_path / "sore_lane.v").write_text(
        LANE.replace("endmodule", "    helper mine ();\nendmodule")
    )
    (tmp_path / "helper.sv").write_text("module helper; logic x; endmodule\n")
    found = replaced_modules(MACHINE, folder=tmp_path)
    assert [name for name, _ in found.modules] == ["sore_lane"]
    design = found.into(cosim_design(MACHINE, 4096, 20))
    assert tmp_path / "sore_lane.v" in design.sources
    assert VERILOG / "sore_lane.v" not in design.sources
    assert design.sources[-1] == tmp_path / "helper.sv"
    assert f"--rtl {tmp_path}" in found.options


def command(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "weft", "cosim", "--product", "9,16,9", *options],
        capture_output=True,
        text=True,
        check=False,
    )


def test_cosim_refuses_a_wrong_port_with_status_2(tmp_path: Path) -> None:
    (tmp_path / "mine.v").write_text(re.sub(r"\bvalue\b", "number", LANE))
    result = command("--replace", f"sore_lane.v={tmp_path / 'mine.v'}")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "has no port value" in result.stderr


def test_cosim_runs_what_was_given(tmp_path: Path) -> None:
    """The same text, so that the build of the other tests serves."""
    own = tmp_path / "sore_lane.v"
    own.write_text(LANE)
    result = command("--replace", f"sore_lane.v={own}", "--json", "-")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["replaced"] == [f"sore_lane={own}"]


@pytest.mark.deep
def test_a_replacement_that_computes_something_else_is_noticed(tmp_path: Path) -> None:
    own = tmp_path / "mine.v"
    text = (VERILOG / "fp16_multiplier.v").read_text(encoding="utf-8")
    assert text.count("a[15] ^ b[15]") == 1
    own.write_text(text.replace("a[15] ^ b[15]", "a[15]"))
    result = command("--replace", f"fp16_multiplier.v={own}")
    assert result.returncode == 1, result.stderr
    assert f"--replace fp16_multiplier={own}" in result.stdout
