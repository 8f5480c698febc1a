"""Patterns of real weights, against a plain loop over groups."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from weft.mapper.lowering.lower import lower
from weft.mapper.sparsity.pruned import GROUP_SIZES, LayerPattern, layer_patterns
from weft.mapper.tracing.trace import trace
from weft.sim.pattern import DENSE, Pattern


def rows(model: nn.Module, **options: object) -> dict[tuple[str, str], LayerPattern]:
    return {(row.layer, row.axis): row for row in layer_patterns(model, **options)}  # type: ignore[arg-type]


def naive(vectors: list[list[float]], share: float) -> Pattern:
    """Smallest density, then smallest M, by looking at every group of every vector."""
    found: list[tuple[Fraction, int, int]] = []
    for m in GROUP_SIZES:
        if m > len(vectors[0]):
            continue
        groups = [v[i : i + m] for v in vectors for i in range(0, len(v), m)]
        for n in range(1, m):
            fitting = sum(sum(x != 0 for x in group) <= n for group in groups)
            if fitting >= share * len(groups):
                found.append((Fraction(n, m), m, n))
    return Pattern(min(found)[2], min(found)[1]) if found else DENSE


def masked(weight: torch.Tensor, pattern: Pattern, axis: int) -> torch.Tensor:
    """Keep N random of every M along an axis whose length M divides."""
    moved = weight.movedim(axis, -1)
    groups = torch.rand(moved.shape).reshape(*moved.shape[:-1], -1, pattern.m)
    keep = torch.zeros_like(groups).scatter(-1, groups.topk(pattern.n, -1).indices, 1.0)
    return (moved * keep.reshape(moved.shape)).movedim(-1, axis).contiguous()


@settings(max_examples=60, deadline=None)
@given(
    out_channels=st.integers(1, 20),
    in_channels=st.integers(1, 20),
    density=st.floats(0, 1),
    share=st.sampled_from([0.5, 0.9, 1.0]),
    seed=st.integers(0, 1000),
)
def test_linear_equals_a_loop(
    out_channels: int, in_channels: int, density: float, share: float, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(in_channels, out_channels)
    layer.weight.data = torch.where(
        torch.rand(out_channels, in_channels) < density, 1 + layer.weight.data.abs(), 0.0
    )
    found = rows(layer, share=share)
    if (layer.weight == 0).any():
        assert found["", "k"].pattern == naive(layer.weight.tolist(), share)
        assert found["", "o"].pattern == naive(layer.weight.t().tolist(), share)
    else:
        assert found["", "k"].pattern == found["", "o"].pattern == DENSE
    assert all(row.share >= share for row in found.values())


@pytest.mark.parametrize("text", ["1:2", "2:4", "1:4", "2:8", "5:8", "3:16"])
def test_conv_kernels_are_grouped_over_channels(text: str) -> None:
    torch.manual_seed(1)
    pattern = Pattern.parse(text)
    first, second = nn.Conv2d(32, 64, 3), nn.Conv2d(64, 32, 3)
    first.weight.data = masked(first.weight.data, pattern, 1)
    second.weight.data = masked(second.weight.data, pattern, 0)
    found = rows(nn.ModuleDict({"first": first, "second": second}))
    assert found["first", "k"].pattern == found["second", "o"].pattern == pattern
    assert found["first", "o"].pattern != pattern
    assert found["first", "k"].zeros == pytest.approx(1 - pattern.density)


def test_grouped_and_transposed_convolutions_keep_to_their_axes() -> None:
    torch.manual_seed(2)
    pattern = Pattern(2, 4)
    grouped = nn.Conv2d(24, 24, 3, groups=3)
    by_group = grouped.weight.data.reshape(3, 8, 8, 3, 3)
    grouped.weight.data = masked(by_group, pattern, 1).reshape(24, 8, 3, 3)
    transposed = nn.ConvTranspose2d(16, 32, 2)
    transposed.weight.data = masked(transposed.weight.data, pattern, 0)
    found = rows(nn.ModuleDict({"grouped": grouped, "transposed": transposed}))
    assert found["grouped", "o"].pattern == pattern
    assert found["transposed", "k"].pattern == pattern
    assert found["transposed", "o"].pattern != pattern


def test_pruned_parameters_have_the_names_of_the_trace() -> None:
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 8))
    prune.custom_from_mask(model[0], "weight", masked(torch.ones(16, 16), Pattern(2, 8), 1))
    row = rows(model)["0", "k"]
    products = lower(trace(model, torch.randn(4, 16))).products
    assert row.pattern == Pattern(2, 8)
    assert row.parameter in {product.right.parameter for product in products}


def test_parametrized_weights_are_seen_as_used() -> None:
    class Mask(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return weight * torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(4)

    layer = parametrize.register_parametrization(nn.Linear(16, 8), "weight", Mask())
    assert rows(layer)["", "k"].pattern == Pattern(1, 4)
    dense = parametrizations.weight_norm(nn.Linear(16, 8))
    assert all(row.pattern == DENSE for row in layer_patterns(dense))


def test_a_share_below_one_forgives_some_groups() -> None:
    layer = nn.Linear(64, 64)
    layer.weight.data = masked(torch.ones(64, 64), Pattern(2, 8), 1)
    layer.weight.data[0, :8] = 1
    strict, lenient = rows(layer)["", "k"], rows(layer, share=0.99)["", "k"]
    assert strict.pattern.density > 0.25
    assert lenient.pattern == Pattern(2, 8)
    assert lenient.share == pytest.approx(1 - 1 / 512)


def test_shared_weights_count_once_and_embeddings_not_at_all() -> None:
    layer = nn.Linear(8, 8)
    model = nn.ModuleDict({"a": layer, "b": layer, "c": nn.Embedding(4, 8), "d": nn.LayerNorm(8)})
    assert {row.layer for row in layer_patterns(model)} == {"a"}


def test_bad_settings_and_missing_values_are_named() -> None:
    layer = nn.Linear(4, 4)
    with pytest.raises(
        ValueError, match=r"sizes \(3,\) are not possible; allowed: \(2, 4, 8, 16\)"
    ):
        layer_patterns(layer, sizes=(3,))
    with pytest.raises(ValueError, match=r"share 0 is not possible"):
        layer_patterns(layer, share=0)
    with pytest.raises(ValueError, match=r"parameter weight has no values"):
        layer_patterns(nn.Linear(4, 4, device="meta"))
