"""The figures of a run for notebooks, as plotly objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from weft.reports import run_charts
from weft.reports import timeline as timeline_chart
from weft.reports.entries import entry_of
from weft.sim.results import RunResult

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from weft.sim.engine import Slice

__all__ = ["RunFigures", "breakdown", "energy", "roofline", "stalls", "timeline"]


def breakdown(run: RunResult) -> Figure:
    """Time by stage, and what it went to."""
    return run_charts.breakdown(run).figure()


def roofline(run: RunResult) -> Figure:
    """Every product as a point under the machine's roofs."""
    return run_charts.roofline(run).figure()


def stalls(run: RunResult) -> Figure:
    """What each unit does with the run's cycles."""
    return run_charts.stalls(run).figure()


def energy(run: RunResult) -> Figure:
    """Joules by component."""
    return run_charts.energy(run).figure()


def timeline(slices: Sequence[Slice], limit: int = timeline_chart.DRAWN) -> Figure:
    """A window of the timeline, one row per unit."""
    return timeline_chart.timeline([entry_of(part) for part in slices], limit).figure()


def _no_slices(_: str) -> Sequence[Slice]:
    return ()


@dataclass(frozen=True)
class RunFigures:
    """``run.plot``: the figures of one run. ``slices`` finds a window's timeline entries."""

    run: RunResult
    slices: Callable[[str], Sequence[Slice]] = field(default=_no_slices, repr=False)

    def breakdown(self) -> Figure:
        """Time by stage, and what it went to."""
        return breakdown(self.run)

    def roofline(self) -> Figure:
        """Every product as a point under the machine's roofs."""
        return roofline(self.run)

    def stalls(self) -> Figure:
        """What each unit does with the run's cycles."""
        return stalls(self.run)

    def energy(self) -> Figure:
        """Joules by component."""
        return energy(self.run)

    def timeline(self, window: str = "", limit: int = timeline_chart.DRAWN) -> Figure:
        """A window of the run (``Run.slices``; its start by default), one row per unit."""
        return timeline(self.slices(window), limit)
