"""The comparison of several runs: one HTML file that works offline."""

from __future__ import annotations

from collections.abc import Sequence

from weft.reports.accuracy import Accuracy
from weft.reports.comparison import distinct_titles
from weft.reports.comparison_charts import comparison_charts
from weft.reports.comparison_tables import comparison_table
from weft.reports.page import render_page
from weft.reports.validation import validation_lines
from weft.sim.results import RunResult

__all__ = ["render_comparison"]


def render_comparison(runs: Sequence[RunResult], accuracy: Sequence[Accuracy] = ()) -> str:
    """The page as text; every name in it is escaped."""
    titles = distinct_titles(runs)
    models = ", ".join(dict.fromkeys(run.model for run in runs))
    charts = comparison_charts(runs, accuracy)
    return render_page(
        "comparison.html",
        charts,
        title=f"{models}: {len(runs)} runs compared",
        order=[chart.name for chart in charts],
        table=comparison_table(runs, accuracy),
        provenance=[
            {
                "title": title,
                "rows": [
                    ("weft", run.weft_version),
                    *(
                        (key.replace("_", " "), text)
                        for key, text in run.provenance.items()
                        if not key.startswith("validated")
                    ),
                    *((f"validated: {key}", text) for key, text in validation_lines(run)),
                ],
                "notes": run.notes,
                "uncosted": sum(op.count for op in run.uncosted),
            }
            for title, run in zip(titles, runs, strict=True)
        ],
    )
