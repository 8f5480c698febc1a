"""Checkpoints that are there whole or not at all, and hold nothing but tensors and numbers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

__all__ = ["CheckpointError", "load_checkpoint", "save_checkpoint"]

_FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be read; the message is one line."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` so that ``path`` is the old checkpoint or the new one at any moment."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save({"format": _FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, as weights only; nothing in it can run.

    Raises:
        CheckpointError: it is corrupt or of another format; it stays as it is.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception:
        # PyTorch's own words depend on what is wrong and advise to load it unsafely.
        raise CheckpointError(
            f"checkpoint {path} is corrupt: cut short, or no file of weights; "
            "remove it to start the run again"
        ) from None
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise CheckpointError(f"checkpoint {path} is not one of weft's, or of another version")
    return state
