"""What training runs reached, to stand beside what they cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, cast

from weft.reports.writing import ReportError, failing_clearly
from weft.sim.results import RunResult

__all__ = ["Accuracy", "accuracy_of", "read_accuracy"]

_SCHEMA = "weft-train-1"


@dataclass(frozen=True)
class Accuracy:
    """The metric of one recipe's training runs, averaged over ``seeds`` seeds."""

    model: str
    recipe: str
    pattern: str
    metric_name: str
    metric: float
    seeds: int


def accuracy_of(run: RunResult, known: Sequence[Accuracy]) -> Accuracy | None:
    """What training of the same model, recipe and pattern reached."""
    pattern = "" if run.recipe == "dense" else run.pattern
    wanted = (run.model, run.recipe, pattern)
    return next((a for a in known if (a.model, a.recipe, a.pattern) == wanted), None)


def read_accuracy(place: Path) -> list[Accuracy]:
    """Training results under a folder of ``weft train --out``, or in a file of its ``--json``.

    Raises:
        ReportError: nothing there, or no training result.
    """
    if place.is_dir():
        paths = sorted(place.rglob("result.json"))
        if not paths:
            raise ReportError(f"{place} has no training result (result.json)")
        found = [run for path in paths for run in _runs(_load(path), path)]
    else:
        found = _runs(_load(place), place)
    groups: dict[tuple[str, str, str, str], list[float]] = {}
    for key, metric in found:
        groups.setdefault(key, []).append(metric)
    return [Accuracy(*key, fmean(metrics), len(metrics)) for key, metrics in groups.items()]


def _load(path: Path) -> Any:
    with failing_clearly(path, "read"):
        content = path.read_bytes()
    try:
        return json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ReportError(f"cannot read {path}: truncated or no JSON: {error}") from error


def _runs(data: Any, path: Path) -> list[tuple[tuple[str, str, str, str], float]]:
    """((model, recipe, pattern, metric's name), metric) of each training run in ``data``."""
    if isinstance(data, list):
        entries = cast("list[Any]", data)
        return [run for entry in entries for run in _runs(entry, path)]
    try:
        if "runs" in data:
            return _runs(data["runs"], path)
        if data["schema"] != _SCHEMA:
            raise ReportError(f"cannot read {path}: schema is {data['schema']!r}, not {_SCHEMA!r}")
        return [_run(data)]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ReportError):
            raise
        raise ReportError(f"cannot read {path}: no training result: {error}") from error


def _run(data: Mapping[str, Any]) -> tuple[tuple[str, str, str, str], float]:
    settings = data["settings"]
    recipe = str(settings["recipe"])
    pattern = "" if recipe == "dense" else str(settings["pattern"])
    key = (str(settings["model"]), recipe, pattern, str(data["metric_name"]))
    return key, float(data["metric"])
