"""The whole way: model to trace to workload to program to result."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import weft
from weft.mapper import tracing
from weft.mapper.lowering.lower import lower
from weft.mapper.pricing.explanation import explain
from weft.mapper.pricing.find import find_machine
from weft.mapper.pricing.machine import Header, Priced, PricedMachine, Schedules
from weft.mapper.pricing.settings import (
    MachineOptions,
    MachineSettings,
    SatSettings,
    machine_settings,
)
from weft.mapper.sparsity.from_weights import FROM_WEIGHTS, by_axis
from weft.mapper.sparsity.patterns import choose_by_layer, parse_patterns, pattern_label
from weft.mapper.sparsity.sparsify import Applied, Recipe, SkipRules, summarize_dense
from weft.mapper.sparsity.steps import distinct_steps
from weft.mapper.topology.table import Topology
from weft.mapper.topology.workload import topology_workload
from weft.models.recipes import find_recipe
from weft.provenance import provenance as provenance_of
from weft.sim.engine import Slice
from weft.sim.pattern import DENSE, Pattern
from weft.sim.results import RunResult, WeightPattern
from weft.sim.workload import Product, Stage, Workload
from weft.zeros import recipe_of, weight_patterns

if TYPE_CHECKING:
    from weft.reports.figures import RunFigures

__all__ = [
    "Run",
    "Settings",
    "price_workload",
    "resolve",
    "simulate",
    "simulate_model",
    "simulate_topology",
    "simulate_workload",
    "trace_workload",
]


MAX_STEPS = 10_000_000
"""Of a run: a recipe is asked about each of them."""


@dataclass(frozen=True)
class Settings:
    """How to train, and on what ``machine``.

    ``pattern`` is N:M, or a JSON object of layer (name or shell pattern) to N:M. ``skip`` names
    layers that stay dense, as the first and the last do unless ``dense_stem`` and
    ``dense_classifier`` are off. ``selected_share`` is the share of a mask that the data decide
    (detections, routed tokens) of which the trace assumes that it is kept.
    """

    recipe: str = "dense"
    pattern: str = ""
    steps: int = 1
    optimizer: str = "sgd-momentum"
    skip: tuple[str, ...] = ()
    dense_stem: bool = True
    dense_classifier: bool = True
    selected_share: float = 0.5
    machine: MachineSettings = field(default_factory=SatSettings)

    @property
    def hardware(self) -> str:
        """The machine's name, or the path of its file."""
        return self.machine.hardware

    def on(self, hardware: str, **options: Unpack[MachineOptions]) -> Settings:
        """The same training on another machine.

        Raises:
            ValueError: an option that this kind of machine does not take.
        """
        return dataclasses.replace(self, machine=machine_settings(hardware, options))


@dataclass(frozen=True)
class Run:
    """A simulated run: its result, and the schedules behind it for looking closer.

    ``cycles``, ``time_s`` and ``energy_j`` are the totals of ``result``.
    """

    result: RunResult
    schedules: Schedules | None = field(default=None, repr=False)

    @property
    def cycles(self) -> int | None:
        return self.result.total.cycles

    @property
    def time_s(self) -> float:
        return self.result.total.time_s

    @property
    def energy_j(self) -> float | None:
        return self.result.total.energy_j

    @property
    def layers(self) -> list[dict[str, Any]]:
        """A table: one row per layer and stage, ready for ``pandas.DataFrame(run.layers)``."""
        return self.result.to_json()["layers"]

    def speedup_over(self, other: Run) -> float:
        """How many times faster this run is than ``other``."""
        return other.time_s / self.time_s

    def slices(self, window: str = "", limit: int = 20_000) -> list[Slice]:
        """Up to ``limit`` entries of the first step's timeline; none on a GPU.

        ``window``: ``layer=NAME``, ``layer=NAME:STAGE``, ``cycles=A:B``, ``samples`` of the whole
        step, or "" for its start.

        Raises:
            ValueError: a window that does not exist.
        """
        from weft.reports.window import parse_window, window_slices

        if self.schedules is None:
            if window:
                raise ValueError(f"window {window!r}: a GPU run has no timeline")
            return []
        wanted = parse_window(window) if window else None
        program = self.schedules.plans[0].program
        return window_slices(self.schedules.engine, program, wanted, limit)

    @property
    def plot(self) -> RunFigures:
        """Plotly figures: ``breakdown()``, ``roofline()``, ``stalls()``, ``energy()``, and
        ``timeline()``."""
        from weft.reports.figures import RunFigures

        return RunFigures(self.result, self.slices)

    def _repr_html_(self) -> str:
        from weft.reports.notebook import run_html

        return run_html(self.result)

    def explained(self) -> Run:
        """The same run with its critical path and what-if table (unchanged on a GPU)."""
        return dataclasses.replace(self, result=explain(Priced(self.result, self.schedules)))

    def report(self, folder: str | Path, window: str = "") -> Path:
        """Write the run folder (JSON, Parquet, HTML, trace) and return its path.

        ``window`` is what the timeline and the trace show, as for ``slices``.
        """
        from weft.reports.folder import write_run

        write_run(Path(folder), self.result, slices=self.slices(window))
        return Path(folder)


