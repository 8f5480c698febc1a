"""One training run: by a recipe, priced step by step, resumed bit for bit after any kill."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from weft.models.losses import cross_entropy, next_token
from weft.models.recipes import Bound
from weft.models.sparse import Sparsifier
from weft.models.sparse.wrap import wrap
from weft.models.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from weft.models.training.data import DataError, ImageData, TextData, load_data
from weft.models.training.log import LogWriter, Record, paired_difference, read_log
from weft.models.training.settings import TrainSettings
from weft.models.zoo import ZOO

__all__ = ["Price", "Priced", "TrainRun", "compare_runs", "train", "train_seeds"]


class Price(Protocol):
    """What a step costs on the machine: (seconds, joules)."""

    def __call__(self, step: int) -> tuple[float, float]: ...


@dataclass(frozen=True)
class Priced:
    """What a pricing callback may need to know of the run, before it starts.

    Attributes:
        model: the zoo's name.
        input_shape: of one sample.
        classes: of the model.
        batch: samples per step.
        recipe: bound to the run; the one that training obeys.
        dense: layers that stay dense.
        patterns: (n, m) by layer.
        optimizer: its name.
    """

    model: str
    input_shape: tuple[int, ...]
    classes: int
    batch: int
    recipe: Bound
    dense: tuple[str, ...]
    patterns: dict[str, tuple[int, int]]
    optimizer: str


@dataclass(frozen=True)
class TrainRun:
    """A finished run.

    Attributes:
        settings: of the run.
        records: one per step.
        metric_name: "accuracy" or "bits_per_character".
        metric: at the end, on the validation data.
        sparse_inference: whether the trained model is sparse when it is used.
        weight_density: share of non-zero weights that FF reads at the end, of the layers that
            the recipe may prune.
        parameters: of the model.
        time_s: simulated, of the whole run; None where nothing was priced.
        energy_j: the same.
    """

    settings: TrainSettings
    records: tuple[Record, ...]
    metric_name: str
    metric: float
    sparse_inference: bool
    weight_density: float
    parameters: int
    time_s: float | None = None
    energy_j: float | None = None

    def summary(self) -> dict[str, object]:
        """Plain values for ``result.json``."""
        return {
            "schema": "weft-train-1",
            "settings": self.settings.as_dict(),
            "metric_name": self.metric_name,
            "metric": self.metric,
            "sparse_inference": self.sparse_inference,
            "weight_density": self.weight_density,
            "parameters": self.parameters,
            "time_s": self.time_s,
            "energy_j": self.energy_j,
        }


@dataclass
class _State:
    """Everything that moves while training."""

    model: nn.Module
    sparsifier: Sparsifier
    optimizer: torch.optim.Optimizer
    step: int = 0
    time_s: float | None = None
    energy_j: float | None = None


def train(
    settings: TrainSettings,
    *,
    out: Path | None = None,
    price: Callable[[Priced], Price] | None = None,
    on_step: Callable[[Record], None] | None = None,
    data: ImageData | TextData | None = None,
) -> TrainRun:
    """Train, or go on with what ``out`` holds.

    Args:
        settings: of the run.
        out: a folder for ``log.jsonl``, ``checkpoint.pt`` and ``result.json``. Called again
            after a kill, the run goes on from its last checkpoint and ends with the same bits.
        price: from what is run to what each step costs; asked once per step, in order.
        on_step: called with every record as it is made, for a progress bar.
        data: instead of what ``settings.data`` names.

    Raises:
        ValueError: settings, data, recipe or checkpoint that do not fit, in one line.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    loaded = _fit(settings, load_data(settings.data) if data is None else data)
    state, shape = _start(settings, loaded)
    run = _Runner(settings, loaded, state, shape, price, on_step)
    if out is None:
        return run.finish(run.all_steps(None, None))
    out.mkdir(parents=True, exist_ok=True)
    length = _resume(settings, state, out)
    writer = LogWriter(out / "log.jsonl", length)
    try:
        run.all_steps(writer, out / "checkpoint.pt")
    finally:
        writer.close()
    finished = run.finish(read_log(out / "log.jsonl"))
    _write_json(out / "result.json", finished.summary())
    return finished


