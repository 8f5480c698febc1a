"""The whole way: model to trace to workload to program to result."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.sim.results import RunResult, WeightPattern

if TYPE_CHECKING:
    from weft.mapper.planning.plan import Plan
    from weft.mapper.pricing.gpu import GpuOptions
    from weft.mapper.pricing.sat import Header
    from weft.mapper.scheduling.switches import Switches
    from weft.mapper.sparsity.pruned import LayerPattern
    from weft.mapper.sparsity.sparsify import Applied, Recipe, SkipRules
    from weft.reports.figures import RunFigures
    from weft.sim.engine import Engine, Slice
    from weft.sim.machine import Machine
    from weft.sim.pattern import Pattern
    from weft.sim.workload import Product, Workload

__all__ = [
    "Run",
    "Settings",
    "price_workload",
    "resolve",
    "simulate",
    "simulate_workload",
    "trace_workload",
]


@dataclass(frozen=True)
class Settings:
    """How to simulate. ``without`` is a comma-separated list of features to turn off.

    ``pattern`` is N:M, or a JSON object of layer (name or shell pattern) to N:M.
    ``fusion`` ("eager" or "compile"), ``dtype``, ``gpus``, ``strategy`` and ``constants`` (a file
    of ``weft calibrate``) are for GPUs: see ``weft.mapper.pricing.gpu.GpuOptions``. ``memory`` is
    for SAT machines: "simple" or a DRAM of ``weft.sim.dram`` ("": as the machine file says).
    """

    recipe: str = "dense"
    pattern: str = ""
    hardware: str = "sat-vcu1525"
    steps: int = 1
    optimizer: str = "sgd-momentum"
    without: str = ""
    skip: tuple[str, ...] = ()
    dense_stem: bool = True
    dense_classifier: bool = True
    fusion: str = "eager"
    memory: str = ""
    dtype: str = "auto"
    gpus: int = 1
    strategy: str = "replicated"
    constants: str = ""


@dataclass(frozen=True)
class Run:
    """A simulated run: its result, and the plan behind it for looking closer.

    Everything of ``RunResult`` is here too; ``cycles``, ``time_s`` and ``energy_j`` are the
    totals.
    """

    result: RunResult
    plans: tuple[Plan, ...] = field(default=(), repr=False)
    counts: tuple[int, ...] = field(default=(), repr=False)
    engine: Engine | None = field(default=None, repr=False)
    without: str = field(default="", repr=False)

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

        if self.engine is None or not self.plans:
            if window:
                raise ValueError(f"window {window!r}: a GPU run has no timeline")
            return []
        wanted = parse_window(window) if window else None
        return window_slices(self.engine, self.plans[0].program, wanted, limit)

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
        from weft.explanation import explain

        return explain(self)

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
) -> Workload:
    """Trace one training step of a module or builder and lower it."""
    from weft.mapper.lowering.lower import lower
    from weft.mapper.tracing.trace import trace

    return lower(trace(model, example_inputs, loss_fn, optimizer=optimizer, name=name))


def simulate(
    model: Any,
    example_inputs: Any = None,
    loss_fn: Callable[..., Any] | None = None,
    *,
    recipe: str = "dense",
    pattern: str | Mapping[str, str] = "",
    hardware: str = "sat-vcu1525",
    name: str | None = None,
    **more: Any,
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
        more: fields of ``Settings``.

    Raises:
        ValueError: a setting that is unknown or does not fit; the message is one line.
    """
    text = pattern if isinstance(pattern, str) else json.dumps(dict(pattern))
    settings = Settings(recipe=recipe, pattern=text, hardware=hardware, **more)
    workload = trace_workload(
        model, example_inputs, loss_fn, optimizer=settings.optimizer, name=name
    )
    if recipe != "from-weights":
        return simulate_workload(workload, settings)
    found = _weight_patterns(model)
    run = simulate_workload(workload, settings, patterns=_chooser(found))
    weights = tuple(
        WeightPattern(row.layer, row.axis, str(row.pattern), row.share, row.zeros) for row in found
    )
    return dataclasses.replace(run, result=dataclasses.replace(run.result, weights=weights))


def simulate_workload(
    workload: Workload,
    settings: Settings,
    *,
    patterns: Callable[[Product], Pattern] | None = None,
    provenance: dict[str, str] | None = None,
) -> Run:
    """Simulate a traced workload on a SAT-like machine or a GPU."""
    from weft.mapper.scheduling.switches import parse_without
    from weft.provenance import provenance as provenance_of

    resolve(settings)
    switches = parse_without(settings.without)
    applied = _distinct_steps(workload, settings, switches, patterns)
    known = provenance_of(settings.hardware) if provenance is None else provenance
    return price_workload(applied, settings, known)