def trace_workload(
    model: Any,
    example_inputs: Any = None,
    loss_fn: Callable[..., Any] | None = None,
    *,
    optimizer: str = "sgd-momentum",
    name: str | None = None,
    selected_share: float = 0.5,
) -> Workload:
    """Trace one training step of a module or builder and lower it."""
    from weft.mapper.tracing.assumptions import Assumptions

    return lower(
        tracing.trace_step(
            model,
            example_inputs,
            loss_fn,
            optimizer=optimizer,
            name=name,
            assumptions=Assumptions(selected_share),
        )
    )


def simulate(
    model: Any,
    example_inputs: Any = None,
    loss_fn: Callable[..., Any] | None = None,
    *,
    recipe: str = "dense",
    pattern: str | Mapping[str, str] = "",
    hardware: str = "sat-vcu1525",
    name: str | None = None,
    steps: int = 1,
    optimizer: str = "sgd-momentum",
    skip: Sequence[str] = (),
    dense_stem: bool = True,
    dense_classifier: bool = True,
    selected_share: float = 0.5,
    weights: str | Path | None = None,
    **options: Unpack[MachineOptions],
) -> Run:
    """Simulate training ``model`` with a sparsity recipe on a machine.

    Args:
        model: a module, or a callable that builds ``(model, example_inputs[, loss_fn])``
            without memory for its weights.
        example_inputs: a tensor, or a tuple or dict of the module's arguments.
        loss_fn: from the module's output to a scalar.
        recipe: a name of ``weft recipes``, or ``"from-weights"`` for a module that carries zeros.
        pattern: ``"2:8"`` and the like, or one for each layer by name or shell pattern (layers
            without one stay dense); needed by every recipe but dense.
        hardware: a machine's name or the path of its TOML file.
        name: of the model in the result.
        steps: training steps to price; those that are alike are simulated once.
        optimizer: "sgd", "sgd-momentum", "adam" or "adamw".
        skip, dense_stem, dense_classifier: which layers stay dense, as in ``Settings``.
        selected_share: of a mask that the data decide, the share that is kept, 0 to 1.
        weights: a file of the model's weights, safetensors or a state dict that torch saved; its
            zeros decide the patterns, as with the recipe ``"from-weights"``.
        options: of the machine, as its kind takes them: ``weft.mapper.pricing.settings``.

    Raises:
        ValueError: a setting that is unknown or does not fit; the message is one line.
    """
    settings = Settings(
        recipe=recipe,
        pattern=pattern if isinstance(pattern, str) else json.dumps(dict(pattern)),
        steps=steps,
        optimizer=optimizer,
        skip=tuple(skip),
        dense_stem=dense_stem,
        dense_classifier=dense_classifier,
        selected_share=selected_share,
    ).on(hardware, **options)
    if weights is not None:
        settings = dataclasses.replace(
            settings, recipe=recipe_of(weights, recipe, settings.pattern)
        )
    return simulate_model(
        model, example_inputs, loss_fn, settings=settings, name=name, weights=weights
    )


def simulate_model(
    model: Any,
    example_inputs: Any = None,
    loss_fn: Callable[..., Any] | None = None,
    *,
    settings: Settings,
    name: str | None = None,
    provenance: dict[str, str] | None = None,
    weights: str | Path | None = None,
) -> Run:
    """As ``simulate``, with its settings in one piece."""
    workload = trace_workload(
        model,
        example_inputs,
        loss_fn,
        optimizer=settings.optimizer,
        name=name,
        selected_share=settings.selected_share,
    )
    if settings.recipe != FROM_WEIGHTS.name:
        return simulate_workload(workload, settings, provenance=provenance)
    found = weight_patterns(model, weights)
    run = simulate_workload(workload, settings, patterns=by_axis(found), provenance=provenance)
    told = tuple(
        WeightPattern(row.layer, row.axis, str(row.pattern), row.share, row.zeros) for row in found
    )
    return dataclasses.replace(run, result=dataclasses.replace(run.result, weights=told))


