"""One image model of each of thirty families of timm."""

from __future__ import annotations

from typing import Any

from benchmarks.real_models.case import Build, Case, cases, library, tokens

__all__ = ["TIMM"]

_NAMES = [
    "beit_base_patch16_224",
    "cait_xxs24_224",
    "coat_tiny",
    "convnext_atto",
    "convnextv2_atto",
    "crossvit_tiny_240",
    "cspresnet50",
    "deit3_small_patch16_224",
    "densenet121",
    "dla34",
    "edgenext_xx_small",
    "efficientformer_l1",
    "efficientnet_b0",
    "eva02_tiny_patch14_224",
    "focalnet_tiny_srf",
    "ghostnet_100",
    "hrnet_w18_small",
    "inception_v3",
    "levit_128",
    "maxvit_pico_rw_256",
    "mixer_s16_224",
    "mobilenetv3_small_100",
    "mobilevit_xxs",
    "nfnet_f0",
    "poolformer_s12",
    "pvt_v2_b0",
    "regnety_002",
    "repvgg_a0",
    "res2net50_26w_4s",
    "resnest14d",
    "rexnet_100",
    "swin_tiny_patch4_window7_224",
    "tnt_s_patch16_224",
    "twins_svt_small",
    "vgg11",
    "vit_tiny_patch16_224",
    "volo_d1_224",
    "xception41",
    "xcit_nano_12_p16_224",
]


def _image(name: str) -> Build:
    """A model of timm on two images of its own size."""

    def build() -> tuple[Any, Any, Any]:
        import torch
        from torch.nn import functional

        model = library("timm").create_model(name, pretrained=False)
        size = model.default_cfg["input_size"]
        labels = tokens(2)

        def loss(scores: Any) -> torch.Tensor:
            return functional.cross_entropy(scores, labels)

        return model, torch.randn(2, *size), loss

    return build


TIMM: tuple[Case, ...] = cases("timm", {name: _image(name) for name in _NAMES})
"""Image models."""
