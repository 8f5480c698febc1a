"""Layouts over many GPUs: collectives, pipelines, shards, memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.sim.gpu.parallel.layout import SCHEDULES, Layout, nearest_divisors
from weft.sim.gpu.parallel.price import best_layout, simulate_layout
from weft.sim.gpu.parallel.schedule import StageTimes, makespan, orders
from weft.sim.gpu.parallel.shard import share_of
from weft.sim.gpu.prediction.link import STRATEGIES, Cluster, collective_s, read_cluster
from weft.sim.gpu.prediction.machine import load_gpu
from weft.sim.gpu.prediction.step import simulate_step
from weft.sim.gpu.published.shapes import TransformerShape, transformer

SHAPE = TransformerShape("small", 8, 1024, 8, 4096, 32000, causal=True)
WORKLOAD = transformer(SHAPE, 8, 512)
PLAIN = Cluster(8, 8, 50e9, 50e9, efficiency=1.0, link_latency_s=0.0, network_latency_s=0.0)


def test_an_all_reduce_moves_its_known_volume() -> None:
    assert collective_s("all-reduce", 100e6, PLAIN) == pytest.approx(3.5e-3)
    tree = replace(PLAIN, algorithm="tree")
    assert collective_s("all-reduce", 100e6, tree) == pytest.approx(4.0e-3)
    assert collective_s("gather", 100e6, tree) == pytest.approx(1.75e-3)


@pytest.mark.parametrize(("gpus", "fewest"), [(9, 1), (17, 1), (16, 8), (12, 4), (8, 8)])
def test_the_smallest_nodes_ports_carry_everything(gpus: int, fewest: int) -> None:
    cluster = replace(PLAIN, gpus=gpus, link_bytes_s=1e12)
    assert cluster.fewest == fewest
    between = 1e9 * (gpus - 1) / gpus / (fewest * 50e9) if gpus > 8 else 1e9 * 7 / 8 / 1e12
    assert collective_s("gather", 1e9, cluster) == pytest.approx(between)


def ring_by_hand(gpus: int, size: float, cluster: Cluster) -> float:
    """A ring all-gather stepped: in each of n-1 steps every GPU sends 1/n to its neighbour."""
    piece, seconds = size / gpus, 0.0
    for _ in range(gpus - 1):
        seconds += piece / cluster.link_bytes_s
    return seconds


@given(st.integers(2, 64), st.floats(1e3, 1e10))
@settings(max_examples=50, deadline=None)
def test_a_ring_inside_a_node_agrees_with_its_steps(gpus: int, size: float) -> None:
    cluster = replace(PLAIN, gpus=gpus, node_gpus=64)
    assert collective_s("gather", size, cluster) == pytest.approx(ring_by_hand(gpus, size, cluster))


def test_cluster_files_are_read_and_bad_fields_named(tmp_path: Path) -> None:
    gpu, path = load_gpu("h100-sxm"), tmp_path / "c.toml"
    path.write_text('gpus_per_node = 4\nlink_bytes_s = 1e11\nalgorithm = "tree"\n')
    found = read_cluster(path, gpu, 6)
    assert (found.gpus, found.node_gpus, found.link_bytes_s, found.algorithm) == (
        6,
        4,
        1e11,
        "tree",
    )
    for text, message in (
        ("speed = 3", "speed is not a field; fields are gpus_per_node, link_bytes_s"),
        ("efficiency = 2", "efficiency is 2; it must be 0.01 to 1"),
        ('algorithm = "star"', "algorithm is 'star'; it must be one of ring, tree"),
        ("[", "cluster file"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_cluster(path, gpu, 6)


EVEN = StageTimes(1.0, 1.0, 1.0)


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("micros", [8, 16, 40])
def test_bubbles_are_those_of_the_papers(ranks: int, micros: int) -> None:
    work, fill = 3.0 * micros, ranks - 1
    times = [EVEN] * ranks
    assert makespan("gpipe", times, ranks, micros) == pytest.approx(work + 3.0 * fill)
    assert makespan("1f1b", times, ranks, micros) == pytest.approx(work + 3.0 * fill)
    halves = [StageTimes(0.5, 0.5, 0.5)] * (2 * ranks)
    found = makespan("interleaved", halves, ranks, micros, 2)
    assert found == pytest.approx(work + 1.5 * fill)
    assert makespan("zero-bubble", times, ranks, micros) == pytest.approx(work + fill)


def stepped(queues: list[list[tuple[str, int]]], durations: dict[str, int], send: int) -> int:
    """A pipeline clock by clock, one chunk per rank: what :func:`makespan` must agree with."""
    ranks, now, done = len(queues), 0, {}
    at, until = [0] * ranks, [0] * ranks
    while any(at[r] < len(queues[r]) for r in range(ranks)):
        for rank in range(ranks):
            while at[rank] < len(queues[rank]) and until[rank] <= now:
                kind, micro = queues[rank][at[rank]]
                other = rank - 1 if kind == "F" else rank + 1
                if kind == "F" and rank == 0:
                    arrives = 0
                elif kind == "B" and rank == ranks - 1:
                    arrives = done.get(("F", micro, rank), 1 << 60)
                elif kind == "W":
                    arrives = done.get(("B", micro, rank), 1 << 60)
                else:
                    arrives = done.get((kind, micro, other), 1 << 60) + send
                if arrives > now:
                    break
                until[rank] = now + durations[kind]
                done[kind, micro, rank] = until[rank]
                at[rank] += 1
        now += 1
    return max(until)


@given(
    st.sampled_from(["gpipe", "1f1b", "zero-bubble"]), st.integers(1, 5), st.integers(1, 9),
    st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(0, 4),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_a_makespan_agrees_with_stepping(
    schedule: str, ranks: int, micros: int, forward: int, backward: int, weights: int, send: int
) -> None:
    queues = [[(o.kind, o.micro) for o in q] for q in orders(schedule, ranks, micros)]
    split = schedule == "zero-bubble"
    durations = {"F": forward, "B": backward if split else backward + weights, "W": weights}
    times = [StageTimes(forward, backward, weights, send)] * ranks
    assert makespan(schedule, times, ranks, micros) == stepped(queues, durations, send)


@given(st.sampled_from(SCHEDULES), st.sampled_from([1, 2, 4]), st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_every_rank_does_everything_once(schedule: str, ranks: int, groups: int) -> None:
    virtual = 2 if schedule == "interleaved" else 1
    for queue in orders(schedule, ranks, groups * ranks, virtual):
        kinds = 3 if schedule == "zero-bubble" else 2
        assert len(queue) == len(set(queue)) == kinds * groups * ranks * virtual


@given(
    st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 8]),
)  # fmt: skip
@settings(max_examples=20, deadline=None)
def test_shares_do_all_the_work_together(tensor: int, context: int, micros: int) -> None:
    layout = Layout(64, tensor, 1, context)
    share = share_of(WORKLOAD, layout, micros)
    together = share.workload.macs_dense * tensor * context * micros
    assert together == pytest.approx(WORKLOAD.macs_dense, rel=0.02)
    assert share.count == 8
    if tensor > 1:
        assert len(share.sums) == 2 * 8 * 2 + 1
        assert len(share.gathers) == 2 * 8 * 2 + 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_data_ranks_alone_cost_the_step_and_its_traffic(strategy: str) -> None:
    alone = simulate_step(WORKLOAD, "h100-sxm")
    found = simulate_layout(WORKLOAD, "h100-sxm", Layout(16, strategy=strategy))
    assert found.run.time_s > alone.time_s - alone.parts_s["optimizer"]
    assert found.run.parts_s["products"] == pytest.approx(alone.parts_s["products"])
    assert sum(found.run.parts_s.values()) == pytest.approx(found.run.time_s)
    assert found.run.samples == 16 * WORKLOAD.batch


def test_sharding_saves_memory_in_the_order_of_its_levels() -> None:
    held = [
        simulate_layout(WORKLOAD, "h100-sxm", Layout(8, strategy=strategy)).memory.total
        for strategy in ("replicated", "zero1", "zero2", "zero3")
    ]
    assert held == sorted(held, reverse=True)
    full = simulate_layout(WORKLOAD, "h100-sxm", Layout(8, checkpoint="full")).memory
    assert full.activations < held[0] - 1e9


def test_a_pipeline_waits_less_with_more_micro_batches_and_chunks() -> None:
    def bubble(micro: int, **more: object) -> float:
        layout = Layout(8, pipeline=4, micro_batch=micro, **more)  # type: ignore[arg-type]
        run = simulate_layout(WORKLOAD, "h100-sxm", layout).run
        return run.parts_s["pipeline_bubble"] / run.time_s

    assert bubble(1) < bubble(2) < bubble(8)
    assert bubble(1, schedule="interleaved", virtual=2) < bubble(1)
    assert bubble(1, schedule="zero-bubble") < bubble(1)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"tensor": 3}, "tensor 3 does not divide gpus 64; nearest that do: 2 or 4"),
        ({"tensor": 16}, "tensor 16 does not divide attention heads 8; nearest that do: 8"),
        ({"pipeline": 16}, "pipeline 16 does not divide layers 8; nearest that do: 8"),
        ({"micro_batch": 3}, "micro-batch 3 does not divide batch 8; nearest that do: 2 or 4"),
        ({"expert": 4}, "expert 4: small has no experts to share"),
        ({"virtual": 2}, "virtual 2 needs schedule interleaved"),
        ({"tensor": 0}, "tensor is 0; it must be at least 1"),
        ({"strategy": "zero9"}, "strategy is 'zero9'; it must be one of replicated, zero1"),
    ],
)
def test_layouts_that_do_not_divide_are_one_line(layout: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate_layout(WORKLOAD, "h100-sxm", Layout(64, **layout))  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused_with_its_cause() -> None:
    with pytest.raises(ValueError, match=r"does not fit: a GPU of this layout holds .* GB \(activ"):
        simulate_layout(transformer(SHAPE, 512, 2048), "h100-sxm", Layout(8))


def test_tuning_finds_one_that_fits_and_is_no_slower() -> None:
    big = transformer(replace(SHAPE, layers=16, width=2048, heads=16, hidden=8192), 16, 2048)
    found = best_layout(big, "a100-sxm-40", Layout(16, strategy="zero1"))
    assert found.memory.total <= 40e9
    given_layout = simulate_layout(big, "a100-sxm-40", Layout(16, 8, strategy="zero1",
                                                             checkpoint="full"))  # fmt: skip
    assert found.run.samples_per_s >= given_layout.run.samples_per_s


@given(st.integers(1, 2000), st.integers(1, 64))
def test_nearest_divisors_divide(number: int, wanted: int) -> None:
    assert all(number % d == 0 for d in nearest_divisors(number, wanted))
