"""The ideal array counts as the peers do: every run of theirs that is at hand, to the cycle."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.sim.ideal import Compression, IdealArray, IdealDataflow, ideal_array, ideal_cycles

PEERS = Path(__file__).parents[2] / "../shared/data/peers"

SIZES = st.integers(1, 300)
ARRAYS = st.builds(
    IdealArray, st.integers(1, 40), st.integers(1, 40), st.sampled_from(IdealDataflow)
)


def peer_rows(name: str) -> list[dict[str, str]]:
    path = PEERS / name
    if not path.is_file():
        pytest.skip(f"the peers' table {name} is not at hand")
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def sizes(row: dict[str, str]) -> tuple[int, int, int]:
    return int(float(row["M"])), int(float(row["K"])), int(float(row["N"]))


def test_every_run_of_scale_sim() -> None:
    rows = peer_rows("scalesim_3.0.0_32x32.csv")
    assert {row["dataflow"] for row in rows} == {"os", "ws", "is"}
    for row in rows:
        side, other = row["array"].split("x")
        array = IdealArray(int(side), int(other), IdealDataflow(row["dataflow"]))
        found = ideal_cycles(array, *sizes(row), Compression.parse(row["sparsity"]))
        stalls = int(float(row["stall_cycles"]))
        assert found == int(float(row["scalesim_compute_cycles"])) - stalls, row


def test_every_output_stationary_run_of_stonne() -> None:
    rows = [row for row in peer_rows("stonne_zigzag.csv") if row["tool"] == "STONNE-TPU_OS"]
    assert len(rows) >= 9
    array = IdealArray(32, 32, IdealDataflow.OS_EDGE)
    for row in rows:
        assert ideal_cycles(array, *sizes(row)) == int(row["cycles"]), row


def last_cycle(array: IdealArray, m: int, k: int, n: int) -> int:
    """Fold by fold, the last cycle in which an element of the array has work.

    Kept operands are shifted in a row per cycle; then operand t of the stream reaches element
    (r, c) at t + r + c, and every element of an edge fold is waited for.
    """
    folded_rows, folded_cols = {"os": (m, n), "ws": (k, n), "is": (k, m)}[array.dataflow]
    stream = {"os": k, "ws": m, "is": n}[array.dataflow]
    clock = -1
    for _ in range(0, folded_rows, array.rows):
        for _ in range(0, folded_cols, array.cols):
            start = clock + 1 + (0 if array.dataflow is IdealDataflow.OS else array.rows)
            clock = max(
                start + t + r + c
                for t in range(stream)
                for r in range(array.rows)
                for c in range(array.cols)
            )
    return clock


@given(
    st.builds(
        IdealArray,
        st.integers(1, 5),
        st.integers(1, 5),
        st.sampled_from([IdealDataflow.OS, IdealDataflow.WS, IdealDataflow.IS]),
    ),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_closed_form_is_the_array_stepped(array: IdealArray, m: int, k: int, n: int) -> None:
    assert ideal_cycles(array, m, k, n) == last_cycle(array, m, k, n)


@given(ARRAYS, SIZES, SIZES, SIZES)
def test_no_array_beats_one_product_per_element_and_cycle(
    array: IdealArray, m: int, k: int, n: int
) -> None:
    assert (ideal_cycles(array, m, k, n) + 1) * array.rows * array.cols >= m * k * n


@given(ARRAYS, SIZES, SIZES, SIZES, st.integers(1, 16), st.integers(1, 16), st.booleans())
def test_compression_never_lengthens_past_its_padding(
    array: IdealArray, m: int, k: int, n: int, kept: int, extra: int, row_wise: bool
) -> None:
    compression = Compression(kept, kept + extra, row_wise)
    padded = -(-k // (2 * compression.m)) * 2 * compression.m if row_wise else k
    assert ideal_cycles(array, m, k, n, compression) <= ideal_cycles(array, m, padded, n)


@given(SIZES, st.integers(1, 16), st.integers(0, 16))
def test_depth_is_what_one_mask_leaves(k: int, kept: int, extra: int) -> None:
    m = kept + extra
    assert Compression(kept, m).depth(k) == sum(position % m < kept for position in range(k))


@given(ARRAYS, SIZES, SIZES, SIZES)
def test_transposing_the_product_swaps_inputs_and_weights(
    array: IdealArray, m: int, k: int, n: int
) -> None:
    weights = IdealArray(array.rows, array.cols, IdealDataflow.WS)
    inputs = IdealArray(array.rows, array.cols, IdealDataflow.IS)
    assert ideal_cycles(weights, m, k, n) == ideal_cycles(inputs, n, k, m)


@given(ARRAYS, SIZES, SIZES, SIZES, st.integers(1, 9))
def test_a_batch_is_the_products_one_after_the_other(
    array: IdealArray, m: int, k: int, n: int, batch: int
) -> None:
    last = 0 if array.dataflow is IdealDataflow.OS_EDGE else 1
    one = ideal_cycles(array, m, k, n) + last
    assert ideal_cycles(array, m, k, n, batch=batch) == batch * one - last


def test_a_row_sets_the_array() -> None:
    assert ideal_array({}) == IdealArray(32, 32, IdealDataflow.OS)
    assert ideal_array({"rows": "8", "cols": " 16 ", "dataflow": "WS"}) == IdealArray(
        8, 16, IdealDataflow.WS
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"rows": "0"}, "rows is 0; it must be 1 to 65536"),
        ({"cols": "many"}, "cols is 'many'; it must be 1 to 65536"),
        ({"dataflow": "rs"}, "dataflow is 'rs'; allowed: os, ws, is, os-edge"),
    ],
)
def test_a_wrong_row_is_told(row: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ideal_array(row)


@pytest.mark.parametrize("text", ["", "2", "4:2", "0:4", "2:4-colwise"])
def test_a_wrong_sparsity_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="sparsity"):
        Compression.parse(text)
