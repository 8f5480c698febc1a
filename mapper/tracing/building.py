"""Building a model under fake tensors."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from weft.mapper.tracing.assumptions import quantiles
from weft.mapper.tracing.fakes import keywords_on_cpu
from weft.mapper.tracing.known import Known, attach, forget, known_of, lose, lose_track, memory_of

__all__ = ["BuildMode"]

_MOST_ELEMENTS = 1 << 20
_MOST_EMPTY = 1 << 12  # what is made empty is mostly a weight
_RANDOM = torch.Tag.nondeterministic_seeded
_SCALAR = torch.ops.aten._local_scalar_dense.default
_CHECKS = {torch.ops.aten.any.default: False, torch.ops.aten.all.default: True}
_RANDINT = {torch.ops.aten.randint.default: 0, torch.ops.aten.randint.low: 1}


class BuildMode(TorchDispatchMode):
    """While a model is built everything is fake, but what follows from constants stays known.

    Builders read such values (``torch.linspace(...).tolist()`` for drop rates), and hand labels,
    lengths and masks on as example inputs. Whole random numbers are taken to lie evenly in their
    range; what any other random number went into is not known. Where a builder asks whether any or
    all elements of what is not known hold, as initialisers do until their numbers lie in a range,
    none is out of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.used: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = keywords_on_cpu(kwargs)
        if func is _SCALAR and (known := known_of(args[0])) is not None:
            with unset_fake_temporarily():
                return known.real.item()
        result = func(*args, **kwargs)
        if isinstance(func, torch._ops.OpOverload):
            self._follow(func, args, kwargs, result)
        return result

    def _follow(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Work out the values of ``result`` and of what is written, or lose them."""
        made = _tensors(result)
        reals = _work_out(func, args, kwargs) if _small(func, made) else None
        if reals is None and func in _CHECKS and len(made) == 1:
            self.used.add("initial")
            with unset_fake_temporarily():
                reals = [torch.full(made[0].shape, _CHECKS[func])]
        if reals is None:
            for tensor in _aliased(func, args, kwargs):
                if (known := known_of(tensor)) is not None:
                    lose(known)
                    forget(tensor)
            return
        before = (known_of(tensor) for tensor in _tensors((args, kwargs)))
        assumed = func in _RANDINT or any(known is not None and known.assumed for known in before)
        for fake, real in zip(made, reals, strict=False):
            if isinstance(fake, FakeTensor) and fake.shape == real.shape:
                attach(fake, Known(real, constant=True, memory=memory_of(real), assumed=assumed))

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        lose_track()


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _small(func: Any, made: list[torch.Tensor]) -> bool:
    most = _MOST_EMPTY if "empty" in func._schema.name else _MOST_ELEMENTS
    return all(prod(tensor.shape) <= most for tensor in made)


def _aliased(func: Any, args: Any, kwargs: Any) -> list[torch.Tensor]:
    """Arguments that are written, or of which the op makes a view that could be written."""
    schema = func._schema.arguments
    named = {**dict(zip([argument.name for argument in schema], args, strict=False)), **kwargs}
    aliased = [named.get(argument.name) for argument in schema if argument.alias_info is not None]
    return _tensors(aliased)


def _work_out(func: Any, args: Any, kwargs: Any) -> list[torch.Tensor] | None:
    """What the op gives for the real values of its arguments; None where nobody knows."""
    known = {id(tensor): known_of(tensor) for tensor in _tensors((args, kwargs))}
    if any(each is None for each in known.values()):
        return None
    if _RANDOM in func.tags and func not in _RANDINT:
        return None

    def real(tensor: torch.Tensor) -> torch.Tensor:
        found = known[id(tensor)]
        assert found is not None
        return found.real

    with unset_fake_temporarily(), torch.no_grad():
        if func in _RANDINT:
            return [_whole(func, args)]
        real_args, real_kwargs = pytree.tree_map_only(torch.Tensor, real, (args, kwargs))
        try:
            result = func(*real_args, **real_kwargs)
        except Exception:
            return None
        return _tensors(torch.zeros_like(result) if "empty" in func._schema.name else result)


def _whole(func: Any, args: Any) -> torch.Tensor:
    low, high = (args[0], args[1]) if _RANDINT[func] else (0, args[0])
    return (low + quantiles(args[_RANDINT[func] + 1]) * (high - low)).long()