def _fit(settings: TrainSettings, data: ImageData | TextData) -> ImageData | TextData:
    """The data in the shape that the model takes."""
    if settings.model not in ZOO:
        raise ValueError(f"model {settings.model!r} is not in the zoo; known: {', '.join(ZOO)}")
    entry = ZOO[settings.model]
    if isinstance(data, TextData):
        if entry.objective != "next-token":
            raise DataError(f"data {data.name} is text; {entry.name} does not predict characters")
        data.check_length(entry.default_input[0])
        return data
    if entry.kind != "image":
        raise DataError(f"data {data.name} is images; {entry.name} takes tokens")
    channels = entry.default_input[0]
    return data if channels == 1 else data.shaped_for(channels, smallest=32)


def _start(settings: TrainSettings, data: ImageData | TextData) -> tuple[_State, tuple[int, ...]]:
    entry = ZOO[settings.model]
    shape = data.input_shape if isinstance(data, ImageData) else entry.default_input
    torch.manual_seed(settings.seed)
    model: nn.Module = entry.module(shape, data.classes)
    sparsifier = wrap(
        model,
        settings.recipe,
        _patterns(settings),
        settings.skip,
        steps=settings.steps,
        dense_stem=settings.dense_stem,
        dense_classifier=settings.dense_classifier,
        seed=settings.seed,
    )
    model.to(settings.device)
    return _State(model, sparsifier, _optimizer(settings, model)), shape


def _patterns(settings: TrainSettings) -> str | Mapping[str, str]:
    if settings.recipe == "dense":
        return "1:2"
    if not settings.pattern.startswith("{"):
        return settings.pattern
    try:
        return json.loads(settings.pattern)
    except ValueError as error:
        raise ValueError(f"pattern is no JSON object of layer to N:M: {error}") from None


def _optimizer(settings: TrainSettings, model: nn.Module) -> torch.optim.Optimizer:
    parameters = list(model.parameters())
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)
    momentum = 0.9 if settings.optimizer == "sgd-momentum" else 0.0
    return torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=decay)


def _resume(settings: TrainSettings, state: _State, out: Path) -> int:
    """Load ``out``'s checkpoint if there is one; the bytes of the log that it knows of."""
    path = out / "checkpoint.pt"
    if not path.exists():
        return 0
    saved = load_checkpoint(path)
    difference = settings.difference(json.loads(saved["settings"]))
    if difference:
        raise CheckpointError(f"{out} holds another run: {difference}")
    try:
        state.model.load_state_dict(saved["model"])
        state.optimizer.load_state_dict(saved["optimizer"])
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:120]
        raise CheckpointError(f"checkpoint {path} does not fit the model: {reason}") from None
    torch.set_rng_state(saved["random"])
    if len(saved["random_device"]) and torch.cuda.is_available():
        torch.cuda.set_rng_state(saved["random_device"])
    state.step, state.time_s, state.energy_j = saved["step"], saved["time_s"], saved["energy_j"]
    return int(saved["log_bytes"])


