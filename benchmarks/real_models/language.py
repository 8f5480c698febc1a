"""Language models of transformers: default widths, cache on, two blocks."""

from __future__ import annotations

from typing import Any

from benchmarks.real_models.case import Build, Case, cases, tokens

__all__ = ["LANGUAGE"]

_BATCH, _LENGTH = 2, 128


def _made(model: str, config: str, options: dict[str, Any]) -> Any:
    import transformers

    return getattr(transformers, model)(getattr(transformers, config)(**options))


def _causal(stem: str, **options: Any) -> Build:
    """``stem``ForCausalLM with the labels of its own tokens."""
    settings = {"num_hidden_layers": 2, **options}

    def build() -> tuple[Any, Any]:
        text = tokens(_BATCH, _LENGTH)
        return _made(f"{stem}ForCausalLM", f"{stem}Config", settings), {
            "input_ids": text,
            "labels": text,
        }

    return build


def _named(model: str, config: str, length: int = _LENGTH, **options: Any) -> Build:
    def build() -> tuple[Any, Any]:
        text = tokens(_BATCH, length)
        return _made(model, config, options), {"input_ids": text, "labels": text}

    return build


_SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
}
_EAGER = {"experts_implementation": "eager"}

LANGUAGE: tuple[Case, ...] = (
    *cases(
        "transformers",
        {
            "llama": _causal("Llama"),
            "mistral": _causal("Mistral"),
            "qwen2": _causal("Qwen2"),
            "qwen3": _causal("Qwen3"),
            "gemma": _causal("Gemma"),
            "gemma2": _causal("Gemma2"),
            "gemma3": _named("Gemma3ForCausalLM", "Gemma3TextConfig", num_hidden_layers=2),
            "phi3": _causal("Phi3"),
            "gpt2": _named("GPT2LMHeadModel", "GPT2Config", n_layer=2),
            "gpt-neox": _causal("GPTNeoX"),
            "opt": _causal("OPT"),
            "bloom": _named(
                "BloomForCausalLM", "BloomConfig", n_layer=2, hidden_size=1024, n_head=16
            ),
            "falcon": _causal("Falcon"),
            "olmo": _causal("Olmo"),
            "mamba": _causal("Mamba"),
            "mamba2": _causal("Mamba2"),
            "rwkv": _causal("Rwkv", attention_hidden_size=768, hidden_size=768),
            "t5": _named(
                "T5ForConditionalGeneration", "T5Config", num_layers=2, decoder_start_token_id=0
            ),
            "bert": _named("BertForMaskedLM", "BertConfig", num_hidden_layers=2),
            "roberta": _named("RobertaForMaskedLM", "RobertaConfig", num_hidden_layers=2),
        },
    ),
    *(
        Case(name, "transformers", _causal(stem, **options), "meta",
             _causal(stem, experts_implementation="batched_mm", **options))
        for name, stem, options in (
            ("mixtral", "Mixtral", {}),
            ("qwen2-moe", "Qwen2Moe", {}),
            ("qwen3-moe", "Qwen3Moe", {}),
            ("deepseek-v3", "DeepseekV3", {"first_k_dense_replace": 1}),
        )
    ),
    *cases(
        "transformers",
        {
            "mixtral, eager": _causal("Mixtral", num_local_experts=4, **_SMALL, **_EAGER),
            "jetmoe": _causal(
                "JetMoe", hidden_size=64, intermediate_size=128, num_key_value_heads=2,
                kv_channels=16, num_local_experts=4, vocab_size=128,
            ),
            "switch": _named(
                "SwitchTransformersForConditionalGeneration", "SwitchTransformersConfig", 32,
                d_model=64, d_ff=128, d_kv=16, num_layers=2, num_heads=4, num_experts=4,
                vocab_size=128, decoder_start_token_id=0,
            ),
            "longformer": _named(
                "LongformerForMaskedLM", "LongformerConfig", 1024, num_hidden_layers=2
            ),
            "big-bird": _named("BigBirdForMaskedLM", "BigBirdConfig", 1024, num_hidden_layers=2),
            "bart": _named(
                "BartForConditionalGeneration", "BartConfig", encoder_layers=2, decoder_layers=2
            ),
            "deberta": _named(
                "DebertaV2ForMaskedLM", "DebertaV2Config", num_hidden_layers=2,
                relative_attention=True, pos_att_type="p2c|c2p",
            ),
            "xlstm": _named(
                "xLSTMForCausalLM", "xLSTMConfig", 32, num_hidden_layers=2, hidden_size=128,
                num_heads=4, vocab_size=128,
            ),
        },
        counter="cpu",
    ),
)  # fmt: skip
"""Language models; the experts of the second group are sent tokens by their scores."""