def price_workload(
    applied: Sequence[tuple[Applied, int]], settings: Settings, provenance: dict[str, str]
) -> Run:
    """Price distinct steps, each as often as it occurs, on the machine of ``settings``."""
    from weft.mapper.planning.plan import make_plan
    from weft.mapper.pricing.sat import price_steps
    from weft.mapper.scheduling.schedule import Scheduler
    from weft.mapper.scheduling.switches import parse_without
    from weft.sim.engine import Engine
    from weft.sim.gpu.prediction.machine import is_gpu
    from weft.sim.machine import with_memory

    header = _header([step for step, _ in applied], settings, provenance)
    if is_gpu(settings.hardware):
        from weft.mapper.pricing.gpu import price_on_gpu

        steps = [(step.workload, count) for step, count in applied]
        return Run(price_on_gpu(steps, settings.hardware, header, _gpu_options(settings)))
    machine = sat_machine(settings)
    switches = parse_without(settings.without)
    # Schedules are made ahead of time for the simple memory, whatever then runs them.
    scheduler, engine = Scheduler(with_memory(machine, "simple"), switches), Engine(machine)
    plans = [
        (dataclasses.replace(make_plan(step.workload, scheduler), machine=machine), count)
        for step, count in applied
    ]
    added = [note for plan, _ in plans for note in plan.workload.notes if note not in header.notes]
    notes = (*header.notes, *dict.fromkeys(added), *_overlap_notes(plans))
    header = dataclasses.replace(header, notes=notes)
    result = price_steps(plans, engine, header)
    counts = tuple(count for _, count in plans)
    return Run(result, tuple(plan for plan, _ in plans), counts, engine, settings.without)


def _overlap_notes(plans: Sequence[tuple[Plan, int]]) -> list[str]:
    """What the choice across products is worth, kind of step by kind of step."""
    return [
        f"{len(chosen.pairs)} streams run in the shadow of products (best of {chosen.candidates:,} "
        f"pairs), which saves {chosen.saved_cycles:,} cycles of a step; the nearest product for "
        f"each in turn would save {chosen.greedy_cycles:,}; fusing less or making layouts at their "
        f"use could save at most {chosen.open_cycles:,} more"
        for plan, _ in plans
        if (chosen := plan.pairing) is not None
    ]


def _header(steps: Sequence[Applied], settings: Settings, provenance: dict[str, str]) -> Header:
    """What is said of the run; notes of all its kinds of step."""
    import weft
    from weft.mapper.pricing.sat import Header
    from weft.mapper.sparsity.patterns import pattern_label
    from weft.mapper.sparsity.sparsify import summarize_dense

    workload = steps[0].workload
    notes = [*workload.notes, *(note for step in steps for note in step.notes)]
    if settings.memory not in ("", "simple"):
        notes.append(f"memory {settings.memory} in detail; schedules are those for the simple one")
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
        pattern_label(settings.pattern),
        tuple(dict.fromkeys(notes)),
        provenance,
    )


def sat_machine(settings: Settings) -> Machine:
    """The SAT machine of ``settings``, with the memory that they ask for."""
    from weft.sim.machine import load_machine, with_memory

    machine = load_machine(settings.hardware)
    return with_memory(machine, settings.memory) if settings.memory else machine


def resolve(settings: Settings) -> None:
    """Check every setting that needs no model.

    Raises:
        ValueError: a name that is unknown or a value out of range.
    """
    from weft.mapper.scheduling.switches import parse_without
    from weft.sim.gpu.prediction.machine import is_gpu

    if settings.steps < 1:
        raise ValueError(f"steps is {settings.steps}; it must be at least 1")
    if settings.fusion not in ("eager", "compile"):
        raise ValueError(f"fusion is {settings.fusion!r}; allowed: eager, compile")
    if is_gpu(settings.hardware):
        _check_gpu(settings)
    else:
        _check_sat(settings)
    parse_without(settings.without)
    if settings.recipe != "from-weights":
        _recipe(settings, None)


def _check_gpu(settings: Settings) -> None:
    from weft.sim.gpu.prediction.link import STRATEGIES
    from weft.sim.gpu.prediction.machine import load_gpu

    if settings.memory:
        raise ValueError(f"memory {settings.memory!r} is for SAT machines, not {settings.hardware}")
    if settings.gpus < 1:
        raise ValueError(f"gpus is {settings.gpus}; it must be at least 1")
    if settings.strategy not in STRATEGIES:
        allowed = ", ".join(STRATEGIES)
        raise ValueError(f"strategy is {settings.strategy!r}; allowed: {allowed}")
    if settings.dtype != "auto":
        load_gpu(settings.hardware).rate_flop_clk_sm(settings.dtype)
    _gpu_options(settings)


def _gpu_options(settings: Settings) -> GpuOptions:
    from weft.mapper.pricing.gpu import GpuOptions

    return GpuOptions.read(
        settings.fusion, settings.dtype, settings.gpus, settings.strategy, settings.constants
    )


