"""What no lane program does leaves the step of a machine of lanes, and is listed as not costed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from weft.mapper.scheduling.fuse import Item
from weft.sim.workload import Stage, Uncosted, VectorOp, Workload

__all__ = ["without_unbuilt"]


def without_unbuilt(workload: Workload) -> Workload:
    """The step without its unbuilt ops: who waits for one waits for what it waits for."""
    left_out: Counter[tuple[str, str, Stage, int]] = Counter()
    items: list[Item] = []
    stands_for: list[tuple[int, ...]] = []
    for item in workload.items:
        inputs = tuple(dict.fromkeys(new for old in item.inputs for new in stands_for[old]))
        if isinstance(item, VectorOp) and item.unbuilt:
            left_out[item.name, item.op, item.stage, item.elements] += 1
            stands_for.append(inputs)
        else:
            stands_for.append((len(items),))
            items.append(replace(item, inputs=inputs))
    if not left_out:
        return workload
    found = tuple(Uncosted(*which, count) for which, count in left_out.items())
    return replace(workload, items=tuple(items), uncosted=(*workload.uncosted, *found))
