"""One model through the whole way: traced, counted, simulated dense and sparse on two machines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.real_models.case import Case

__all__ = ["MACHINES", "PATTERN", "Row", "check"]

MACHINES = ("sat-vcu1525", "h100-sxm")
PATTERN = "2:8"


@dataclass(frozen=True)
class Row:
    """What came of one model.

    ``error`` is the line of a refusal, or empty. ``macs_equal`` is None where nothing can be
    equal. ``uncosted`` counts the kinds of ops without a cost by machine; ``sparse`` is the share
    of the dense step's products that BDWP makes sparse on SAT.
    """

    name: str
    library: str
    error: str = ""
    macs: int = 0
    macs_counted: int | None = None
    uncosted: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    sparse: float = 0.0
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def macs_equal(self) -> bool | None:
        return None if self.macs_counted is None else self.macs == self.macs_counted

    @property
    def holds(self) -> bool:
        """Whether it ran to the end, with every product counted and every op priced on the GPU."""
        return not self.error and self.macs_equal is not False and not self.uncosted["h100-sxm"]


def check(case: Case) -> Row:
    """Run one case; whatever it raises becomes its row's error."""
    start = time.process_time()
    try:
        row = _run(case)
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        row = Row(case.name, case.library, error=f"{type(error).__name__}: {text}")
    from dataclasses import replace

    return replace(row, seconds=time.process_time() - start)


def _run(case: Case) -> Row:
    from weft.mapper.lowering.lower import lower
    from weft.mapper.tracing.trace import trace
    from weft.simulation import Settings, simulate_workload

    workload = lower(trace(case.build))
    uncosted: dict[str, tuple[str, ...]] = {}
    sparse = 0.0
    for machine in MACHINES:
        dense = simulate_workload(workload, Settings().on(machine))
        pruned = simulate_workload(workload, Settings(recipe="bdwp", pattern=PATTERN).on(machine))
        assert dense.time_s > 0
        assert pruned.time_s > 0
        uncosted[machine] = tuple(sorted({op.op for op in dense.result.uncosted}))
        if machine == MACHINES[0]:
            rows = [row for row in pruned.result.layers if row.m]
            sparse = sum(row.pattern not in ("", "dense") for row in rows) / max(1, len(rows))
    return Row(
        case.name,
        case.library,
        macs=workload.macs_dense,
        macs_counted=sum(counted(case.twin or case.build, case.counter).values())
        if case.counter
        else None,
        uncosted=uncosted,
        sparse=sparse,
        notes=workload.notes,
    )


def counted(build: Any, device: str) -> dict[str, int]:
    """PyTorch's own count of the step, corrected for grouped convolutions."""
    import warnings

    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from tests.mapper.counting import call, grouped_backward
    from weft.mapper.tracing.loss import default_loss

    mapping = {torch.ops.aten.convolution_backward: grouped_backward}
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    with warnings.catch_warnings(), torch.device(device):
        warnings.simplefilter("ignore")
        with torch.backends.mkldnn.flags(enabled=False):
            model, inputs, *given = build()
            model = getattr(model, "_orig_mod", model)
            with counter, sdpa_kernel(SDPBackend.MATH):
                output = call(model, inputs)
                loss = given[0](output) if given else default_loss(output)
                assert loss is not None
                loss.backward()
    total = counter.get_flop_counts().get("Global", {})
    return {str(op): count // 2 for op, count in total.items() if count}