def _check_sat(settings: Settings) -> None:
    plain = Settings()
    for name in ("dtype", "gpus", "strategy", "constants"):
        value = getattr(settings, name)
        if value != getattr(plain, name):
            raise ValueError(f"{name} {value!r} is for GPUs, not {settings.hardware}")
    sat_machine(settings)


def _distinct_steps(
    workload: Workload,
    settings: Settings,
    switches: Switches,
    patterns: Callable[[Product], Pattern] | None,
) -> list[tuple[Applied, int]]:
    """The workloads of the run's steps, equal ones once with their count."""
    from weft.mapper.sparsity.patterns import choose_by_layer, parse_patterns
    from weft.mapper.sparsity.sparsify import SkipRules, apply_recipe

    given = parse_patterns(settings.pattern)
    if isinstance(given, Mapping):
        patterns = choose_by_layer(given, workload)
    recipe, chosen = _recipe(settings, patterns)
    skip = SkipRules(settings.dense_stem, settings.dense_classifier, frozenset(settings.skip))
    _check_skip(workload, skip)
    found: dict[Workload, tuple[Applied, int]] = {}
    for step, count in _step_kinds(recipe, settings.steps):
        applied = apply_recipe(
            workload,
            recipe,
            chosen,
            step=step,
            skip=skip,
            pregenerate=switches.pregeneration,
        )
        known = found.get(applied.workload)
        found[applied.workload] = (applied, count + (known[1] if known else 0))
    return list(found.values())


def _step_kinds(recipe: Recipe, steps: int) -> Iterable[tuple[int, int]]:
    """(a step of each kind, how many there are): steps with the same rules and extra work."""
    kinds: dict[object, tuple[int, int]] = {}
    for step in range(steps):
        phase = recipe.at(step)
        extras = tuple(extra.kind for extra in phase.extras if step % extra.every == 0)
        key = (tuple(phase.rules), bool(phase.unstructured), extras, phase.fade > 0)
        first, count = kinds.get(key, (step, 0))
        kinds[key] = (first, count + 1)
    return kinds.values()


def _check_skip(workload: Workload, skip: SkipRules) -> None:
    names = {product.name for product in workload.products}
    for name in sorted(skip.names - names):
        raise ValueError(f"skip: no layer is called {name!r}; known: {_some(names)}")


def _some(names: Iterable[str], limit: int = 8) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more


def _recipe(
    settings: Settings, patterns: Callable[[Product], Pattern] | None
) -> tuple[Recipe, Any]:
    from weft.mapper.sparsity.patterns import parse_patterns
    from weft.models.recipes import find_recipe
    from weft.sim.pattern import Pattern

    if settings.recipe == "from-weights":
        if patterns is None:
            raise ValueError("recipe from-weights needs a model whose real weights carry zeros")
        return _FROM_WEIGHTS, patterns
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


@dataclass(frozen=True)
class _WeightRule:
    stage: str
    operand: str = "weight"
    pattern: tuple[int, int] | None = None


@dataclass(frozen=True)
class _FixedPhase:
    rules: tuple[_WeightRule, ...]
    masks: tuple[Any, ...] = ()
    extras: tuple[Any, ...] = ()
    unstructured: tuple[Any, ...] = ()
    fade: float = 0.0


@dataclass(frozen=True)
class _FromWeights:
    """A fixed mask: what the weights show in either direction; only their packing is work."""

    name: str = "from-weights"

    def at(self, step: int) -> _FixedPhase:
        return _FixedPhase((_WeightRule("ff"), _WeightRule("bp")))


_FROM_WEIGHTS = _FromWeights()


def _weight_patterns(model: Any) -> tuple[LayerPattern, ...]:
    """What the zeros of a module's real weights show.

    Raises:
        ValueError: a builder instead of a module, or a module without a zero pattern.
    """
    from torch import nn

    from weft.mapper.sparsity.pruned import layer_patterns

    if not isinstance(model, nn.Module):
        raise ValueError("recipe from-weights needs a module with real weights, not a builder")
    found = layer_patterns(model)
    if all(row.pattern.is_dense for row in found):
        raise ValueError("recipe from-weights: no weight of the model is N:M along any axis")
    return found


def _chooser(found: tuple[LayerPattern, ...]) -> Callable[[Product], Pattern]:
    """Pattern of each product from those of the weights; the same layer's may differ by axis."""
    from weft.sim.pattern import DENSE
    from weft.sim.workload import Stage

    patterns = {(row.parameter, row.axis): row.pattern for row in found}

    def choose(product: Product) -> Pattern:
        axis = "k" if product.stage is Stage.FF else "o"
        return patterns.get((product.right.parameter, axis), DENSE)

    return choose
