"""Arithmetic leaves against the host's IEEE floating point, bit for bit, with coverage counted."""

from __future__ import annotations

import subprocess

import pytest

from weft.rtl.build import VERILOG, Design, build_cpp, lint, sources_of

BENCH = VERILOG.parent / "bench" / "check_fp.cpp"
DESIGNS = {
    "multiply": ("0", "fp16_multiplier", ("delay_line", "fp16_normalize")),
    "add": ("1", "fp32_adder", ("delay_line", "leading_zeros_27")),
}


def design(operation: str, stages: int = 1) -> Design:
    number, top, parts = DESIGNS[operation]
    return Design(
        top,
        sources_of(*parts, top),
        {"STAGES": stages},
        arguments=("-CFLAGS", f"-DOPERATION={number}"),
    )


def run(operation: str, vectors: int, seed: int) -> dict[str, int]:
    """Vectors checked and the count of each coverage bin."""
    program = build_cpp(design(operation), BENCH)
    result = subprocess.run(
        [str(program), str(vectors), str(seed)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    return {" ".join(words[:-1]): int(words[-1]) for words in lines}


@pytest.mark.parametrize("operation", DESIGNS)
def test_two_million_vectors_and_no_empty_bin(operation: str) -> None:
    counts = run(operation, 2_000_000, 1)
    assert counts["checked"] > 2_000_000
    bins = {name: count for name, count in counts.items() if name.startswith("bin")}
    print(bins)
    assert len(bins) == 25
    assert all(bins.values()), bins


@pytest.mark.deep
def test_every_pair_of_halves() -> None:
    assert run("multiply", -1, 1)["checked"] > 1 << 32


@pytest.mark.deep
def test_half_a_billion_sums() -> None:
    assert run("add", 500_000_000, 2)["checked"] > 500_000_000


@pytest.mark.parametrize("operation", DESIGNS)
@pytest.mark.parametrize("stages", [1, 2, 4])
def test_lints_clean_with_all_warnings_on(operation: str, stages: int) -> None:
    lint(design(operation, stages))
