"""Arithmetic leaves against the host's IEEE floating point, bit for bit, with coverage counted."""

from __future__ import annotations

import subprocess

import pytest

from weft.rtl.cosimulation.build import Design, build_cpp, lint
from weft.rtl.hardware import VERILOG
from weft.rtl.inspection.structure import closure

BENCH = VERILOG.parent / "cosimulation" / "bench" / "check_fp.cpp"
LEAVES = (
    "fp16_multiplier",
    "fp32_adder",
    "fp32_multiplier",
    "fp16_to_fp32",
    "fp32_to_fp16",
)
"""In the order of the bench's OPERATION."""

PIPELINED = LEAVES[:3]
BINS = {
    "fp16_multiplier": 25 + 4,
    "fp32_adder": 25 + 5 + 6,
    "fp32_multiplier": 25 + 5 + 6,
    "fp16_to_fp32": 5 + 4,
    "fp32_to_fp16": 5 + 5 + 6,
}
"""Pairs of operand classes, classes of the result, and what rounding did where it can."""


def design(leaf: str, stages: int = 1) -> Design:
    return Design(
        leaf,
        closure(leaf),
        {"STAGES": stages} if leaf in PIPELINED else {},
        arguments=("-CFLAGS", f"-DOPERATION={LEAVES.index(leaf)} -DSTAGES={stages}"),
    )


def run(leaf: str, vectors: int, seed: int, stages: int = 1) -> dict[str, int]:
    """Vectors checked and the count of each coverage bin."""
    program = build_cpp(design(leaf, stages), BENCH)
    result = subprocess.run(
        [str(program), str(vectors), str(seed)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    return {" ".join(words[:-1]): int(words[-1]) for words in lines}


@pytest.mark.parametrize("leaf", LEAVES)
def test_two_million_vectors_and_no_empty_bin(leaf: str) -> None:
    counts = run(leaf, 2_000_000, 1)
    assert counts["checked"] > 2_000_000 or (leaf, counts["checked"]) == ("fp16_to_fp32", 65536)
    bins = {name: count for name, count in counts.items() if name.startswith("bin")}
    print(leaf, bins)
    assert len(bins) == BINS[leaf]
    assert all(bins.values()), bins


@pytest.mark.parametrize("leaf", ["fp16_multiplier", "fp32_to_fp16"])
@pytest.mark.deep
def test_every_operand_there_is(leaf: str) -> None:
    assert run(leaf, -1, 1)["checked"] > 1 << 32


@pytest.mark.parametrize("leaf", ["fp32_adder", "fp32_multiplier"])
@pytest.mark.deep
def test_half_a_billion(leaf: str) -> None:
    assert run(leaf, 500_000_000, 2)["checked"] > 500_000_000


MUTANTS = [
    # Ties away from zero, a lost sticky bit, a wrong sign of zero, a missed subnormal, a stage's
    # signal taken from the stage before.
    (
        "fp32_adder",
        "& (normalized[4] | normalized[2] | normalized[1] | normalized[0])",
        "",
    ),
    ("fp32_adder", "y_shifted[0] | lost | (y_lost != 7'd0)", "y_shifted[0] | lost"),
    ("fp32_adder", "y_shifted[0] | lost |", "y_shifted[0] |"),
    ("fp32_adder", "zero_sign_1 = x[31] & y[31];", "zero_sign_1 = x[31];"),
    ("fp32_adder", "{y[30:24], y[23] | ~y_normal}", "y[30:23]"),
    ("fp32_adder", "normalized[1] | normalized[0])", "normalized[1])"),
    ("fp32_adder", "{28{subtract}}, subtract}", "{28{differ}}, subtract}"),
    ("fp32_adder", "exponent_3 + 8'd1 -", "exponent_2 + 8'd1 -"),
    ("fp32_multiplier", "half & (odd | sticky)", "half"),
    ("fp32_multiplier", "vanishes ? -6'd26 : least[5:0]", "least[5:0]"),
    ("fp32_multiplier", "(exponent >= 10'd255) | ", ""),
    ("fp32_multiplier", "low_sticky | (two & window[0])", "low_sticky"),
    ("fp16_multiplier", "sign & ~nan", "sign"),
    ("fp16_multiplier", "exponent - {3'd0, zeros}", "exponent_1 - {3'd0, zeros}"),
    ("fp16_to_fp32", "8'd112", "8'd113"),
    ("fp32_to_fp16", "half_bit && (sticky || kept[0])", "half_bit"),
]


@pytest.mark.deep
@pytest.mark.parametrize(("leaf", "old", "new"), MUTANTS)
def test_mutants_are_caught(
    leaf: str, old: str, new: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("mutant")
    sources = []
    for path in closure(leaf):
        text = path.read_text("utf-8")
        if path.stem == leaf:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (folder / path.name).write_text(text, encoding="utf-8")
        sources.append(folder / path.name)
    good = design(leaf, 4)
    program = build_cpp(
        Design(leaf, tuple(sources), good.parameters, arguments=good.arguments), BENCH
    )
    result = subprocess.run(
        [str(program), "200000", "1"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "differs" in result.stdout


@pytest.mark.parametrize(
    ("leaf", "stages"),
    [("fp16_multiplier", 2), ("fp32_multiplier", 2), ("fp32_multiplier", 4)]
    + [("fp32_adder", stages) for stages in (2, 3, 4, 6)],
)
def test_a_pair_every_cycle_at_any_number_of_stages(leaf: str, stages: int) -> None:
    assert run(leaf, 500_000, 3, stages)["checked"] > 500_000


@pytest.mark.parametrize("leaf", LEAVES)
@pytest.mark.parametrize("stages", [1, 2, 3, 4, 6])
def test_lints_clean_with_all_warnings_on(leaf: str, stages: int) -> None:
    lint(design(leaf, stages))
