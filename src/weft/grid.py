"""A grid of runs, several at a time, each in a process that others cannot harm."""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product as cross
from pathlib import Path
from typing import TYPE_CHECKING, cast

from weft.faults import is_users_mistake
from weft.mapper.pricing.settings import MachineOptions, SatSettings, takes
from weft.mapper.sparsity.patterns import pattern_label
from weft.mapper.topology.table import is_topology, read_topology
from weft.provenance import provenance, this_command
from weft.sim.results import RunResult
from weft.simulation import Settings, resolve, simulate_topology, simulate_workload
from weft.subject import find_subject

if TYPE_CHECKING:
    from weft.sim.workload import Workload

__all__ = ["Grid", "Job", "run_grid"]


@dataclass(frozen=True)
class Job:
    """One run of a grid. ``folder`` is where it goes, if anywhere.

    Of a topology, ``training`` adds the backward pass and the update.
    """

    model: str
    batch: int | None
    input_shape: tuple[int, ...] | None
    settings: Settings
    folder: Path | None = None
    training: bool = False

    @property
    def name(self) -> str:
        """Model, recipe, pattern and machine, as a file name."""
        settings = self.settings
        pattern = pattern_label(settings.pattern) if settings.pattern else ""
        machine = settings.machine
        memory = machine.memory if isinstance(machine, SatSettings) else ""
        model = Path(self.model).stem if is_topology(self.model) else self.model
        parts = (model, settings.recipe, pattern, machine.hardware, memory)
        return "-".join(_safe(part) for part in parts if part)


def _safe(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "+-._=," else "_" for letter in text)


@dataclass(frozen=True)
class Grid:
    """What ``compare`` runs: every combination."""

    models: tuple[str, ...]
    recipes: tuple[str, ...]
    patterns: tuple[str, ...]
    hardware: tuple[str, ...]
    memories: tuple[str, ...] = ("",)
    options: MachineOptions = field(default_factory=MachineOptions)

    def settings(self, base: Settings) -> Iterator[Settings]:
        """Settings of one model's runs, dense first on each machine."""
        for machine, memory in cross(self.hardware, self.memories):
            seen: set[tuple[str, str]] = set()
            here = base.on(machine, **self._options(machine, memory))
            for recipe, pattern in cross(("dense", *self.recipes), self.patterns):
                key = (recipe, "" if recipe == "dense" else pattern)
                if key not in seen:
                    seen.add(key)
                    yield dataclasses.replace(here, recipe=recipe, pattern=key[1])

    def _options(self, machine: str, memory: str) -> MachineOptions:
        """What ``machine`` is told; an option of one kind of machine leaves the others alone."""
        some = {option for name in self.hardware for option in self.options if takes(name, option)}
        options = {
            name: value
            for name, value in self.options.items()
            if takes(machine, name) or name not in some
        }
        return cast("MachineOptions", {**options, "memory": memory} if memory else options)

    def jobs(
        self,
        base: Settings,
        batch: int | None,
        input_shape: tuple[int, ...] | None,
        out: Path | None,
        *,
        training: bool = False,
    ) -> list[Job]:
        """One job per run, model by model; each has a folder of its own below ``out``."""
        jobs = [
            Job(model, batch, input_shape, settings, training=training)
            for model in self.models
            for settings in self.settings(base)
        ]
        return jobs if out is None else _with_folders(jobs, out)


def _with_folders(jobs: Sequence[Job], out: Path) -> list[Job]:
    taken: dict[str, int] = {}
    placed: list[Job] = []
    for job in jobs:
        count = taken[job.name] = taken.get(job.name, 0) + 1
        name = job.name if count == 1 else f"{job.name}-{count}"
        placed.append(dataclasses.replace(job, folder=out / name))
    return placed


def run_grid(jobs: Sequence[Job], workers: int = 0) -> list[RunResult]:
    """Run all jobs, ``workers`` at a time (0: as many as there are cores), in their order.

    A job's folder is written as soon as it is done, so an interruption loses only what runs.

    Raises:
        ValueError: what the first job to fail says.
    """
    at_once = min(workers or os.cpu_count() or 1, -(-len(jobs) // 2))
    for job in jobs:
        _check_model(job)  # a wrong name is told at once
    with _progress(len(jobs)) as advance:
        if at_once <= 1:
            return [advance(job, _run(job)) for job in jobs]
        return _run_in_pool(jobs, at_once, advance)


def _check_model(job: Job) -> None:
    if not is_topology(job.model):
        if job.training:
            raise ValueError("--training is for topology files; models are always trained")
        find_subject(job.model, job.batch, job.input_shape)
        return
    if job.input_shape is not None:
        raise ValueError("--input is for zoo models; a topology holds its own sizes")
    read_topology(Path(job.model))


_Advance = Callable[[Job, RunResult], RunResult]


def _run_in_pool(jobs: Sequence[Job], workers: int, advance: _Advance) -> list[RunResult]:
    # A fresh interpreter each: forking one that has started threads may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_worker)
    try:
        futures = {pool.submit(_run_in_worker, job): job for job in jobs}
        done: dict[Future[RunResult | _Refusal], RunResult] = {}
        for future in as_completed(futures):
            result = future.result()
            if isinstance(result, _Refusal):
                pool.shutdown(cancel_futures=True)  # what runs already may end
                raise ValueError(result.message)
            done[future] = advance(futures[future], result)
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process was killed, perhaps for want of memory; --jobs 1 needs least"
        ) from error
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        children = multiprocessing.active_children()
        for child in children:
            child.terminate()
        for child in children:
            child.join()
        raise
    pool.shutdown()
    return [done[future] for future in futures]


@dataclass(frozen=True)
class _Refusal:
    """A user's mistake that a worker found; its traceback would not tell the parent whose it is."""

    message: str


class _Ended(BaseException):
    """The parent wants the worker to end."""


def _end(*_: object) -> None:
    raise _Ended


_GRACE_S = 5.0
"""What a worker without a parent gets to unwind its run, so that nothing half-written stays."""


def _begin_worker() -> None:
    """Ctrl-C reaches all processes of a terminal; only the parent's order, or death, counts here.

    A worker that waits for work would not see the parent die: its siblings hold the queue open.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(1)


def _run_in_worker(job: Job) -> RunResult | _Refusal:
    signal.signal(signal.SIGTERM, _end)
    try:
        return _run(job)
    except _Ended:
        os._exit(1)  # the run is unwound; the pool would take this for one more failed job
    except (ValueError, OSError) as error:
        if not is_users_mistake(error):
            raise
        return _Refusal(str(error))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(job: Job) -> RunResult:
    settings = job.settings
    known = provenance(resolve(settings), this_command())
    if is_topology(job.model):
        run = simulate_topology(
            read_topology(Path(job.model)),
            settings,
            images=1 if job.batch is None else job.batch,
            training=job.training,
            provenance=known,
        )
    else:
        workload = _trace(
            job.model, job.batch, job.input_shape, settings.optimizer, settings.selected_share
        )
        run = simulate_workload(workload, settings, provenance=known)
    if job.folder is not None:
        run.report(job.folder)
    return run.result


@functools.lru_cache(maxsize=1)
def _trace(
    model: str,
    batch: int | None,
    input_shape: tuple[int, ...] | None,
    optimizer: str,
    selected_share: float,
) -> Workload:
    return find_subject(model, batch, input_shape).workload(optimizer, selected_share)


@contextmanager
def _progress(total: int) -> Iterator[_Advance]:
    """A bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda _, result: result
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)

        def advance(job: Job, result: RunResult) -> RunResult:
            bar.update(task, advance=1, description=job.name)
            return result

        yield advance
