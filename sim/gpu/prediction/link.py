"""Traffic between GPUs: links, collectives as rings or trees, and what training must send.

A group of GPUs fills nodes of ``node_gpus`` joined by NVLink (or PCIe), the last node with what is
left; nodes are joined by one network port per GPU. NCCL keeps every link busy at once, so a
collective takes as long as its slowest level, plus a latency per step of its algorithm.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from math import ceil, log2
from pathlib import Path

from weft.sim.gpu.prediction.machine import GpuMachine

__all__ = [
    "ALGORITHMS",
    "STRATEGIES",
    "Cluster",
    "Traffic",
    "collective_s",
    "read_cluster",
    "traffic_s",
]

ALGORITHMS = ("ring", "tree")
STRATEGIES = (
    "replicated", "zero1", "zero2", "zero3", "fsdp2", "hsdp", "sharded-gradients", "sharded",
)  # fmt: skip
"""Of data parallelism: "replicated" (DDP); ZeRO 1 to 3 (Rajbhandari et al., arXiv:1910.02054),
"sharded-gradients" and "sharded" the second and third by PyTorch's names, "fsdp2" the third; "hsdp"
shards inside a node and replicates between nodes."""

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
    """``gpus`` GPUs in nodes of ``node_gpus``; rates are per GPU and direction, bytes/s.

    ``efficiency`` is the share of a link's rate that a large collective reaches; a step of a
    collective waits ``link_latency_s`` inside a node and ``network_latency_s`` between two.
    """

    gpus: int
    node_gpus: int
    link_bytes_s: float
    network_bytes_s: float
    algorithm: str = "ring"
    efficiency: float = LINK_EFFICIENCY
    link_latency_s: float = STEP_LATENCY_S["link"]
    network_latency_s: float = STEP_LATENCY_S["network"]

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

    @property
    def fewest(self) -> int:
        """GPUs of the smallest node, whose ports all traffic between nodes must pass."""
        return self.gpus - (self.nodes - 1) * self.node_gpus

    def group(self, ranks: int, stride: int) -> Cluster:
        """``ranks`` GPUs of it, every ``stride``-th."""
        return replace(self, gpus=ranks, node_gpus=max(1, self.node_gpus // stride))


_RANGES: dict[str, tuple[float, float]] = {
    "gpus_per_node": (1, 1024),
    "link_bytes_s": (1e6, 1e14),
    "network_bytes_s": (1e6, 1e14),
    "link_latency_s": (0, 1),
    "network_latency_s": (0, 1),
    "efficiency": (0.01, 1),
}


def read_cluster(path: Path, gpu: GpuMachine, gpus: int) -> Cluster:
    """``gpus`` GPUs wired as a TOML file says: any of ``gpus_per_node``, ``link_bytes_s`` and
    ``network_bytes_s`` (per GPU and direction), ``link_latency_s``, ``network_latency_s``,
    ``efficiency`` and ``algorithm``; the rest as their maker wires them.

    Raises:
        ValueError: the file cannot be read, or a field is unknown or out of range.
    """
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cluster file {path}: {error}") from error
    values: dict[str, float | int | str] = {}
    for name, value in table.items():
        if name == "algorithm":
            values[name] = str(value)
            continue
        if name not in _RANGES:
            known = ", ".join([*_RANGES, "algorithm"])
            raise ValueError(f"cluster file {path}: {name} is not a field; fields are {known}")
        low, high = _RANGES[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high or (name == "gpus_per_node" and value % 1):
            raise ValueError(
                f"cluster file {path}: {name} is {value!r}; it must be {low:g} to {high:g}"
            )
        values["node_gpus" if name == "gpus_per_node" else name] = value
    known_fields = {field.name for field in fields(Cluster)}
    return replace(Cluster.of(gpu, gpus), **{k: v for k, v in values.items() if k in known_fields})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Traffic:
    """Seconds of communication per step, nothing overlapped yet: gathers before use, sums after."""

    forward_gather: float
    backward_gather: float
    reduce: float
    all_reduce: float


def _latency_s(cluster: Cluster, *, tree: bool) -> float:
    """One pass around the ring, or up (or down) the tree; a node is a chain in a tree."""
    inside = min(cluster.gpus, cluster.node_gpus)
    if tree:
        near, far = inside - 1, ceil(log2(cluster.nodes))
        near = ceil(log2(inside)) if cluster.nodes == 1 and inside > 1 else near
    else:
        far = cluster.nodes if cluster.nodes > 1 else 0
        near = max(0, cluster.gpus - 1 - far)
    return near * cluster.link_latency_s + far * cluster.network_latency_s


def collective_s(kind: str, size: float, cluster: Cluster) -> float:
    """Time of ``gather`` or ``reduce`` (each moves ``size`` bytes once) or ``all-reduce`` (twice).

    ``size`` is the whole tensor's. A ring over n GPUs passes (n-1)/n of it over every link and
    through the ports of every node, those of the smallest node being the fewest. A double binary
    tree passes all of it; NCCL has trees for all-reduce only, and rings for the others.

    Raises:
        ValueError: an unknown kind of collective.
    """
    if kind not in ("gather", "reduce", "all-reduce"):
        raise ValueError(f"collective is {kind!r}; it must be gather, reduce or all-reduce")
    if cluster.gpus == 1:
        return 0.0
    tree = cluster.algorithm == "tree" and kind == "all-reduce"
    volume = size * (1.0 if tree else (cluster.gpus - 1) / cluster.gpus) / cluster.efficiency
    seconds = volume / cluster.link_bytes_s if cluster.node_gpus > 1 else 0.0
    if cluster.nodes > 1:
        seconds = max(seconds, volume / (cluster.fewest * cluster.network_bytes_s))
    return (2 if kind == "all-reduce" else 1) * (seconds + _latency_s(cluster, tree=tree))


def traffic_s(
    strategy: str,
    parameters: float,
    cluster: Cluster,
    *,
    parameter_bytes: float = 2.0,
    gradient_bytes: float = 2.0,
    pieces: int = 1,
) -> Traffic:
    """Seconds of communication per step, by when it may overlap with computing.

    "replicated" all-reduces gradients; "zero1" reduces gradients and gathers updated parameters,
    once per step however many micro-batches; "zero2" ("sharded-gradients") reduces every
    micro-batch's; "zero3" ("sharded", "fsdp2") gathers parameters for the forward and again for the
    backward pass, and reduces gradients; "hsdp" does so inside a node and all-reduces what a GPU
    holds between nodes. Each is cut into ``pieces`` of equal size, as frameworks do by layer or
    bucket.

    Raises:
        ValueError: an unknown strategy.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy is {strategy!r}; it must be one of {', '.join(STRATEGIES)}")

    def seconds(kind: str, each: float, group: Cluster = cluster, share: float = 1.0) -> float:
        return pieces * collective_s(kind, share * parameters * each / pieces, group)

    if strategy == "replicated":
        return Traffic(0.0, 0.0, 0.0, seconds("all-reduce", gradient_bytes))
    if strategy == "zero1":
        once = seconds("reduce", gradient_bytes) + seconds("gather", parameter_bytes)
        return Traffic(0.0, 0.0, 0.0, once)
    if strategy == "hsdp":
        inside = min(cluster.gpus, cluster.node_gpus)
        node = replace(cluster, gpus=inside)
        between = replace(cluster, gpus=cluster.nodes, node_gpus=1)
        gather = seconds("gather", parameter_bytes, node)
        return Traffic(
            gather, gather, seconds("reduce", gradient_bytes, node),
            seconds("all-reduce", gradient_bytes, between, 1.0 / inside),
        )  # fmt: skip
    gather, reduce = seconds("gather", parameter_bytes), seconds("reduce", gradient_bytes)
    again = strategy in ("sharded", "zero3", "fsdp2")
    return Traffic(gather, gather if again else 0.0, reduce, 0.0)
