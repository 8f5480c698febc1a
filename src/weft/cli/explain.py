"""``weft explain``: a PyTorch profiler trace beside the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from weft.cli.options import Constants, Json, subcommand
from weft.cli.output import console, write_json
from weft.cli.table import print_table
from weft.sim.gpu.prediction.constants import read_constants
from weft.sim.gpu.prediction.machine import load_gpu
from weft.sim.gpu.profiled.beside import Beside, beside
from weft.sim.gpu.profiled.kineto import read_kineto

__all__ = ["app"]

_MOST = 30

app = subcommand()


@app.command()
def explain(
    trace: Annotated[Path, typer.Argument(help="JSON of torch.profiler's export_chrome_trace.")],
    hardware: Annotated[str, typer.Option(help="The GPU that was profiled.")],
    constants: Constants = None,
    json: Json = None,
) -> None:
    """Set a PyTorch profiler trace beside the prediction, kernel by kernel."""
    load_gpu(hardware)
    own = read_constants(Path(constants)) if constants else {}
    rows = beside(read_kineto(trace), hardware, own)
    if json is not None:
        write_json(_document(rows, trace, hardware), json)
    if json != "-":
        _show(rows)


def _known(rows: Sequence[Beside]) -> tuple[float, float, float]:
    """Measured time of what is predicted, its prediction, and measured time of the rest, us."""
    measured = sum(row.measured_us for row in rows if row.predicted_us is not None)
    predicted = sum(row.predicted_us or 0.0 for row in rows)
    return measured, predicted, sum(row.measured_us for row in rows) - measured


def _document(rows: Sequence[Beside], trace: Path, hardware: str) -> dict[str, object]:
    measured, predicted, rest = _known(rows)
    return {
        "trace": str(trace),
        "hardware": hardware,
        "measured_us": measured,
        "predicted_us": predicted,
        "unpredicted_us": rest,
        "operators": [row.to_json() for row in rows],
    }


def _error(row: Beside) -> str:
    if not row.predicted_us or not row.measured_us:
        return "-"
    return f"{row.predicted_us / row.measured_us - 1:+.0%}"


def _show(rows: Sequence[Beside]) -> None:
    shown = [
        (
            row.op, row.shapes, str(row.calls), f"{row.measured_us:.1f}",
            "-" if row.predicted_us is None else f"{row.predicted_us:.1f}", _error(row), row.why,
        )
        for row in rows[:_MOST]
    ]  # fmt: skip
    header = ("operator", "sizes", "calls", "measured us", "predicted us", "error", "")
    print_table(header, shown)
    measured, predicted, rest = _known(rows)
    out = console()
    out.print(
        f"predicted {predicted:.0f} us of {measured:.0f} us measured; {rest:.0f} us have no "
        f"prediction ({len(rows)} kinds of operator, the {min(_MOST, len(rows))} longest shown)"
    )
