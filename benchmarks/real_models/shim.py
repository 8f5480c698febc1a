"""torchvision beside a CPU build of torch: its compiled operators do not load there.

Its own Python says what they do but for ``nms``, whose schema alone lets it import.
"""

from __future__ import annotations

import sys

from benchmarks.real_models.case import library

__all__ = ["declare_torchvision_ops"]

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def declare_torchvision_ops() -> None:
    """Call before the first import of torchvision, timm or transformers."""
    import torch

    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", _NMS)
    library("torchvision")
    for name, module in list(sys.modules.items()):
        if name.startswith("torchvision.") and hasattr(module, "_assert_has_ops"):
            module._assert_has_ops = lambda: None  # type: ignore[attr-defined]