def simulate_workload(
    workload: Workload,
    settings: Settings,
    *,
    patterns: Callable[[Product], Pattern] | None = None,
    provenance: dict[str, str] | None = None,
) -> Run:
    """Simulate a traced workload on the machine of ``settings``."""
    machine = resolve(settings)
    if patterns is None and isinstance(given := parse_patterns(settings.pattern), Mapping):
        patterns = choose_by_layer(given, workload)
    recipe, chosen = _recipe(settings, patterns)
    applied = distinct_steps(
        workload,
        recipe,
        chosen,
        settings.steps,
        skip=SkipRules(settings.dense_stem, settings.dense_classifier, frozenset(settings.skip)),
        pregenerate=machine.pregenerates,
    )
    known = provenance_of(machine) if provenance is None else provenance
    return price_workload(applied, settings, known)


def simulate_topology(
    topology: Topology,
    settings: Settings,
    *,
    images: int = 1,
    training: bool = False,
    provenance: dict[str, str] | None = None,
) -> Run:
    """Simulate a topology; the N:M of its lines holds for the weights of the forward pass.

    Raises:
        ValueError: as ``topology_workload``; N:M in the file beside a recipe.
    """
    workload = topology_workload(
        topology, images=images, training=training, optimizer=settings.optimizer
    )
    if not topology.patterns:
        return simulate_workload(workload, settings, provenance=provenance)
    if settings.recipe != "dense":
        raise ValueError(
            f"{topology.name} has a sparsity column, and recipe is {settings.recipe}; "
            "leave one of them out"
        )
    of_layer = {layer.name: layer.pattern for layer in topology.layers}

    def choose(product: Product) -> Pattern:
        return of_layer[product.name] if product.stage is Stage.FF else DENSE

    fixed = dataclasses.replace(
        settings,
        recipe=FROM_WEIGHTS.name,
        pattern=_by_layer(topology.patterns),
        dense_stem=False,
        dense_classifier=False,
    )
    return simulate_workload(workload, fixed, patterns=choose, provenance=provenance)


def _by_layer(patterns: Sequence[Pattern]) -> str:
    """What a result says of its pattern, where layers bring their own."""
    texts = ", ".join(str(pattern) for pattern in patterns)
    return texts if len(patterns) == 1 else f"{texts} by layer"


def price_workload(
    applied: Sequence[tuple[Applied, int]], settings: Settings, provenance: dict[str, str]
) -> Run:
    """Price distinct steps, each as often as it occurs, on the machine of ``settings``."""
    machine = find_machine(settings.machine)
    header = _header([step for step, _ in applied], settings, machine, provenance)
    priced = machine.price(applied, header)
    return Run(priced.result, priced.schedules)


def _header(
    steps: Sequence[Applied],
    settings: Settings,
    machine: PricedMachine,
    provenance: dict[str, str],
) -> Header:
    """What is said of the run; notes of all its kinds of step."""
    workload = steps[0].workload
    notes = [*workload.notes, *(note for step in steps for note in step.notes), *machine.notes]
    dense = {layer: reason for step in steps for layer, reason in step.dense.items()}
    if dense:
        notes.append(summarize_dense(dense))
    padded = max(step.padded_macs for step in steps)
    if padded:
        notes.append(f"{padded} multiply-accumulates of a step are padding")
    return Header(
        weft.__version__,
        workload.model,
        settings.recipe,
        settings.pattern if _has_label(settings) else pattern_label(settings.pattern),
        tuple(dict.fromkeys(notes)),
        provenance,
    )


def _has_label(settings: Settings) -> bool:
    """Layers bring patterns of their own, and the setting is what to call them."""
    return settings.recipe == FROM_WEIGHTS.name and bool(settings.pattern)


def resolve(settings: Settings) -> PricedMachine:
    """Check every setting that needs no model; the machine is returned.

    Raises:
        ValueError: a name that is unknown or a value out of range.
    """
    if not 1 <= settings.steps <= MAX_STEPS:
        raise ValueError(f"steps is {settings.steps}; it must be at least 1, at most {MAX_STEPS}")
    machine = find_machine(settings.machine)
    machine.check()
    if settings.recipe != FROM_WEIGHTS.name:
        _recipe(settings, None)
    return machine


def _recipe(
    settings: Settings, patterns: Callable[[Product], Pattern] | None
) -> tuple[Recipe, Any]:
    if settings.recipe == FROM_WEIGHTS.name:
        if patterns is None:
            raise ValueError("recipe from-weights needs a model whose real weights carry zeros")
        return FROM_WEIGHTS, patterns
    pattern = parse_patterns(settings.pattern)
    one = pattern if isinstance(pattern, Pattern) else None
    pair = None if one is None or one.is_dense else (one.n, one.m)
    recipe = find_recipe(settings.recipe).bind(pair, settings.steps)
    if one is None:
        return recipe, patterns
    ends = (*recipe.at(0).rules, *recipe.at(settings.steps - 1).rules)
    if pair is None and any(rule.pattern is None for rule in ends):
        raise ValueError(f"recipe {recipe.name} needs --pattern N:M with N < M, for example 2:8")
    return recipe, one
