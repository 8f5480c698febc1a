"""Set-ups around models: how people train rather than what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.real_models.case import Build, Case, cases, library, tokens

__all__ = ["SETUPS"]


def _blocks(width: int = 64) -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.Linear(width, 10)
    )


def _module(make: Callable[[Any], Any], *shape: int) -> Build:
    """What ``make`` builds of ``torch.nn``, on a random input of ``shape``."""

    def build() -> tuple[Any, Any]:
        import torch
        from torch import nn

        return make(nn), torch.randn(*shape)

    return build


def _autocast() -> tuple[Any, Any]:
    import torch
    from torch import nn

    class Autocast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = _blocks()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return self.blocks(x)

    return Autocast(), torch.randn(32, 64)


def _checkpointed() -> tuple[Any, Any]:
    import torch
    from torch import nn
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.blocks = nn.Linear(64, 64), _blocks()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            made: Any = checkpoint(self.blocks, self.first(x), use_reentrant=False)
            return made

    return Checkpointed(), torch.randn(32, 64)


def _accumulated() -> tuple[Any, Any]:
    import torch
    from torch import nn

    class Accumulated(nn.Module):
        """Four micro-batches whose gradients are added up."""

        def __init__(self) -> None:
            super().__init__()
            self.blocks = _blocks()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            losses = [self.blocks(part).square().mean() / 4 for part in x.chunk(4)]
            return torch.stack(losses).sum().reshape(1, 1, 1, 1)

    return Accumulated(), torch.randn(32, 64)


def _compiled() -> tuple[Any, Any]:
    import torch

    return torch.compile(_blocks()), torch.randn(32, 64)


def _traced() -> tuple[Any, Any]:
    import torch

    return torch.jit.trace(_blocks(), torch.randn(32, 64)), torch.randn(32, 64)


def _cast(method: str) -> Build:
    def build() -> tuple[Any, Any]:
        import torch

        model = getattr(_blocks(), method)()
        return model, torch.randn(32, 64, dtype=next(model.parameters()).dtype)

    return build


def _moved() -> tuple[Any, Any]:
    import torch

    return _blocks().to("cpu"), torch.randn(32, 64)


def _weight_norm() -> tuple[Any, Any]:
    import torch
    from torch.nn.utils import parametrizations

    model = _blocks()
    parametrizations.weight_norm(model[0])
    parametrizations.spectral_norm(model[2])
    return model, torch.randn(32, 64)


def _attention() -> tuple[Any, Any, Any]:
    import torch
    from torch import nn

    x = torch.randn(2, 32, 64)
    return nn.MultiheadAttention(64, 4, batch_first=True), (x, x, x), lambda y: y[0].square().mean()


def _transformer() -> tuple[Any, Any]:
    import torch
    from torch import nn

    model = nn.Transformer(64, 4, 2, 2, 128, batch_first=True)
    return model, (torch.randn(2, 32, 64), torch.randn(2, 16, 64))


def _ctc() -> tuple[Any, Any, Any]:
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 20), nn.LogSoftmax(-1))
    given, lengths = torch.full((2,), 50), torch.tensor([7, 9])
    labels = tokens(2, 9)
    loss = nn.CTCLoss()
    return model, torch.randn(50, 2, 32), lambda y: loss(y, labels, given, lengths)


def _bag() -> tuple[Any, Any]:
    from torch import nn

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag, self.layer = nn.EmbeddingBag(100, 32, mode="mean"), nn.Linear(32, 10)

        def forward(self, words: Any) -> Any:
            return self.layer(self.bag(words))

    return Bag(), tokens(8, 12)


def _quantized() -> tuple[Any, Any]:
    import torch
    from torch.ao import quantization

    model = _blocks().train()
    model.qconfig = quantization.get_default_qat_qconfig("x86")
    return quantization.prepare_qat(model), torch.randn(32, 64)


def _adapted(kind: str) -> Build:
    """A small GPT-2 or Llama with adapters of peft."""

    def build() -> tuple[Any, Any]:
        import transformers

        base = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                num_attention_heads=4, vocab_size=128,
            )
        )  # fmt: skip
        options: dict[str, Any] = {
            "LoraConfig": {"target_modules": "all-linear", "r": 4},
            "PrefixTuningConfig": {"num_virtual_tokens": 8},
            "AdaLoraConfig": {"target_modules": ["q_proj", "v_proj"], "total_step": 100},
            "OFTConfig": {"target_modules": ["q_proj", "v_proj"], "oft_block_size": 8},
        }[kind]
        config = getattr(library("peft"), kind)(task_type="CAUSAL_LM", **options)
        text = tokens(2, 32)
        return library("peft").get_peft_model(base, config), {"input_ids": text, "labels": text}

    return build


SETUPS: tuple[Case, ...] = (
    *cases(
        "torch",
        {
            "autocast": _autocast,
            "checkpoint": _checkpointed,
            "gradient accumulation": _accumulated,
            "torch.compile": _compiled,
            "jit.trace": _traced,
            "bfloat16": _cast("bfloat16"),
            "half": _cast("half"),
            "double": _cast("double"),
            "moved": _moved,
            "weight norm": _weight_norm,
            "MultiheadAttention": _attention,
            "nn.Transformer": _transformer,
            "LSTM": _module(lambda nn: nn.LSTM(32, 64, 2), 20, 4, 32),
            "GRU": _module(lambda nn: nn.GRU(32, 64, bidirectional=True), 20, 4, 32),
            "Conv3d": _module(lambda nn: nn.Conv3d(3, 8, 3), 2, 3, 8, 16, 16),
            "ConvTranspose2d": _module(lambda nn: nn.ConvTranspose2d(8, 16, 4, 2), 2, 8, 16, 16),
            "EmbeddingBag": _bag,
            "CTC loss": _ctc,
            "quantization-aware": _quantized,
        },
        counter="cpu",
    ),
    *cases(
        "peft",
        {
            "lora": _adapted("LoraConfig"),
            "prefix": _adapted("PrefixTuningConfig"),
            "adalora": _adapted("AdaLoraConfig"),
            "oft": _adapted("OFTConfig"),
        },
        counter="cpu",
    ),
)
"""Ways of training."""
