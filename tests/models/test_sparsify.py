"""Wrapped models train as usual: any optimizer, autocast, compile, copies, saved states."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from weft.models.recipes import RECIPES
from weft.models.sparse import bake, group_mask, sparsifier_of, sparsify
from weft.models.sparse.products import Geometry, Pruning, sparse_convolution, sparse_linear


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=2, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 16, 1, padding="same", padding_mode="reflect"),
        nn.Flatten(),
        nn.LazyLinear(32),
        nn.ReLU(),
        nn.Linear(32, 5),
    )


def made(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = net()
    model(torch.randn(2, 3, 8, 8))
    return model


X, Y = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 5


def loss_of(model: nn.Module) -> torch.Tensor:
    return nn.functional.cross_entropy(model(X), Y)


def train(model: nn.Module, steps: int, optimizer: torch.optim.Optimizer | None = None) -> float:
    made_here = optimizer or torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loss = torch.zeros(())
    for _ in range(steps):
        made_here.zero_grad()
        loss = loss_of(model)
        loss.backward()
        made_here.step()
    return loss.item()


@pytest.mark.parametrize("inner", [(7, 24), (3, 5, 24)])
@pytest.mark.parametrize("biased", [True, False])
def test_a_linear_product_without_sparsity_has_pytorchs_gradients(
    inner: tuple[int, ...], biased: bool
) -> None:
    x = torch.randn(inner, dtype=torch.float64, requires_grad=True)
    w = torch.randn(9, 24, dtype=torch.float64, requires_grad=True)
    b = torch.randn(9, dtype=torch.float64, requires_grad=True) if biased else None
    mine = sparse_linear(x, w, b, w.detach(), w.detach(), Pruning())
    theirs = nn.functional.linear(x, w, b)
    torch.testing.assert_close(mine, theirs)
    inputs = [t for t in (x, w, b) if t is not None]
    up = torch.randn_like(theirs)
    for one, other in zip(
        torch.autograd.grad(mine, inputs, up), torch.autograd.grad(theirs, inputs, up), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_a_convolution_without_sparsity_has_pytorchs_gradients() -> None:
    x = torch.randn(2, 8, 9, 7, dtype=torch.float64, requires_grad=True)
    w = torch.randn(6, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    b = torch.randn(6, dtype=torch.float64, requires_grad=True)
    geometry = Geometry((2, 1), (1, 2), (1, 2), 2)
    mine = sparse_convolution(x, w, b, w.detach(), w.detach(), geometry, Pruning())
    theirs = nn.functional.conv2d(x, w, b, (2, 1), (1, 2), (1, 2), 2)
    up = torch.randn_like(theirs)
    for one, other in zip(
        torch.autograd.grad(mine, (x, w, b), up),
        torch.autograd.grad(theirs, (x, w, b), up),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_weights_get_the_gradient_of_the_masked_product_straight_through() -> None:
    x, w = torch.randn(5, 16), torch.randn(16, 16, requires_grad=True)
    forward = torch.where(group_mask(w.detach().unsqueeze(2), 2, 8).squeeze(2), w.detach(), 0.0)
    backward = torch.where(group_mask(w.detach().unsqueeze(0), 2, 8).squeeze(0), w.detach(), 0.0)
    x.requires_grad_()
    y = sparse_linear(x, w, None, forward, backward, Pruning())
    torch.testing.assert_close(y, x @ forward.T)
    up = torch.randn_like(y)
    dx, dw = torch.autograd.grad(y, (x, w), up)
    torch.testing.assert_close(dx, up @ backward)
    torch.testing.assert_close(dw, up.T @ x.detach())


def test_dense_recipe_changes_nothing() -> None:
    plain, wrapped = made(), sparsify(made(), "dense")
    assert train(plain, 5) == pytest.approx(train(wrapped, 5), rel=1e-5)


def test_names_and_ancestry_stay() -> None:
    plain, model = made(), made()
    wrapped = sparsify(model, "bdwp", "2:8")
    assert wrapped is model
    assert list(wrapped.state_dict()) == list(plain.state_dict())
    assert isinstance(model[2], nn.Conv2d)  # pyright: ignore[reportIndexIssue]
    assert set(sparsifier_of(model).dense) == {"0", "9"}
    assert set(sparsifier_of(model).layers) == {"2", "5", "7"}


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.2),
    "adamw": lambda p: torch.optim.AdamW(p, lr=3e-3),
    "adamw-fused": lambda p: torch.optim.AdamW(p, lr=3e-3, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.02),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_any_optimizer_moves_the_schedule_and_trains(kind: str) -> None:
    model = sparsify(made(), "bdwp", "2:8")
    first = loss_of(model).item()
    last = train(model, 30, OPTIMIZERS[kind](model.parameters()))
    assert last < 0.7 * first
    assert sparsifier_of(model).now == 30


def test_lbfgs_counts_one_step_for_one_closure() -> None:
    model = sparsify(made(), "bdwp", "2:8")
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    assert sparsifier_of(model).now == 1


def test_a_foreign_optimizer_calls_before_and_after() -> None:
    model = sparsify(made(), "srste:decay=0.5", "2:8")
    sparsifier = sparsifier_of(model)
    layer: Any = sparsifier.layers["7"]
    loss_of(model).backward()
    plain = layer.weight.grad.clone()
    dropped = ~layer.get_buffer("mask_k")
    sparsifier.before_update()
    torch.testing.assert_close(layer.weight.grad, plain + 0.5 * dropped * layer.weight)
    sparsifier.after_update()
    assert sparsifier.now == 1


def test_weights_changed_by_hand_get_new_masks() -> None:
    model = sparsify(made(), "bdwp", "2:8")
    layer: Any = sparsifier_of(model).layers["7"]
    with torch.no_grad():
        layer.weight.copy_(torch.randn_like(layer.weight))
    model(X)
    expected = group_mask(layer.weight.detach().unsqueeze(2), 2, 8).squeeze(2)
    assert torch.equal(layer.get_buffer("mask_k"), expected)


def test_two_optimizers_count_one_step_together() -> None:
    model = sparsify(made(), "bdwp", "2:8")
    weights = [p for n, p in model.named_parameters() if n.endswith("weight")]
    biases = [p for n, p in model.named_parameters() if n.endswith("bias")]
    optimizers = [torch.optim.SGD(part, lr=0.01) for part in (weights, biases)]
    loss_of(model).backward()
    for optimizer in optimizers:
        optimizer.step()
    assert sparsifier_of(model).now == 1


@pytest.mark.parametrize("recipe", ["bdwp", "sdgp", "fst", "sste", "swat"])
def test_trains_under_autocast(recipe: str) -> None:
    model = sparsify(made(), recipe, "2:8", steps=100)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    losses: list[float] = []
    for _ in range(30):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    layer: Any = sparsifier_of(model).layers["7"]
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("recipe", ["bdwp", "sdgp", "transposable:every=2", "sste", "pgf-linear"])
def test_compiled_training_is_eager_training(recipe: str) -> None:
    torch._dynamo.reset()
    eager = sparsify(made(), recipe, "2:8", steps=8)
    compiled: Any = torch.compile(copy.deepcopy(eager), backend="aot_eager", fullgraph=True)
    losses: list[list[float]] = []
    for model in (eager, compiled):
        torch.manual_seed(5)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        row: list[float] = []
        for _ in range(8):
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()
            optimizer.step()
            row.append(loss.item())
        losses.append(row)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_saved_state_goes_on_bit_for_bit(recipe: str, tmp_path: Path) -> None:
    settings = {"fst": "fst:every=3", "rigl": "rigl:every=3", "set": "set:every=3"}
    name = settings.get(recipe, recipe)

    def fresh(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = sparsify(made(seed), name, "2:8", steps=12)
        return model, torch.optim.AdamW(model.parameters(), lr=1e-3)

    model, optimizer = fresh(0)
    train(model, 5, optimizer)
    state = (model.state_dict(), optimizer.state_dict(), torch.get_rng_state())
    torch.save(state, tmp_path / "state.pt")
    train(model, 5, optimizer)
    again, second = fresh(7)
    weights, moments, random = torch.load(tmp_path / "state.pt", weights_only=True)
    again.load_state_dict(weights)
    second.load_state_dict(moments)
    torch.set_rng_state(random)
    train(again, 5, second)
    for one, other in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_copy_lives_its_own_life() -> None:
    model = sparsify(made(), "bdwp", "2:8")
    other = copy.deepcopy(model)
    train(other, 3)
    assert sparsifier_of(other).now == 3
    assert sparsifier_of(model).now == 0


@pytest.mark.parametrize("recipe", ["bdwp", "sste", "sdwp"])
def test_bake_gives_a_plain_model_with_the_same_output(recipe: str) -> None:
    model = sparsify(made(), recipe, "2:8")
    train(model, 3)
    expected = model.eval()(X)
    sparse = sparsifier_of(model).recipe.sparse_inference
    assert bake(model) is model
    assert type(model[7]) is nn.Linear  # pyright: ignore[reportIndexIssue]
    torch.testing.assert_close(model(X), expected)
    weight = model[7].weight  # pyright: ignore[reportIndexIssue]
    assert float((weight == 0).float().mean()) == (0.75 if sparse else 0.0)


def test_transformers_layers_that_keep_inputs_first() -> None:
    import transformers as hf

    config = hf.GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=64, n_positions=16)
    torch.manual_seed(0)
    model: Any = hf.GPT2LMHeadModel(config).eval()
    tokens = torch.randint(64, (2, 8))
    dense = model(tokens).logits
    sparsify(model, "dense")
    torch.testing.assert_close(model(tokens).logits, dense)
    bake(model)
    sparsify(model, "bdwp", "2:8")
    layer = sparsifier_of(model).layers["transformer.h.0.mlp.c_fc"]
    assert bool((layer.get_buffer("mask_k").reshape(4, 8, 128).sum(1) == 2).all())
    assert bool((layer.get_buffer("mask_o").reshape(32, 16, 8).sum(2) == 2).all())
    model(tokens, labels=tokens).loss.backward()
    assert layer.weight.grad.shape == layer.weight.shape


def test_skip_takes_names_and_patterns_and_warns_of_none() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = sparsify(made(), "bdwp", "2:8", skip=["[25]"])
    assert set(sparsifier_of(model).layers) == {"7"}
    with pytest.warns(UserWarning, match=r"skip rule 'haed\*' matches no layer"):
        sparsify(made(), "bdwp", "2:8", skip=["haed*"])


def test_attention_that_cannot_be_reached_is_told() -> None:
    layer = nn.TransformerEncoderLayer(32, 2, 64)
    with pytest.warns(UserWarning, match="self_attn: MultiheadAttention stays dense"):
        model = sparsify(nn.Sequential(nn.Linear(32, 32), layer, nn.Linear(32, 5)), "bdwp", "2:8")
    assert set(sparsifier_of(model).layers) == {"1.linear1", "1.linear2"}


def test_stem_and_classifier_may_be_sparse() -> None:
    model = sparsify(made(), "bdwp", "1:2", dense_stem=False, dense_classifier=False)
    assert set(sparsifier_of(model).layers) == {"0", "2", "5", "7", "9"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "8:2"}, "pattern 8:2 is not possible; N:M needs 1 <= N <= M <= 64"),
        ({"pattern": "2of8"}, r"pattern '2of8' is not N:M \(for example 2:8\)"),
        ({"pattern": "2:64", "skip": ["7"]}, "pattern 2:64 fits no layer: the widest reduction"),
        ({"pattern": "4:4"}, "recipe bdwp needs a pattern N:M with N < M"),
        ({"recipe": "bdpw"}, "unknown recipe 'bdpw'; nearest: bdwp"),
        ({"recipe": "srste:decay=7"}, "decay is 7; allowed 0 to 1"),
        ({"recipe": "lbc", "pattern": "8:16"}, "pattern 8:16 has 12870 combinations per group"),
        ({"steps": 0}, "steps is 0; it must be at least 1"),
    ],
)
def test_mistakes_are_one_clear_line_and_leave_the_model_alone(
    options: dict[str, Any], message: str
) -> None:
    model = made()
    with pytest.raises(ValueError, match=message):
        sparsify(model, **options)
    assert [type(module) for module in model.modules()] == [type(m) for m in made().modules()]


def test_a_model_is_wrapped_once() -> None:
    model = sparsify(made(), "bdwp", "2:8")
    with pytest.raises(ValueError, match="Sequential is sparse already; call bake first"):
        sparsify(model, "srste", "2:8")
    with pytest.raises(ValueError, match="Sequential is not sparse; call sparsify first"):
        sparsifier_of(made())
