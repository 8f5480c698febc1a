"""Vision, speech and several senses, of transformers."""

from __future__ import annotations

from typing import Any

from benchmarks.real_models.case import Build, Case, cases, tokens

__all__ = ["PERCEPTION"]


def _made(model: str, config: str, options: dict[str, Any]) -> Any:
    import transformers

    return getattr(transformers, model)(getattr(transformers, config)(**options))


def _image(stem: str, size: int = 224, **options: Any) -> Build:
    """``stem``ForImageClassification on two images."""

    def build() -> tuple[Any, Any]:
        import torch

        made = _made(f"{stem}ForImageClassification", f"{stem}Config", options)
        return made, {"pixel_values": torch.randn(2, 3, size, size), "labels": tokens(2)}

    return build


def _segformer() -> tuple[Any, Any]:
    import torch

    made = _made("SegformerForSemanticSegmentation", "SegformerConfig", {"num_labels": 19})
    return made, {"pixel_values": torch.randn(2, 3, 128, 128), "labels": tokens(2, 128, 128)}


def _detr() -> tuple[Any, Any]:
    import torch

    options = {
        "use_timm_backbone": False, "use_pretrained_backbone": False, "num_queries": 20,
        "encoder_layers": 2, "decoder_layers": 2,
        "backbone_config": {"model_type": "resnet", "out_features": ["stage4"]},
    }  # fmt: skip
    labels = [
        {"class_labels": tokens(3), "boxes": torch.full((3, 4), 0.25)},
        {"class_labels": tokens(2), "boxes": torch.full((2, 4), 0.25)},
    ]
    made = _made("DetrForObjectDetection", "DetrConfig", options)
    return made, {"pixel_values": torch.randn(2, 3, 128, 128), "labels": labels}


def _clip() -> tuple[Any, Any]:
    import torch

    made = _made("CLIPModel", "CLIPConfig", {
        "text_config": {"num_hidden_layers": 2}, "vision_config": {"num_hidden_layers": 2},
    })  # fmt: skip
    return made, {
        "input_ids": tokens(2, 16), "pixel_values": torch.randn(2, 3, 224, 224),
        "return_loss": True,
    }  # fmt: skip


def _siglip() -> tuple[Any, Any]:
    import torch

    made = _made("SiglipModel", "SiglipConfig", {
        "text_config": {"num_hidden_layers": 2}, "vision_config": {"num_hidden_layers": 2},
    })  # fmt: skip
    return made, {
        "input_ids": tokens(2, 16), "pixel_values": torch.randn(2, 3, 224, 224),
        "return_loss": True,
    }  # fmt: skip


def _llava() -> tuple[Any, Any]:
    import torch
    import transformers

    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(
            num_hidden_layers=2, image_size=56, patch_size=14
        ),
        text_config=transformers.LlamaConfig(
            num_hidden_layers=2, hidden_size=512, intermediate_size=1024, num_attention_heads=8,
            vocab_size=1000,
        ),
        image_token_index=999,
    )  # fmt: skip
    text = tokens(1, 48)
    text[:, :16] = 999
    model = transformers.LlavaForConditionalGeneration(config)
    return model, {
        "input_ids": text, "pixel_values": torch.randn(1, 3, 56, 56), "labels": text,
    }  # fmt: skip


def _whisper() -> tuple[Any, Any]:
    import torch

    made = _made("WhisperForConditionalGeneration", "WhisperConfig", {
        "encoder_layers": 2, "decoder_layers": 2,
    })  # fmt: skip
    return made, {"input_features": torch.randn(1, 80, 3000), "labels": tokens(1, 64)}


def _speech(stem: str, **options: Any) -> Build:
    """Recognition with its CTC loss, spans masked and layers dropped as by default."""

    def build() -> tuple[Any, Any]:
        import torch

        made = _made(f"{stem}ForCTC", f"{stem}Config", {"num_hidden_layers": 2, **options})
        return made, {"input_values": torch.randn(2, 16000), "labels": tokens(2, 12)}

    return build


PERCEPTION: tuple[Case, ...] = (
    *cases(
        "transformers",
        {
            "vit": _image("ViT", num_hidden_layers=2),
            "deit": _image("DeiT", num_hidden_layers=2),
            "dinov2": _image("Dinov2", num_hidden_layers=2, drop_path_rate=0.1),
            "hiera": _image("Hiera", drop_path_rate=0.1, depths=[1, 1, 2, 1]),
            "swin": _image("Swin"),
            "convnext": _image("ConvNext", drop_path_rate=0.1, depths=[1, 1, 2, 1]),
            "segformer": _segformer,
            "clip": _clip,
            "siglip": _siglip,
            "whisper": _whisper,
        },
    ),
    *cases("transformers", {"llava": _llava, "detr": _detr}, counter="cpu"),
    *(
        Case(stem.lower(), "transformers", _speech(stem), "cpu", _speech(stem, layerdrop=0.0))
        for stem in ("Wav2Vec2", "Hubert")
    ),
)
"""Perception models."""
