"""Denoisers of diffusers."""

from __future__ import annotations

from typing import Any

from benchmarks.real_models.case import Case, cases, library, tokens

__all__ = ["DIFFUSERS"]


def _mean_square(output: Any) -> Any:
    return output.sample.square().mean()


def _unet() -> tuple[Any, Any, Any]:
    import torch

    model = library("diffusers").UNet2DConditionModel(
        block_out_channels=(64, 128), cross_attention_dim=128, attention_head_dim=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), sample_size=32,
    )  # fmt: skip
    inputs = {
        "sample": torch.randn(2, 4, 32, 32), "timestep": tokens(2),
        "encoder_hidden_states": torch.randn(2, 16, 128),
    }  # fmt: skip
    return model, inputs, _mean_square


def _unet_plain() -> tuple[Any, Any, Any]:
    import torch

    model = library("diffusers").UNet2DModel(
        sample_size=32, block_out_channels=(64, 128),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return model, {"sample": torch.randn(2, 3, 32, 32), "timestep": tokens(2)}, _mean_square


def _dit() -> tuple[Any, Any, Any]:
    import torch

    model = library("diffusers").DiTTransformer2DModel(
        num_layers=2, num_attention_heads=6, attention_head_dim=64
    )
    inputs = {
        "hidden_states": torch.randn(2, 4, 32, 32), "timestep": tokens(2),
        "class_labels": tokens(2),
    }  # fmt: skip
    return model, inputs, _mean_square


def _autoencoder() -> tuple[Any, Any, Any]:
    import torch

    model = library("diffusers").AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    return model, {"sample": torch.randn(2, 3, 32, 32)}, _mean_square


DIFFUSERS: tuple[Case, ...] = cases(
    "diffusers",
    {"unet, conditioned": _unet, "unet": _unet_plain, "dit": _dit, "autoencoder": _autoencoder},
)
"""Denoisers and an autoencoder."""
