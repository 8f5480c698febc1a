"""Parameters and gradients on their way between GPUs, beside the passes that hide them."""

from __future__ import annotations

from dataclasses import dataclass

from weft.sim.gpu.prediction.link import Cluster, traffic_s
from weft.sim.gpu.prediction.machine import GpuMachine
from weft.sim.workload import Workload

__all__ = ["COLLECTIVE_SMS", "Exchange", "exchange"]

COLLECTIVE_SMS = {"hopper": 24, "ampere": 24, "blackwell": 24}
"""Thread blocks, one to an SM, of a large NCCL collective inside a node: 24 channels on nodes of
eight A100 or H100 ("Channel 23/0", NVIDIA/nccl issue 1259, vllm-project/vllm issue 10453)."""

OTHER_SMS = 8


@dataclass(frozen=True)
class Exchange:
    """Seconds of all traffic, and those that the step is longer for it."""

    total_s: float
    exposed_s: float
    notes: tuple[str, ...] = ()


def exchange(
    workload: Workload, cluster: Cluster, strategy: str, *, forward_s: float, backward_s: float,
    parameter_bytes: float, gradient_bytes: float, accumulate: int, gpu: GpuMachine,
    layers: int = 0,
) -> Exchange:  # fmt: skip
    """Traffic of a step whose passes compute for ``forward_s`` and ``backward_s``.

    It overlaps with its pass but for the first and last of its pieces, and takes SMs from what it
    overlaps with. ``layers`` pieces, 0: one for every four weights.
    """
    names = {p.right.parameter for p in workload.products if p.right.parameter}
    pieces = layers or max(1, len(names) // 4)
    traffic = traffic_s(
        strategy, workload.parameters, cluster, parameter_bytes=parameter_bytes,
        gradient_bytes=gradient_bytes, pieces=pieces,
    )  # fmt: skip
    late = traffic.backward_gather + traffic.reduce
    total = traffic.forward_gather + late
    hidden = min(traffic.forward_gather, forward_s) + min(late, backward_s)
    ends = (traffic.forward_gather + traffic.reduce) / pieces
    waits = min(total, max(total - hidden, ends))
    left = max(0.0, backward_s - late)  # of the last micro-batch's backward pass
    summed = traffic.all_reduce
    waits += max(summed - left, summed / pieces) / accumulate
    total += summed / accumulate
    taken = COLLECTIVE_SMS.get(gpu.architecture, OTHER_SMS)
    slowed = (total - waits) * taken / gpu.sms
    note = (
        f"{strategy} over {cluster.gpus} GPUs in {pieces} pieces, {cluster.algorithm} collectives, "
        f"overlapped with their pass but for the first and last piece; {taken} of {gpu.sms} SMs "
        f"do them, which costs {slowed:.3g} s"
    )
    return Exchange(total, waits + slowed, (note,))
