"""Traffic between GPUs: links, collectives as rings or trees, and what training must send.

A group of GPUs is nodes of up to ``node_gpus`` joined by NVLink (or PCIe); nodes are joined by one
network port per GPU. NCCL keeps every link busy at once, so a collective takes as long as its
slowest level, plus a latency per step of its algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

from weft.sim.gpu.prediction.machine import GpuMachine

__all__ = ["ALGORITHMS", "STRATEGIES", "Cluster", "Traffic", "collective_s", "traffic_s"]

ALGORITHMS = ("ring", "tree")
STRATEGIES = ("replicated", "sharded-gradients", "sharded")

LINK_EFFICIENCY = 0.8
"""Bus bandwidth of large NCCL collectives over the link's own: 235 to 240 of 300 GB/s on A100,
about 360 of 450 GB/s on H100 (nccl-tests, as published with NVIDIA's DGX systems)."""

NETWORK_PORT_BYTES_S = {
    "ampere": 25e9,
    "hopper": 50e9,
    "blackwell": 50e9,
}
"""InfiniBand per GPU and direction: HDR 200 Gb/s on DGX A100, NDR 400 Gb/s on DGX H100 and B200
(NVIDIA DGX datasheets)."""

STEP_LATENCY_S = {"link": 2.5e-6, "network": 10e-6}
"""Latency of a step inside a node and between nodes, assumed: NCCL's tuning tables give 0.6 to 7 us
by protocol inside a node and 3 to 18 us across InfiniBand (nccl/src/graph/tuning.cc)."""


@dataclass(frozen=True)
class Cluster:
    """``gpus`` GPUs in nodes of ``node_gpus``; rates are per GPU and direction, bytes/s."""

    gpus: int
    node_gpus: int
    link_bytes_s: float
    network_bytes_s: float
    algorithm: str = "ring"

    def __post_init__(self) -> None:
        if self.gpus < 1 or self.node_gpus < 1:
            raise ValueError(
                f"gpus is {self.gpus}, node_gpus is {self.node_gpus}; both must be at least 1"
            )
        if self.algorithm not in ALGORITHMS:
            raise ValueError(
                f"algorithm is {self.algorithm!r}; it must be one of {', '.join(ALGORITHMS)}"
            )

    @classmethod
    def of(
        cls, gpu: GpuMachine, gpus: int, *, node_gpus: int = 8, algorithm: str = "ring"
    ) -> Cluster:
        """GPUs as their maker wires them: NVLink or else PCIe, one network port per GPU."""
        link = gpu.nvlink_bytes_s or gpu.pcie_bytes_s
        network = NETWORK_PORT_BYTES_S.get(gpu.architecture, 12.5e9)
        return cls(gpus, node_gpus, link, network, algorithm)

    @property
    def nodes(self) -> int:
        return ceil(self.gpus / self.node_gpus)


@dataclass(frozen=True)
class Traffic:
    """Seconds of communication per step, nothing overlapped yet: gathers before use, sums after."""

    forward_gather: float
    backward_gather: float
    reduce: float
    all_reduce: float


def _latency_s(cluster: Cluster) -> float:
    inside = min(cluster.gpus, cluster.node_gpus)
    if cluster.algorithm == "tree":
        near, far = ceil(log2(inside)) if inside > 1 else 0, ceil(log2(cluster.nodes))
    else:
        near, far = (inside - 1) * cluster.nodes, cluster.nodes - 1
    return near * STEP_LATENCY_S["link"] + far * STEP_LATENCY_S["network"]


def collective_s(kind: str, size: float, cluster: Cluster) -> float:
    """Time of ``gather`` or ``reduce`` (each moves ``size`` bytes once) or ``all-reduce`` (twice).

    ``size`` is the whole tensor's. A ring passes (n-1)/n of it through every GPU's link; a tree
    passes all of it. Between nodes a node's ports share the (nodes-1)/nodes that it lacks.

    Raises:
        ValueError: an unknown kind of collective.
    """
    if kind not in ("gather", "reduce", "all-reduce"):
        raise ValueError(f"collective is {kind!r}; it must be gather, reduce or all-reduce")
    if cluster.gpus == 1:
        return 0.0
    inside = min(cluster.gpus, cluster.node_gpus)
    ring = cluster.algorithm == "ring"
    near = (cluster.gpus - 1) / cluster.gpus if ring else 1.0
    far = (cluster.nodes - 1) / cluster.nodes if ring else min(1.0, cluster.nodes - 1.0)
    seconds = max(
        near * size / (cluster.link_bytes_s * LINK_EFFICIENCY) if inside > 1 else 0.0,
        far * size / (inside * cluster.network_bytes_s * LINK_EFFICIENCY),
    )
    return (2 if kind == "all-reduce" else 1) * (seconds + _latency_s(cluster))


def traffic_s(
    strategy: str,
    parameters: int,
    cluster: Cluster,
    *,
    parameter_bytes: float = 2.0,
    gradient_bytes: float = 2.0,
    pieces: int = 1,
) -> Traffic:
    """Seconds of communication per step, by when it may overlap with computing.

    "replicated" all-reduces gradients; "sharded-gradients" (ZeRO 2) reduces gradients and gathers
    the updated parameters once; "sharded" (ZeRO 3, FSDP) gathers parameters for the forward and
    again for the backward pass, and reduces gradients. Each is cut into ``pieces`` of equal size,
    as frameworks do by layer or bucket.

    Raises:
        ValueError: an unknown strategy.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy is {strategy!r}; it must be one of {', '.join(STRATEGIES)}")

    def seconds(kind: str, each: float) -> float:
        return pieces * collective_s(kind, parameters * each / pieces, cluster)

    if strategy == "replicated":
        return Traffic(0.0, 0.0, 0.0, seconds("all-reduce", gradient_bytes))
    gather, reduce = seconds("gather", parameter_bytes), seconds("reduce", gradient_bytes)
    return Traffic(gather, gather if strategy == "sharded" else 0.0, reduce, 0.0)
