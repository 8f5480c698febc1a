"""The choice across products: best of all, legal, and worth what it says."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mapper.products import SMALL, product
from tests.mapper.test_sparsify import workload
from weft.mapper.planning.overlap import interleave
from weft.mapper.planning.pairing import best_pairs, feasible_pairs, in_order
from weft.mapper.planning.plan import make_plan
from weft.mapper.scheduling.emit import Gate, emit_stream
from weft.mapper.scheduling.fuse import Group, Item, group_items
from weft.mapper.scheduling.schedule import Scheduler
from weft.mapper.scheduling.switches import Switches
from weft.mapper.scheduling.tiling import Fused
from weft.mapper.sparsity.sparsify import SkipRules, apply_recipe
from weft.models.recipes import RECIPES
from weft.sim.energy.actions import ActionCounter
from weft.sim.engine import Engine
from weft.sim.machine import Machine
from weft.sim.pattern import Pattern
from weft.sim.program import Instruction, Loop, Matmul, Node, Queue, Vector
from weft.sim.workload import Product, Stage, UpdateOp, VectorOp, Workload

QUIET = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
SAVINGS = st.dictionaries(
    st.tuples(st.integers(0, 5), st.integers(6, 11)), st.integers(-50, 100), max_size=14
)


def best_by_trying(savings: dict[tuple[int, int], int]) -> int:
    """The most that any set of pairs saves, all sets tried."""
    if not savings:
        return 0
    (first, value), *rest = savings.items()
    without = best_by_trying(dict(rest))
    apart = {p: v for p, v in rest if p[0] != first[0] and p[1] != first[1]}
    return max(without, value + best_by_trying(apart))


@given(SAVINGS)
@QUIET
def test_no_other_set_of_pairs_saves_more(savings: dict[tuple[int, int], int]) -> None:
    found = best_pairs(list(savings), savings.__getitem__)
    assert found.saved_cycles == best_by_trying(savings)
    assert found.saved_cycles == sum(savings[pair] for pair in found.pairs)
    assert found.greedy_cycles <= found.saved_cycles
    places = [place for pair in found.pairs for place in pair]
    assert len(places) == len(set(places))


@st.composite
def steps(draw: st.DrawFn) -> Workload:
    """Products, vector ops and updates that read anything before them."""
    items: list[Item] = []
    for place in range(draw(st.integers(2, 9))):
        sources = st.sets(st.integers(0, place - 1), max_size=2) if place else st.just(set[int]())
        inputs = tuple(sorted(draw(sources)))
        kind = draw(st.sampled_from(["product", "vector", "update"]))
        if kind == "product":
            sizes = draw(st.tuples(*[st.integers(1, 70)] * 3))
            made = product(draw(st.sampled_from([Stage.FF, Stage.BP, Stage.WU])), *sizes)
            items.append(dataclasses.replace(made, name=f"p{place}", inputs=inputs))
        elif kind == "vector":
            size = draw(st.integers(1, 6000))
            items.append(
                VectorOp(f"v{place}", Stage.BP, "norm", size, size, size, 2, inputs=inputs)
            )
        else:
            items.append(
                UpdateOp(f"u{place}", f"w{place}", draw(st.integers(1, 3000)), inputs=inputs)
            )
    return Workload("any", 1, tuple(items))


def positions(groups: Sequence[Group]) -> dict[int, int]:
    return {member: place for place, group in enumerate(groups) for member in group.members}


@given(steps(), st.randoms(use_true_random=False))
@QUIET
def test_any_set_of_feasible_pairs_keeps_every_dependency(step: Workload, random: object) -> None:
    groups = group_items(step)
    pairs = feasible_pairs(step.items, groups)
    savings = {pair: hash((pair, str(random))) % 100 for pair in pairs}
    chosen = best_pairs(pairs, savings.__getitem__).pairs
    blocks = in_order(groups, chosen)
    place = positions([block.whole for block in blocks])
    assert sorted(place) == list(range(len(step.items)))
    partner = {member for block in blocks if block.hidden for member in block.whole.members}
    for reader, item in enumerate(step.items):
        for source in item.inputs:
            assert place[source] <= place[reader]
            same_group = positions(groups)[source] == positions(groups)[reader]
            assert place[source] < place[reader] or same_group or reader not in partner


@given(steps(), st.sets(st.integers(0, 8)))
@QUIET
def test_pairs_among_some_places_are_those_of_all_that_lie_there(
    step: Workload, among: set[int]
) -> None:
    groups = group_items(step)
    everywhere = feasible_pairs(step.items, groups)
    assert feasible_pairs(step.items, groups, among) == [
        pair for pair in everywhere if among.issuperset(pair)
    ]


def counted(body: Sequence[Node], machine: Machine) -> object:
    return ActionCounter(machine).body(tuple(body))


@given(
    st.tuples(*[st.integers(1, 150)] * 3),
    st.integers(1, 20_000),
    st.integers(8, 2000),
)
@QUIET
def test_interleaving_loses_and_adds_nothing(
    sizes: tuple[int, int, int], elements: int, chunk: int
) -> None:
    body = Scheduler(SMALL).body(product(Stage.FF, *sizes), Fused(), Gate())
    stream = emit_stream(
        elements, min(chunk, elements), 4 * elements, 2 * elements,
        lambda size: Vector(size, 3), Queue.WUVE, Gate(),
    )  # fmt: skip
    both = interleave(body, stream, SMALL.array)
    assert counted(both, SMALL) == counted((*body, *stream), SMALL)
    assert in_queues(both) == in_queues(body) | in_queues(stream)


def in_queues(body: Sequence[Node]) -> Counter[tuple[Queue, object]]:
    found: Counter[tuple[Queue, object]] = Counter()
    for node in body:
        if isinstance(node, Loop):
            inner = in_queues(node.body)
            found.update({key: count * node.count for key, count in inner.items()})
        else:
            found[node.queue, node.work] += 1
    return found


def flat(body: Sequence[Node]) -> list[Instruction]:
    found: list[Instruction] = []
    for node in body:
        if isinstance(node, Loop):
            found += flat(node.body) * node.count
        else:
            found.append(node)
    return found


def test_chunks_are_dealt_out_evenly() -> None:
    body = Scheduler(SMALL).body(product(Stage.FF, 150, 40, 150), Fused(), Gate())
    stream = emit_stream(4000, 100, 8000, 8000, lambda size: Vector(size, 1), Queue.WUVE, Gate())
    both = flat(interleave(body, stream, SMALL.array))
    seen = [isinstance(i.work, Matmul) for i in both if isinstance(i.work, Matmul | Vector)]
    half = seen[: len(seen) // 2]
    assert 0.35 < half.count(False) / seen.count(False) < 0.65


@given(steps())
@QUIET
def test_the_paired_program_is_never_slower(step: Workload) -> None:
    apart = make_plan(step, Scheduler(SMALL, Switches(overlap=False)))
    together = make_plan(step, Scheduler(SMALL))
    engine = Engine(SMALL)
    assert engine.run(together.program).cycles <= engine.run(apart.program).cycles
    done = ActionCounter(SMALL).body(together.program.body)
    before = ActionCounter(SMALL).body(apart.program.body)
    assert (done.macs, done.dram_bytes, done.wuve_ops) == (
        before.macs,
        before.dram_bytes,
        before.wuve_ops,
    )


def norms_between(count: int) -> Workload:
    """A chain whose vector ops a weight gradient each could hide."""
    items: list[Item] = []
    last: tuple[int, ...] = ()
    for layer in range(count):
        back = dataclasses.replace(product(Stage.BP, 256, 64, 64), name=f"l{layer}", inputs=last)
        items.append(back)
        source = len(items) - 1
        items.append(
            dataclasses.replace(product(Stage.WU, 64, 256, 64), name=f"l{layer}", inputs=last)
        )
        items.append(
            VectorOp(f"n{layer}", Stage.BP, "norm", 16384, 16384, 16384, 2, inputs=(source,))
        )
        last = (len(items) - 1,)
    return Workload("chain", 256, tuple(items))


def test_weight_gradients_hide_the_norms_of_a_chain() -> None:
    plan = make_plan(norms_between(6), Scheduler(SMALL))
    assert plan.pairing is not None
    hidden = [part for part in plan.segments if part.hidden]
    assert len(hidden) == len(plan.pairing.pairs) >= 5
    for part in hidden:
        (head,) = part.items
        assert isinstance(head, Product)
        assert head.stage is Stage.WU
    apart = make_plan(norms_between(6), Scheduler(SMALL, Switches(overlap=False)))
    engine = Engine(SMALL)
    saved = engine.run(apart.program).cycles - engine.run(plan.program).cycles
    # Small segments also overlap at their ends, which pairs alone cannot show.
    assert 0.6 * plan.pairing.saved_cycles <= saved <= plan.pairing.saved_cycles


def test_a_segment_knows_whose_each_instruction_is() -> None:
    plan = make_plan(norms_between(3), Scheduler(SMALL))
    slices = Engine(SMALL).timeline(plan.program, 0, len(plan.segments), 100_000)
    for part in slices:
        if isinstance(part.instruction.work, Vector):
            assert part.segment.startswith("n")
        if isinstance(part.instruction.work, Matmul):
            assert part.segment.startswith("l")


@pytest.mark.parametrize("recipe", ["bdwp", "sdgp", "bimask", "fst"])
def test_recipes_work_is_done_once(recipe: str) -> None:
    applied = apply_recipe(
        workload(), RECIPES[recipe], Pattern(2, 8), skip=SkipRules(stem=False, classifier=False)
    )
    plan = make_plan(applied.workload, Scheduler(SMALL))
    done = [item for part in plan.segments for item in (*part.items, *part.hidden)]
    assert Counter(map(id, done)) == Counter(map(id, applied.workload.items))


@pytest.mark.parametrize("pattern", ["1:4", "2:4", "2:8", "2:16"])
@pytest.mark.parametrize("recipe", ["bdwp", "srste", "sdwp"])
def test_layouts_at_their_use_save_no_more_than_told(recipe: str, pattern: str) -> None:
    skip = SkipRules(stem=False, classifier=False)
    steps = [
        apply_recipe(workload(), RECIPES[recipe], Pattern.parse(pattern), skip=skip, pregenerate=on)
        for on in (True, False)
    ]
    plans = [make_plan(step.workload, Scheduler(SMALL)) for step in steps]
    ahead, at_use = (Engine(SMALL).run(plan.program).cycles for plan in plans)
    told = plans[0].pairing
    assert at_use >= ahead - (told.open_cycles if told else 0)
