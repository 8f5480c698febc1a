"""What sparse training costs on this machine's processor, in CPU seconds of one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from weft.models.sparse.groups import group_mask
from weft.models.sparse.wrap import sparsify
from weft.models.zoo import ZOO, build

__all__ = ["measure_masks", "measure_wrapped_step"]


def measure_masks(model: str = "resnet50", n: int = 2, m: int = 8) -> dict[str, Any]:
    """CPU seconds to make the masks of all of a model's matrices along both axes; best of five.

    Runs on one thread from the call on.
    """
    torch.set_num_threads(1)
    weights = [p.detach() for p in ZOO[model].module().parameters() if p.dim() > 1]

    def masks() -> None:
        for weight in weights:
            group_mask(weight.reshape(weight.shape[0], weight.shape[1], -1), n, m)
            group_mask(weight.reshape(1, weight.shape[0], -1), n, m)

    return {
        "model": model,
        "pattern": f"{n}:{m}",
        "elements": 2 * sum(weight.numel() for weight in weights),
        "masks_cpu_s": min(_cpu_s(masks) for _ in range(5)),
    }


def measure_wrapped_step(
    model: str = "resnet18", recipe: str = "bdwp", pattern: str = "2:8", batch: int = 8
) -> dict[str, Any]:
    """CPU seconds of a wrapped training step over those of the dense one, step beside step.

    The ratio is the median of five pairs; a larger batch makes it smaller, since masks cost the
    same whatever the batch. Runs on one thread from the call on.
    """
    torch.set_num_threads(1)
    dense, wrapped = _step(model, batch, "", pattern), _step(model, batch, recipe, pattern)
    pairs = [(_cpu_s(dense), _cpu_s(wrapped)) for _ in range(5)]
    return {
        "model": model,
        "recipe": f"{recipe} {pattern}",
        "batch": batch,
        "dense_cpu_s": statistics.median(pair[0] for pair in pairs),
        "wrapped_cpu_s": statistics.median(pair[1] for pair in pairs),
        "ratio": statistics.median(pair[1] / pair[0] for pair in pairs),
    }


def _step(name: str, batch: int, recipe: str, pattern: str) -> Callable[[], None]:
    """A training step with SGD and momentum, run once to warm up."""
    torch.manual_seed(0)
    model, inputs, loss_fn = build(name, batch=batch)
    if recipe:
        sparsify(model, recipe, pattern)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        loss_fn(model(inputs)).backward()
        optimizer.step()

    step()
    return step


def _cpu_s(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
