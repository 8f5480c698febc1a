"""Building a model under fake tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from weft.mapper.tracing.fakes import keywords_on_cpu

__all__ = ["BuildMode"]

_SMALL_ELEMENTS = 1024


class BuildMode(TorchDispatchMode):
    """While a model is built: small tensors made of constants keep their values.

    Builders read such values (``torch.linspace(...).tolist()`` for drop rates); weights and
    everything above a few kilobytes stay fake.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = keywords_on_cpu(kwargs)
        tensors = [
            leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)
        ]
        if any(isinstance(tensor, FakeTensor) for tensor in tensors):
            return func(*args, **kwargs)
        if not tensors:
            result = func(*args, **kwargs)
            if not isinstance(result, torch.Tensor) or result.numel() > _SMALL_ELEMENTS:
                return result
        with unset_fake_temporarily():
            return func(*args, **kwargs)
