"""The log of a training run: one JSON object per line and step; reading it needs no torch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

__all__ = ["LogWriter", "Record", "paired_difference", "read_log"]


@dataclass(frozen=True)
class Record:
    """One step of a run.

    Attributes:
        step: 0 is the first.
        loss: of the training batch, in nats.
        learning_rate: of the step.
        time_s: simulated seconds up to and with this step; None where nothing was priced.
        energy_j: simulated joules, the same way.
        metric: on the validation data after this step, where it was measured.
    """

    step: int
    loss: float
    learning_rate: float
    time_s: float | None = None
    energy_j: float | None = None
    metric: float | None = None


class LogWriter:
    """Appends records to a file, and can go back to an earlier length."""

    def __init__(self, path: Path, length: int = 0) -> None:
        """Open ``path`` and cut it at ``length`` bytes, what a checkpoint knows of."""
        path.touch()
        self._file: IO[bytes] = path.open("r+b")
        self._file.truncate(length)
        self._file.seek(length)

    def append(self, record: Record) -> None:
        self._file.write(json.dumps(asdict(record)).encode() + b"\n")

    def sync(self) -> int:
        """Bring everything to the disk; the length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def read_log(path: Path) -> list[Record]:
    """The records of a log; a last line that was cut short is left out."""
    records: list[Record] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(Record(**json.loads(line)))
        except (json.JSONDecodeError, TypeError):
            break
    return records


def paired_difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Mean of ``second`` - ``first`` over pairs, and its standard error (NaN for one pair).

    Raises:
        ValueError: no pairs, or a different number of values.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values; pairs need as many of each")
    differences = [b - a for a, b in zip(first, second, strict=True)]
    count = len(differences)
    mean = sum(differences) / count
    if count == 1:
        return mean, math.nan
    variance = sum((value - mean) ** 2 for value in differences) / (count - 1)
    return mean, math.sqrt(variance / count)
