"""Models that nobody here wrote: transformers configurations without weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.mapper.counting import Build, counted, traced
from weft.mapper.lowering.lower import edge_layers, lower
from weft.mapper.tracing.trace import trace
from weft.sim.workload import Stage

transformers: Any = pytest.importorskip("transformers", reason="transformers is not installed")

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 99,
}
GQA = {**SMALL, "num_key_value_heads": 2}


def tokens(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, dtype=torch.long)


def language(model: str, config: str, **options: Any) -> Build:
    """A language model with labels on 2 sequences of 12 tokens."""

    def build() -> tuple[torch.nn.Module, Any]:
        made = getattr(transformers, model)(getattr(transformers, config)(**options))
        return made, {"input_ids": tokens(2, 12), "labels": tokens(2, 12)}

    return build


def vision(model: str, config: str, size: int, **options: Any) -> Build:
    """A classifier with labels on 2 square images."""

    def build() -> tuple[torch.nn.Module, Any]:
        made = getattr(transformers, model)(getattr(transformers, config)(**options))
        return made, {"pixel_values": torch.randn(2, 3, size, size), "labels": tokens(2)}

    return build


def whisper() -> tuple[torch.nn.Module, Any]:
    config = transformers.WhisperConfig(
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        vocab_size=99,
        max_source_positions=20,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
    )
    model = transformers.WhisperForConditionalGeneration(config)
    return model, {"input_features": torch.randn(2, 80, 40), "labels": tokens(2, 7)}


def wav2vec2() -> tuple[torch.nn.Module, Any]:
    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        conv_dim=(16, 16),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=1,
        mask_time_prob=0.0,
        layerdrop=0.0,
    )
    return transformers.Wav2Vec2Model(config), torch.randn(2, 400)


BUILDS: dict[str, Build] = {
    "bert": language("BertForMaskedLM", "BertConfig", **SMALL),
    "gpt2": language(
        "GPT2LMHeadModel", "GPT2Config", n_embd=32, n_layer=2, n_head=4, vocab_size=99
    ),
    "llama": language("LlamaForCausalLM", "LlamaConfig", **GQA),
    "qwen3": language("Qwen3ForCausalLM", "Qwen3Config", head_dim=8, **GQA),
    "gemma2": language("Gemma2ForCausalLM", "Gemma2Config", head_dim=8, **GQA),
    "t5": language(
        "T5ForConditionalGeneration",
        "T5Config",
        d_model=32,
        d_ff=64,
        d_kv=8,
        num_layers=2,
        num_heads=4,
        vocab_size=99,
        decoder_start_token_id=0,
    ),
    "mixtral": language(
        "MixtralForCausalLM",
        "MixtralConfig",
        num_local_experts=4,
        experts_implementation="batched_mm",
        **GQA,
    ),
    "deberta": language(
        "DebertaV2ForMaskedLM",
        "DebertaV2Config",
        relative_attention=True,
        pos_att_type="p2c|c2p",
        **SMALL,
    ),
    "vit": vision(
        "ViTForImageClassification",
        "ViTConfig",
        32,
        image_size=32,
        patch_size=8,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
    ),
    "swin": vision(
        "SwinForImageClassification",
        "SwinConfig",
        32,
        image_size=32,
        patch_size=2,
        embed_dim=8,
        depths=[2, 2],
        num_heads=[2, 2],
        window_size=4,
    ),
    "whisper": whisper,
    "wav2vec2": wav2vec2,
}
GROUPED: dict[str, Build] = {
    "convnext": vision(
        "ConvNextForImageClassification",
        "ConvNextConfig",
        64,
        hidden_sizes=[8, 16, 32, 64],
        depths=[1, 1, 2, 1],
        drop_path_rate=0.1,
    ),
    "mobilenet": vision(
        "MobileNetV2ForImageClassification", "MobileNetV2Config", 64, depth_multiplier=0.25
    ),
    "mamba": language(
        "MambaForCausalLM",
        "MambaConfig",
        hidden_size=16,
        num_hidden_layers=1,
        vocab_size=99,
        state_size=4,
    ),
}
REAL_SIZE: dict[str, Build] = {
    "bert-base": language("BertForMaskedLM", "BertConfig"),
    "gpt2": language("GPT2LMHeadModel", "GPT2Config"),
}


@pytest.mark.parametrize("name", BUILDS)
def test_macs_per_op(name: str) -> None:
    assert traced(BUILDS[name]) == counted(BUILDS[name])


@pytest.mark.parametrize("name", GROUPED)
def test_macs_per_op_with_grouped_convolutions(name: str) -> None:
    assert traced(GROUPED[name]) == counted(GROUPED[name], device="meta", grouped=True)


@pytest.mark.parametrize("name", REAL_SIZE)
def test_macs_per_op_at_real_size(name: str) -> None:
    assert traced(REAL_SIZE[name]) == counted(REAL_SIZE[name], device="meta")


@pytest.mark.parametrize("name", [*BUILDS, *GROUPED])
def test_everything_is_costed_and_weights_are_named(name: str) -> None:
    graph = trace({**BUILDS, **GROUPED}[name])
    workload = lower(graph)
    named = {parameter.name for parameter in graph.parameters}
    updates = {p.output.parameter for p in workload.products if p.stage is Stage.WU}
    assert not workload.uncosted
    assert updates <= named
    assert updates
    assert workload.parameters == sum(parameter.elements for parameter in graph.parameters)


def test_grouped_products_of_experts_are_one_product_each() -> None:
    """PyTorch's counter passes over this op; every token visits 2 of 4 experts."""
    build = language("MixtralForCausalLM", "MixtralConfig", num_local_experts=4, **GQA)
    ours, theirs = traced(build), counted(build)
    rows = 2 * 12 * 2
    experts = 2 * rows * (32 * 128 + 64 * 32)
    assert ours.pop("_grouped_mm") == 3 * experts
    assert ours == theirs


@pytest.mark.parametrize(("name", "last"), [("gpt2", "lm_head"), ("llama", "lm_head")])
def test_a_language_model_has_a_classifier_and_no_stem(name: str, last: str) -> None:
    roles = edge_layers(lower(trace(BUILDS[name])))
    assert roles.classifier == {last}
    assert not roles.stem


def test_a_vision_transformer_has_both() -> None:
    roles = edge_layers(lower(trace(BUILDS["vit"])))
    assert roles.stem == {"vit.embeddings.patch_embeddings.projection"}
    assert roles.classifier == {"classifier"}
