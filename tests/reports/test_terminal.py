"""What the terminal shows of any run, in any width, with no markup taken from names."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from tests.reports.runs import RUNS, big_run
from weft.reports.comparison import compare_runs, in_order, pareto_front
from weft.reports.terminal import compare_table, summary_table
from weft.sim.results import RunResult, UncostedOp


def printed(parts: Sequence[RenderableType], width: int = 140) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"), color_system=None)  # noqa: SIM115
    for part in parts:
        console.print(part)
    return console.export_text()


@settings(deadline=None, max_examples=40)
@given(run=RUNS, width=st.integers(20, 200))
def test_any_run_can_be_shown(run: RunResult, width: int) -> None:
    for text in (printed(summary_table(run), width), printed(compare_table([run, run]), width)):
        assert "\x1b" not in text
        assert max(cell_len(line) for line in text.splitlines()) <= width  # marks take no cell


def test_the_summary_says_what_costs_and_why() -> None:
    run = big_run()
    text = printed(summary_table(run))
    for stage in run.stages:
        assert stage in text
    most = max(run.layers, key=lambda layer: layer.time_s)
    assert most.name in text
    assert most.why in text
    assert "not costed: 2 ops (set_)" in text
    assert "note: 1 dense: classifier; 1 dense: stem" in text


def test_only_the_ten_costliest_layers_are_shown() -> None:
    text = printed(summary_table(big_run()))
    assert text.count(".conv") == 10


def test_names_with_markup_are_shown_as_they_are() -> None:
    run = big_run(1, 0)
    layer = dataclasses.replace(run.layers[0], name="stack[bold].[/x]")
    shown = printed(summary_table(dataclasses.replace(run, layers=(layer,))))
    assert "stack[bold].[/x]" in shown


def test_a_gpu_run_claims_no_cause() -> None:
    """Without cycles there are no stalls to tell from."""
    run = big_run(1, 0)
    layer = dataclasses.replace(run.layers[0], cycles=None, stall_cycles=None, busy_cycles=None)
    lines = printed(summary_table(dataclasses.replace(run, layers=(layer,)))).splitlines()
    row = next(line for line in lines if layer.name in line)
    assert row.split()[-1] == "-"


def test_the_comparison_sets_runs_against_their_dense_twin() -> None:
    dense, sparse = big_run(recipe="dense"), big_run()
    other = dataclasses.replace(sparse, hardware="elsewhere")
    rows = compare_runs([sparse, dense, other])
    assert rows[0].speedup == pytest.approx(dense.total.time_s / sparse.total.time_s)
    assert rows[0].energy_ratio == pytest.approx(
        (dense.total.energy_j or 0) / (sparse.total.energy_j or 1)
    )
    assert rows[0].ideal_speedup == dense.total.macs_done / sparse.total.macs_done
    assert rows[1].speedup == 1.0
    assert rows[2].speedup is None
    assert f"{rows[0].speedup:.2f}x" in printed(compare_table([sparse, dense]))


def test_runs_of_other_lengths_are_compared_per_step() -> None:
    dense, sparse = big_run(recipe="dense"), big_run()
    total = sparse.total
    tenfold = dataclasses.replace(
        sparse,
        steps=10,
        total=dataclasses.replace(
            total,
            time_s=10 * total.time_s,
            macs_dense=10 * total.macs_dense,
            macs_done=10 * total.macs_done,
        ),
    )
    assert compare_runs([dense, tenfold])[1].speedup == pytest.approx(
        dense.total.time_s / total.time_s
    )


def test_other_work_is_no_twin() -> None:
    """The same model with another input shape does other work."""
    dense, sparse = big_run(recipe="dense"), big_run()
    more = dataclasses.replace(dense.total, macs_dense=2 * dense.total.macs_dense)
    assert compare_runs([dataclasses.replace(dense, total=more), sparse])[1].speedup is None


POINTS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=12)


@given(points=POINTS)
def test_the_pareto_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    def dominated(a: tuple[int, int]) -> bool:
        return any(b[0] <= a[0] and b[1] <= a[1] and a != b for b in points)

    front = pareto_front([(float(x), float(y)) for x, y in points])
    assert sorted(front) == [i for i, point in enumerate(points) if not dominated(point)]
    assert [points[i] for i in front] == sorted(points[i] for i in front)


@given(runs=st.permutations([(m, h, r) for m in "ab" for h in "xy" for r in ("dense", "bdwp")]))
def test_runs_of_one_machine_stand_together_the_dense_one_first(
    runs: list[tuple[str, str, str]],
) -> None:
    found = in_order(
        [
            dataclasses.replace(big_run(1, 0), model=model, hardware=hardware, recipe=recipe)
            for model, hardware, recipe in runs
        ]
    )
    told = [(run.model, run.hardware, run.recipe) for run in found]
    assert sorted(told) == sorted(runs)
    assert [recipe for _, _, recipe in told] == ["dense", "bdwp"] * 4
    assert [model for model, _, _ in told[::4]] == list(dict.fromkeys(m for m, _, _ in runs))
    assert len({told[place][:2] for place in range(0, 8, 2)}) == 4


def test_reading_and_printing_need_nothing_heavy() -> None:
    """What makes a report slow to start is not even imported."""
    script = (
        "import weft.reports.folder, weft.reports.terminal, sys;"
        "print(*{'torch', 'numpy', 'plotly', 'pyarrow', 'jinja2', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_ops_beyond_a_few_are_counted_not_listed() -> None:
    ops = tuple(UncostedOp("x", f"op{index}", "ff", 1, 3) for index in range(9))
    text = printed(summary_table(dataclasses.replace(big_run(1, 1), uncosted=ops)))
    assert "not costed: 27 ops (op0, op1, op2, op3, op4, op5, ...)" in text
