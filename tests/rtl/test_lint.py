"""Every Verilog file: one module, named for it, explained at the top, clean under -Wall."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from weft.rtl.cosimulation.build import BuildError, Design, lint
from weft.rtl.hardware import VERILOG
from weft.rtl.inspection.structure import closure

FILES = sorted(VERILOG.glob("*.v"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_lints_clean_with_all_warnings_on(path: Path) -> None:
    lint(Design(path.stem, closure(path.stem)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_one_module_named_for_its_file_and_explained(path: Path) -> None:
    text = path.read_text("utf-8")
    assert re.findall(r"^module (\w+)", text, re.MULTILINE) == [path.stem]
    assert text.startswith(f"// {path.stem}: ")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_waivers_are_explained_in_place(path: Path) -> None:
    for line in path.read_text("utf-8").splitlines():
        if "lint_off" in line:
            assert re.search(r"\*/\s*//\s*\w+", line), line


def test_a_warning_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "narrow.v").write_text(
        "module narrow (input wire [3:0] a, output wire [1:0] b);\n    assign b = a;\nendmodule\n"
    )
    with pytest.raises(BuildError, match="WIDTHTRUNC"):
        lint(Design("narrow", (tmp_path / "narrow.v",)))
