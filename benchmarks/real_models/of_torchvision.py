"""Detection, segmentation and video of torchvision."""

from __future__ import annotations

from typing import Any

from benchmarks.real_models.case import Build, Case, cases, library, tokens

__all__ = ["TORCHVISION"]


def _detector(name: str, size: int = 224) -> Build:
    """A detector in training: images and boxes in, a dict of losses out."""

    def build() -> tuple[Any, Any, Any]:
        import torch

        model = getattr(library("torchvision.models.detection"), name)(
            weights=None, weights_backbone=None, num_classes=5
        )
        boxes = torch.tensor([[10.0, 10.0, 80.0, 90.0], [40.0, 30.0, 120.0, 160.0]])
        target = {"boxes": boxes, "labels": tokens(2)}
        if "mask" in name:
            target["masks"] = torch.ones(2, size, size, dtype=torch.uint8)
        if "keypoint" in name:
            target["keypoints"] = torch.ones(2, 17, 3)
        images = [torch.rand(3, size, size), torch.rand(3, size, size)]

        def loss(losses: dict[str, torch.Tensor]) -> torch.Tensor:
            parts = list(losses.values())
            return sum(parts[1:], parts[0])

        return model, (images, [target, target]), loss

    return build


def _segmentation(name: str) -> Build:
    def build() -> tuple[Any, Any, Any]:
        import torch
        from torch.nn import functional

        model = getattr(library("torchvision.models.segmentation"), name)(
            weights=None, weights_backbone=None, num_classes=5
        )
        labels = tokens(2, 128, 128)

        def loss(output: dict[str, torch.Tensor]) -> torch.Tensor:
            return functional.cross_entropy(output["out"], labels)

        return model, torch.randn(2, 3, 128, 128), loss

    return build


def _video(name: str) -> Build:
    def build() -> tuple[Any, Any]:
        import torch

        size = 224 if "mvit" in name else 112
        return getattr(library("torchvision.models.video"), name)(weights=None), torch.randn(
            1, 3, 16, size, size
        )

    return build


def _plain(name: str) -> Build:
    def build() -> tuple[Any, Any]:
        import torch

        return getattr(library("torchvision.models"), name)(weights=None), torch.randn(
            2, 3, 224, 224
        )

    return build


TORCHVISION: tuple[Case, ...] = (
    *cases(
        "torchvision",
        {name: _detector(name) for name in ("retinanet_resnet50_fpn", "fcos_resnet50_fpn",
         "ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn",
         "maskrcnn_resnet50_fpn")},
        counter="",
    ),
    *cases(
        "torchvision",
        {name: _segmentation(name) for name in ("deeplabv3_mobilenet_v3_large", "fcn_resnet50",
         "lraspp_mobilenet_v3_large")},
    ),
    *cases("torchvision", {name: _video(name) for name in ("r3d_18", "mvit_v2_s", "swin3d_t")}),
    *cases("torchvision", {name: _plain(name) for name in ("googlenet", "shufflenet_v2_x1_0")},
           "cpu"),
)  # fmt: skip
"""Detection, segmentation, video, and two more."""
