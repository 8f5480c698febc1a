"""Which module runs."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["ModuleStack"]


class ModuleStack:
    """The qualified names of the modules whose ``forward`` runs, outermost first."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._names = {id(module): name for name, module in model.named_modules()}
        self._stack: list[str] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    @property
    def path(self) -> str | None:
        return self._stack[-1] if self._stack else None

    def _enter(self, module: torch.nn.Module, _inputs: Any) -> None:
        outside = "loss" if self.path is None else self.path
        self._stack.append(self._names.get(id(module), outside))

    def _leave(self, _module: torch.nn.Module, _inputs: Any, _output: Any) -> None:
        self._stack.pop()

    def __enter__(self) -> ModuleStack:
        hooks = torch.nn.modules.module
        self._handles = [
            hooks.register_module_forward_pre_hook(self._enter),
            hooks.register_module_forward_hook(self._leave, always_call=True),
        ]
        return self

    def __exit__(self, *_exception: object) -> None:
        for handle in self._handles:
            handle.remove()
