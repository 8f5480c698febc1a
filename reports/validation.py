"""How each number of a run was validated, as far as the run itself says."""

from __future__ import annotations

from weft.sim.results import RunResult

__all__ = ["validation_lines"]

_KEY = "validated"


def validation_lines(run: RunResult) -> list[tuple[str, str]]:
    """(number, what it rests on): the run's own ``validated`` entries, and its schedules' proofs.

    ``provenance["validated"]`` speaks for the run, ``provenance["validated_<number>"]`` for one
    number; nothing is added to what they say.
    """
    lines = [
        (_subject(key), text)
        for key, text in run.provenance.items()
        if key == _KEY or key.startswith(f"{_KEY}_")
    ]
    return lines + _schedules(run)


def _subject(key: str) -> str:
    return key.removeprefix(_KEY).lstrip("_").replace("_", " ") or "cycles"


def _schedules(run: RunResult) -> list[tuple[str, str]]:
    bounded = [layer for layer in run.layers if layer.bound_cycles and layer.scheduled_cycles]
    if not bounded:
        return []
    open_gaps = [
        (layer.scheduled_cycles or 0) / (layer.bound_cycles or 1) - 1
        for layer in bounded
        if not layer.proven
    ]
    proven = len(bounded) - len(open_gaps)
    text = f"{proven} of {len(bounded)} products proven optimal over their declared map space"
    if open_gaps:
        text += f"; the others are at most {max(open_gaps):.2%} above their lower bound"
    return [("schedules", text)]