@dataclass
class _Runner:
    """The loop of a run."""

    settings: TrainSettings
    data: ImageData | TextData
    state: _State
    input_shape: tuple[int, ...]
    price_of: Callable[[Priced], Price] | None
    on_step: Callable[[Record], None] | None

    def all_steps(self, writer: LogWriter | None, checkpoint: Path | None) -> list[Record]:
        """Every step that is left, with records and checkpoints on the way."""
        records: list[Record] = []
        price = self._price()
        while self.state.step < self.settings.steps:
            record = self._one(price)
            records.append(record)
            if self.on_step is not None:
                self.on_step(record)
            if writer is not None and checkpoint is not None:
                writer.append(record)
                if self._due(self.settings.checkpoint_every):
                    self._save(checkpoint, writer.sync())
        return records

    def _due(self, every: int) -> bool:
        return self.state.step % every == 0 or self.state.step == self.settings.steps

    def _price(self) -> Price | None:
        if self.price_of is None:
            return None
        sparsifier = self.state.sparsifier
        return self.price_of(
            Priced(
                self.settings.model,
                self.input_shape,
                self.data.classes,
                self.settings.batch,
                sparsifier.recipe,
                tuple(sparsifier.dense),
                sparsifier.patterns,
                self.settings.optimizer,
            )
        )

    def _one(self, price: Price | None) -> Record:
        """One step: batch, forward, backward, update, price, and the metric where it is due."""
        state, step = self.state, self.state.step
        rate = self.settings.rate_at(step)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        inputs, labels = self._batch(step)
        state.model.train()
        state.optimizer.zero_grad()
        loss = self._loss(state.model(inputs), labels)
        loss.backward()
        state.optimizer.step()
        value = loss.item()
        if not math.isfinite(value):
            raise ValueError(
                f"the loss is {value} at step {step}; a smaller learning rate may help"
            )
        if price is not None:
            seconds, joules = price(step)
            state.time_s = (state.time_s or 0.0) + seconds
            state.energy_j = (state.energy_j or 0.0) + joules
        state.step += 1
        metric = self.measure() if self._due(self.settings.evaluation_interval) else None
        return Record(step, value, rate, state.time_s, state.energy_j, metric)

    def _batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        size, seed = self.settings.batch, self.settings.seed
        if isinstance(self.data, ImageData):
            inputs, labels = self.data.batch(size, seed, step)
        else:
            inputs, labels = self.data.batch(size, self.input_shape[0], seed, step)
        device = self.settings.device
        return inputs.to(device), labels.to(device)

    def _loss(self, output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = cross_entropy if isinstance(self.data, ImageData) else next_token
        return loss(output, labels)

    @torch.no_grad()
    def measure(self) -> float:
        """Accuracy, or bits per character, on the validation data."""
        model, device = self.state.model.eval(), self.settings.device
        if isinstance(self.data, ImageData):
            pairs = zip(
                self.data.validation.split(256), self.data.validation_labels.split(256), strict=True
            )
            hits = sum(int((model(x.to(device)).argmax(1).cpu() == y).sum()) for x, y in pairs)
            return hits / len(self.data.validation_labels)
        windows = self.data.windows(self.input_shape[0])
        total = sum(
            float(next_token(model(part.to(device)), part.to(device))) * len(part)
            for part in windows.split(64)
        )
        return total / len(windows) / math.log(2)

    def _save(self, path: Path, log_bytes: int) -> None:
        state = self.state
        cuda = self.settings.device.startswith("cuda")
        save_checkpoint(
            path,
            {
                "settings": json.dumps(self.settings.as_dict()),
                "step": state.step,
                "model": state.model.state_dict(),
                "optimizer": state.optimizer.state_dict(),
                "random": torch.get_rng_state(),
                "random_device": torch.cuda.get_rng_state() if cuda else torch.empty(0),
                "log_bytes": log_bytes,
                "time_s": state.time_s,
                "energy_j": state.energy_j,
            },
        )

    def finish(self, records: list[Record]) -> TrainRun:
        """The run as it ended."""
        sparsifier = self.state.sparsifier
        last = records[-1]
        metric = last.metric if last.metric is not None else self.measure()
        return TrainRun(
            self.settings,
            tuple(records),
            self.data.metric,
            metric,
            sparsifier.recipe.sparse_inference,
            sparsifier.weight_density(),
            sum(parameter.numel() for parameter in self.state.model.parameters()),
            last.time_s,
            last.energy_j,
        )


def train_seeds(
    settings: TrainSettings,
    seeds: range,
    *,
    out: Path | None = None,
    price: Callable[[Priced], Price] | None = None,
    on_step: Callable[[Record], None] | None = None,
) -> tuple[TrainRun, ...]:
    """The same run for several seeds, each in a folder ``seed-<n>`` of ``out``."""
    data = load_data(settings.data)
    return tuple(
        train(
            replace(settings, seed=seed),
            out=None if out is None else out / f"seed-{seed}",
            price=price,
            on_step=on_step,
            data=data,
        )
        for seed in seeds
    )


def _write_json(path: Path, value: object) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def compare_runs(first: tuple[TrainRun, ...], second: tuple[TrainRun, ...]) -> tuple[float, float]:
    """Mean and standard error of the paired difference of the metric, ``second`` - ``first``.

    Raises:
        ValueError: the runs do not have the same seeds in the same order.
    """
    seeds = [run.settings.seed for run in first], [run.settings.seed for run in second]
    if seeds[0] != seeds[1]:
        raise ValueError(f"seeds {seeds[0]} and {seeds[1]} do not pair")
    return paired_difference([r.metric for r in first], [r.metric for r in second])
