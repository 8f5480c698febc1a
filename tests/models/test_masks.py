"""Masks are exact: N of every group, ties to the lower index, transposable ones optimal."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linprog

from weft.models.sparse import group_mask, top_mask, transposable_mask, unbiased_groups
from weft.models.sparse.bidirectional import inside_mask, search_permutation
from weft.models.sparse.combinations import combinations_left, drop_combinations
from weft.models.sparse.connectivity import drop_and_grow, drop_share
from weft.models.sparse.soft import soft_threshold
from weft.models.sparse.transposable import best_blocks, greedy_blocks
from weft.models.sparse.unbiased import keep_probabilities

PATTERNS = st.integers(1, 16).flatmap(lambda m: st.tuples(st.integers(1, m), st.just(m)))
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 5))
FEW = st.sampled_from([-2.0, -1.0, -0.0, 0.0, 1.0, 2.0, 0.5])


def tensors(values: st.SearchStrategy[float]) -> st.SearchStrategy[torch.Tensor]:
    shapes = SHAPES.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=values))
    return shapes.map(torch.from_numpy)


def sorter(x: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """Compare and replace, one element at a time: what is strictly smaller gives way."""
    mask = torch.zeros_like(x, dtype=torch.bool)
    outer, channels, inner = x.shape
    for i in range(outer):
        for j in range(inner):
            for start in range(0, channels, m):
                group = [float(v) for v in x[i, start : start + m, j].abs()]
                order = sorted(range(len(group)), key=lambda at: (-group[at], at))
                for at in order[:n]:
                    mask[i, start + at, j] = True
    return mask


@settings(max_examples=150, deadline=None)
@given(tensors(FEW), PATTERNS)
def test_ties_go_to_the_lower_index(x: torch.Tensor, pattern: tuple[int, int]) -> None:
    assert torch.equal(group_mask(x, *pattern), sorter(x, *pattern))


@settings(max_examples=100, deadline=None)
@given(tensors(st.floats(width=32, allow_nan=False)), PATTERNS)
def test_the_largest_stay_whatever_their_values(x: torch.Tensor, pattern: tuple[int, int]) -> None:
    assert torch.equal(group_mask(x, *pattern), sorter(x, *pattern))


@settings(max_examples=100, deadline=None)
@given(tensors(st.floats(width=32)), PATTERNS)
def test_every_whole_group_keeps_exactly_n_even_of_nan(
    x: torch.Tensor, pattern: tuple[int, int]
) -> None:
    n, m = pattern
    mask = group_mask(x, n, m)
    whole = x.shape[1] // m * m
    groups = mask[:, :whole].reshape(x.shape[0], -1, m, x.shape[2])
    assert bool((groups.sum(2) == n).all())
    assert bool((mask[:, whole:].sum(1) == min(n, x.shape[1] - whole)).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    x = torch.randn(3, 32, 7).to(dtype)
    assert torch.equal(group_mask(x, 2, 8), sorter(x.double(), 2, 8))


def test_large_tensors_are_the_same_in_pieces() -> None:
    x = torch.randint(-50, 50, (700, 64, 9)).float()
    whole = group_mask(x, 2, 8)
    for part in (slice(0, 10), slice(345, 360), slice(690, 700)):
        assert torch.equal(whole[part], sorter(x[part], 2, 8))


@given(tensors(FEW), st.integers(0, 200))
@settings(max_examples=60, deadline=None)
def test_top_keeps_the_count_and_the_first_of_equals(x: torch.Tensor, count: int) -> None:
    mask = top_mask(x, count)
    order = sorted(range(x.numel()), key=lambda at: (-abs(float(x.flatten()[at])), at))
    expected = torch.zeros(x.numel(), dtype=torch.bool)
    expected[order[:count]] = True
    assert torch.equal(mask.flatten(), expected)


def optimum(block: torch.Tensor, n: int) -> float:
    """By linear programming, whose corners are whole numbers here."""
    m = len(block)
    rows = np.kron(np.eye(m), np.ones(m))
    columns = np.kron(np.ones(m), np.eye(m))
    solved = linprog(
        -block.numpy().ravel(),
        A_eq=np.vstack([rows, columns]),
        b_eq=np.full(2 * m, n),
        bounds=(0, 1),
    )
    return -float(solved.fun)


@pytest.mark.parametrize("pattern", [(1, 4), (2, 4), (2, 8), (3, 8), (4, 8), (6, 8), (4, 16)])
@pytest.mark.parametrize("ties", [False, True])
def test_transposable_masks_are_the_best_there_are(pattern: tuple[int, int], ties: bool) -> None:
    n, m = pattern
    torch.manual_seed(m)
    blocks = torch.randint(0, 4, (20, m, m)).double() if ties else torch.rand(20, m, m).double()
    best, greedy = best_blocks(blocks, n), greedy_blocks(blocks, n)
    for mask in (best, greedy):
        assert bool((mask.sum(1) == n).all())
        assert bool((mask.sum(2) == n).all())
    for block, mask, rough in zip(blocks, best, greedy, strict=True):
        value = optimum(block, n)
        assert float((block * mask).sum()) == pytest.approx(value, rel=1e-9)
        assert float((block * rough).sum()) >= value / 2


def test_transposable_masks_are_minimum_cost_flows() -> None:
    torch.manual_seed(3)
    block = torch.randint(0, 1000, (8, 8))
    graph = nx.DiGraph()
    for i in range(8):
        graph.add_node(("row", i), demand=-2)
        graph.add_node(("column", i), demand=2)
    for i in range(8):
        for j in range(8):
            graph.add_edge(("row", i), ("column", j), capacity=1, weight=-int(block[i, j]))
    mask = transposable_mask(block.double().unsqueeze(0), 2, 8)[0]
    assert -nx.cost_of_flow(graph, nx.min_cost_flow(graph)) == int((block * mask).sum())


@given(st.integers(1, 30), st.integers(1, 30), PATTERNS)
@settings(max_examples=40, deadline=None)
def test_ragged_transposable_masks_never_exceed_n(
    rows: int, columns: int, pattern: tuple[int, int]
) -> None:
    n, m = pattern
    mask = transposable_mask(torch.randn(1, rows, columns), n, m)[0].double()
    padded = torch.nn.functional.pad(mask, (0, -columns % m, 0, -rows % m))
    assert float(padded.reshape(-1, m, padded.shape[1]).sum(1).max()) <= n
    assert float(padded.reshape(len(padded), -1, m).sum(2).max()) <= n


def test_unbiased_pruning_has_the_mean_and_the_pattern() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 10, 3)
    x[0, :4] = 0
    draws = torch.stack([unbiased_groups(x, 2, 4) for _ in range(3000)])
    error = (draws.mean(0) - x) / (draws.std(0) / 3000**0.5).clamp(min=1e-5)
    assert float(error.abs().max()) < 4.5
    assert int((draws[:, :, :8].reshape(3000, 2, 2, 4, 3) != 0).sum(3).max()) == 2


@given(tensors(st.floats(0, 100, width=32)), PATTERNS)
@settings(max_examples=60, deadline=None)
def test_keep_probabilities_sum_to_n(x: torch.Tensor, pattern: tuple[int, int]) -> None:
    n = pattern[0]
    p = keep_probabilities(x.double(), n)
    nonzero = (x > 0).sum(1)
    assert bool((p <= 1).all())
    wanted = torch.minimum(nonzero, torch.tensor(n)).double()
    torch.testing.assert_close(p.sum(1), wanted, atol=1e-6, rtol=1e-6)


def test_backward_mask_lies_inside_and_on_the_permutation() -> None:
    torch.manual_seed(0)
    weight = torch.randn(1, 32, 48)
    forward = group_mask(weight.view(32, 48, 1), 2, 8).view(1, 32, 48)
    start = torch.arange(32)
    order = search_permutation(
        weight, forward, 2, 8, current=start, candidates=20, generator=torch.Generator()
    )
    mask = inside_mask(weight, forward, order, 2, 8)
    assert not bool((mask & ~forward).any())
    assert int(mask[:, order].reshape(1, 4, 8, 48).sum(2).max()) <= 2
    kept = [
        float((weight.abs() * inside_mask(weight, forward, o, 2, 8)).sum()) for o in (start, order)
    ]
    assert kept[1] > kept[0]


def test_soft_threshold_is_continuous_and_keeps_n() -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 16, 3, dtype=torch.float64)
    soft = soft_threshold(weight, 2, 4)
    assert bool(((soft != 0).reshape(4, 4, 4, 3).sum(2) == 2).all())
    near = soft_threshold(weight + 1e-9, 2, 4)
    assert float((near - soft).abs().max()) < 1e-8


def test_combinations_leave_on_a_cubic_and_the_best_stay() -> None:
    assert [combinations_left(28, t) for t in (0, 0.5, 1, 2)] == [28, 4, 1, 1]
    scores = torch.tensor([[0.0, 3.0, 1.0, 2.0]])
    left = drop_combinations(scores, torch.ones(1, 6, dtype=torch.bool), 1, 2, 4)
    # (1, 3) is the fifth of the pairs in order.
    assert left.nonzero().tolist() == [[0, 4]]


def test_connectivity_drops_small_and_grows_where_asked() -> None:
    weight = torch.tensor([1.0, 0.1, 3.0, 0.0, 0.0, 0.0])
    mask = torch.tensor([True, True, True, False, False, False])
    growth = torch.tensor([9.0, 0.0, 9.0, 1.0, 5.0, 2.0])
    new = drop_and_grow(weight, mask, growth, 0.34)
    assert new.tolist() == [True, False, True, False, True, False]
    assert drop_share(0.3, 0, 100) == pytest.approx(0.3)
    assert drop_share(0.3, 50, 100) == pytest.approx(0.15)
    assert drop_share(0.3, 100, 100) == pytest.approx(0)
