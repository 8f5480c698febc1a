"""What a training run is made of; two runs with equal settings are the same bit for bit."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

__all__ = ["TrainSettings"]

_OPTIMIZERS = ("sgd", "sgd-momentum", "adam", "adamw")


_MOST = 10**9
"""Of steps and samples: what is more is a slip of the finger."""


@dataclass(frozen=True)
class TrainSettings:
    """A training run.

    Attributes:
        model: a name of the zoo.
        data: as ``load_data`` takes it.
        recipe: as ``find_recipe`` takes it.
        pattern: N:M, or a JSON object of layer (name or shell pattern) to N:M; unused by the
            dense recipe.
        steps: optimizer steps.
        seed: of weights, batches and random masks; equal seeds pair runs of several recipes.
        batch: samples per step.
        learning_rate: its peak; it rises over the first twentieth and falls on a cosine to 0.
        optimizer: "sgd", "sgd-momentum", "adam" or "adamw".
        weight_decay: decoupled for AdamW.
        evaluate_every: steps between two measurements of the metric, after the last step too; 0
            for a tenth of the run.
        checkpoint_every: steps between two checkpoints.
        skip: layers that stay dense.
        dense_stem: keep the first layer dense.
        dense_classifier: keep the last layer dense.
        device: where PyTorch trains.
        threads: of PyTorch; 0 leaves them as they are.

    Raises:
        ValueError: a value out of range.
    """

    model: str
    data: str
    recipe: str = "dense"
    pattern: str = "2:8"
    steps: int = 400
    seed: int = 0
    batch: int = 32
    learning_rate: float = 3e-3
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    evaluate_every: int = 0
    checkpoint_every: int = 100
    skip: tuple[str, ...] = ()
    dense_stem: bool = True
    dense_classifier: bool = True
    device: str = "cpu"
    threads: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "checkpoint_every"):
            if not 1 <= getattr(self, name) <= _MOST:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; it must be at least 1, at most {_MOST}"
                )
        for name in ("seed", "evaluate_every", "threads"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be above 0")
        if self.optimizer not in _OPTIMIZERS:
            allowed = ", ".join(_OPTIMIZERS)
            raise ValueError(f"optimizer {self.optimizer!r} is not known; allowed: {allowed}")

    @property
    def evaluation_interval(self) -> int:
        """Steps between two measurements of the metric."""
        return self.evaluate_every or max(1, self.steps // 10)

    def rate_at(self, step: int) -> float:
        """The learning rate of ``step``."""
        warm = max(1, self.steps // 20)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        progress = (step - warm) / max(1, self.steps - warm)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

    def as_dict(self) -> dict[str, object]:
        """Plain values, as JSON has them."""
        return {**asdict(self), "skip": list(self.skip)}

    def difference(self, other: dict[str, object]) -> str:
        """The first field in which ``other`` differs, in words; empty if none does."""
        mine = self.as_dict()
        for entry in fields(self):
            known, given = other.get(entry.name), mine[entry.name]
            if known != given:
                return f"{entry.name} is {known!r} there and {given!r} here"
        return ""
