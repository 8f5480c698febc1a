"""The zoo against published counts, against models nobody here wrote, and under fake tensors."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from weft.models.zoo import ZOO, build


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def on_meta(name: str, **options: Any) -> Any:
    with torch.device("meta"):
        return build(name, **options)


def forward_flops(model: torch.nn.Module, inputs: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        model(**inputs) if isinstance(inputs, dict) else model(inputs)
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ZOO)
def test_parameter_count_is_the_published_one(name: str) -> None:
    model, _, _ = on_meta(name, batch=1)
    assert parameters(model) == ZOO[name].parameters


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("vit-b16", 86_567_656),
        ("gpt2", 124_439_808),
        ("gpt2-xl", 1_557_611_200),
        ("llama-7b", 6_738_415_616),
        ("llama-70b", 68_976_648_192),
        ("mlp", 266_610),
    ],
)
def test_table_states_the_published_counts(name: str, published: int) -> None:
    assert ZOO[name].parameters == published


def theirs(name: str) -> Any:
    """The same architecture from transformers, without weights."""
    import transformers as hf

    resnet = hf.ResNetForImageClassification
    image: dict[str, Any] = {"num_labels": 1000}
    small: dict[str, Any] = {
        "image_size": 32,
        "patch_size": 4,
        "hidden_size": 512,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "intermediate_size": 512,
        "num_labels": 100,
    }
    basic: dict[str, Any] = {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512]} | image
    seventy = hf.LlamaConfig(
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        max_position_embeddings=4096,
    )
    xl = hf.GPT2Config(n_embd=1600, n_layer=48, n_head=25)
    made = {
        "resnet18": lambda: resnet(hf.ResNetConfig(depths=[2, 2, 2, 2], **basic)),
        "resnet34": lambda: resnet(hf.ResNetConfig(depths=[3, 4, 6, 3], **basic)),
        "resnet50": lambda: resnet(hf.ResNetConfig(**image)),
        "vit-b16": lambda: hf.ViTForImageClassification(hf.ViTConfig(**image)),
        "vit-cifar100": lambda: hf.ViTForImageClassification(hf.ViTConfig(**small)),
        "bert-base": lambda: hf.BertForMaskedLM(hf.BertConfig()),
        "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config()),
        "gpt2-xl": lambda: hf.GPT2LMHeadModel(xl),
        "llama-7b": lambda: hf.LlamaForCausalLM(hf.LlamaConfig()),
        "llama-70b": lambda: hf.LlamaForCausalLM(seventy),
    }
    with torch.device("meta"):
        return made[name]()


THEIRS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "vit-b16",
    "vit-cifar100",
    "bert-base",
    "gpt2",
    "gpt2-xl",
    "llama-7b",
    "llama-70b",
)


@pytest.mark.parametrize("name", THEIRS)
def test_parameters_and_forward_flops_equal_transformers(name: str) -> None:
    other = theirs(name).train()
    tokens = ZOO[name].kind == "tokens"
    shape = (64,) if tokens else ZOO[name].default_input
    model, inputs, _ = on_meta(name, batch=2, input_shape=shape)
    assert parameters(model) == parameters(other)
    key = "input_ids" if tokens else "pixel_values"
    assert forward_flops(model, inputs) == forward_flops(other, {key: inputs})


def test_bert_encoder_with_a_pooler_is_the_published_bert_base() -> None:
    model, _, _ = on_meta("bert-base", batch=1)
    head = parameters(model.transform) + model.head.bias.numel()
    pooler = 768 * 768 + 768
    assert parameters(model) - head + pooler == 109_482_240


@pytest.mark.parametrize("name", [name for name in ZOO if ZOO[name].parameters < 3e8])
def test_builds_and_runs_backward_under_fake_tensors(name: str) -> None:
    shape = (32,) if ZOO[name].kind == "tokens" and name != "char-gpt" else None
    with FakeTensorMode():
        model, inputs, loss_fn = build(name, batch=2, input_shape=shape)
        loss = loss_fn(model(inputs))
        loss.backward()
    assert loss.shape == ()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["mlp", "char-gpt"])
def test_small_models_learn_their_example_batch(name: str) -> None:
    torch.manual_seed(0)
    model, inputs, loss_fn = build(name, batch=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses: list[float] = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = loss_fn(model(inputs))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_llama_positions_are_relative() -> None:
    from weft.models.zoo.llama import rotate, rotation

    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 8).unbind(0)
    cosine, sine = rotation(20, 8, torch.device("cpu"))

    def score(at: int, to: int) -> torch.Tensor:
        turned = rotate(query, (cosine[at], sine[at])) * rotate(key, (cosine[to], sine[to]))
        return turned.sum()

    torch.testing.assert_close(score(3, 7), score(12, 16), rtol=1e-5, atol=1e-5)
    assert not torch.isclose(score(3, 7), score(3, 8), atol=1e-3)


def test_llama_computes_what_transformers_computes() -> None:
    import transformers as hf

    from weft.models.zoo.llama import Llama

    torch.manual_seed(0)
    config = hf.LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        rms_norm_eps=1e-5,
    )
    theirs = hf.LlamaForCausalLM(config)
    ours = Llama(32, 2, 4, 2, 48, context=16, vocabulary=50)
    state = {_as_ours(name): weight for name, weight in theirs.state_dict().items()}
    ours.load_state_dict(state)
    tokens = torch.randint(50, (2, 16))
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-5)


def _as_ours(name: str) -> str:
    """The zoo's name of a parameter of transformers' Llama."""
    renamed = {
        "model.embed_tokens": "tokens",
        "model.layers": "blocks",
        "model.norm": "norm",
        "lm_head": "head",
        "input_layernorm": "norm1",
        "post_attention_layernorm": "norm2",
        "self_attn.q_proj": "attention.query",
        "self_attn.k_proj": "attention.key",
        "self_attn.v_proj": "attention.value",
        "self_attn.o_proj": "attention.output",
        "_proj": "",
    }
    for old, new in renamed.items():
        name = name.replace(old, new)
    return name


def test_gpt2_computes_what_transformers_computes() -> None:
    import transformers as hf

    from weft.models.zoo.gpt2 import GPT2

    torch.manual_seed(0)
    config = hf.GPT2Config(vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=4)
    theirs = hf.GPT2LMHeadModel(config).eval()
    ours = GPT2(32, 2, 4, 16, 50).eval()
    pairs = zip(ours.named_parameters(), theirs.named_parameters(), strict=True)
    with torch.no_grad():
        for (_, mine), (name, weight) in pairs:
            # Transformers' Conv1D stores a linear layer's weight transposed.
            mine.copy_(weight.T if weight.dim() == 2 and ".h." in name else weight)
    tokens = torch.randint(50, (2, 16))
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-5)


def test_causal_models_do_not_see_the_future() -> None:
    torch.manual_seed(0)
    model, tokens, _ = build("char-gpt", batch=1)
    changed = tokens.clone()
    changed[0, 40:] = (changed[0, 40:] + 1) % 97
    before, after = model.eval()(tokens), model(changed)
    torch.testing.assert_close(before[:, :40], after[:, :40])
    assert not torch.allclose(before[:, 40:], after[:, 40:])


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("resnet50", (1, 224, 224), "to have 3 channels"),
        ("resnet50", (224,), "takes C,H,W"),
        ("gpt2", (3, 32, 32), "takes T"),
        ("vit-b16", (3, 225, 224), "multiples of the patch, 16"),
        ("gpt2", (2048,), "the context holds 1024"),
        ("vgg19-cifar100", (3, 64, 64), "takes 32 to 63 pixels a side"),
    ],
)
def test_a_shape_that_the_model_refuses_gives_its_own_message(
    name: str, shape: tuple[int, ...], message: str
) -> None:
    def run() -> None:
        model, inputs, _ = build(name, batch=2, input_shape=shape)
        model(inputs)

    with FakeTensorMode(), pytest.raises((ValueError, RuntimeError), match=message):
        run()


def test_batch_and_name_are_checked() -> None:
    with pytest.raises(ValueError, match="batch is 0; it must be at least 1"):
        build("mlp", batch=0)
    with pytest.raises(ValueError, match=r"model 'resnet51' is not in the zoo; known: resnet9"):
        build("resnet51")


def test_zoo_and_recipes_are_listed_without_torch() -> None:
    code = (
        "import sys; from weft.models import RECIPES, ZOO, ZooModel, build; "
        "sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
