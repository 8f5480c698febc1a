"""The dispatch mode that writes down every op PyTorch runs, with its tensors and its module."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from weft.mapper.tracing.assumptions import Assumptions
from weft.mapper.tracing.fakes import keywords_on_cpu
from weft.mapper.tracing.graph import Op, Reference, Tensor, TensorKind
from weft.mapper.tracing.known import known_of, settled
from weft.mapper.tracing.modules import ModuleStack
from weft.mapper.tracing.replay import Replay, UnknownValueError
from weft.mapper.tracing.selection import RULES, UNKNOWN_RESULTS, any_mask, by_places, selected
from weft.sim.workload import Stage

__all__ = ["Recorder"]

# Questions about a tensor, not work on it.
_QUERIES = frozenset(
    {
        "prim.device.default",
        "prim.layout.default",
        "aten.size.default",
        "aten.stride.default",
        "aten.numel.default",
        "aten.dim.default",
        "aten.storage_offset.default",
        "aten.is_contiguous.default",
        "aten.is_contiguous.memory_format",
        "aten.is_strides_like_format.default",
        "aten.is_non_overlapping_and_dense.default",
        "aten.sym_size.default",
        "aten.sym_size.int",
        "aten.sym_stride.default",
        "aten.sym_stride.int",
        "aten.sym_numel.default",
        "aten.sym_storage_offset.default",
        "aten.sym_is_contiguous.default",
    }
)

# Taken apart although it has a kernel: its schema does not say that it writes its statistics.
_SILENT_WRITERS = frozenset({"aten.native_batch_norm.default"})

# Views whose schemas promise that nobody looks at the original again.
_UNSAFE_VIEWS = frozenset(
    {
        "aten._unsafe_view.default",
        "aten.unsafe_split.Tensor",
        "aten.unsafe_split_with_sizes.default",
        "aten.unsafe_chunk.default",
    }
)

_GROUPED = "aten._grouped_mm.default"
_VALUE_TAGS = frozenset({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape})
_VALUE = "_weft_value"
_sequence_number: Callable[[], int] = getattr(torch._C, "_autograd")._get_sequence_nr  # noqa: B009


class _Root:
    """The storage behind a tensor and its views: which value was written into it last."""

    __slots__ = ("last_write",)

    def __init__(self) -> None:
        self.last_write: int | None = None


class _Value(NamedTuple):
    """What a tensor object holds now: the index of its record, and its storage."""

    tensor: int
    root: _Root


class _Schema(NamedTuple):
    """What the schema of an op says about aliasing."""

    name: str
    query: bool = False
    decomposes: bool = False
    asks_for_values: bool = False
    silent: bool = False
    view: bool = False
    pointwise: bool = False
    writes: tuple[int, ...] = ()
    writes_keywords: tuple[str, ...] = ()


class Recorder(TorchDispatchMode):
    """Records ops and tensors. Set :attr:`phase` to "forward", "backward" or "optimizer"."""

    def __init__(
        self,
        modules: ModuleStack,
        fake: Callable[[torch.Tensor], torch.Tensor],
        assumptions: Assumptions | None = None,
    ) -> None:
        super().__init__()
        self.ops: list[Op] = []
        self.tensors: list[Tensor] = []
        self.phase = "forward"
        self._fake = fake
        self.replay = Replay(self.ops, self.tensors, assumptions or Assumptions())
        self.failed_in: tuple[str, str] | None = None
        self._modules = modules
        self._schemas: dict[Any, _Schema] = {}
        self._dtypes: dict[torch.dtype, str] = {}
        # Tensors that are not ours to mark; held, so that their ids stay theirs.
        self._foreign: dict[int, tuple[torch.Tensor, _Value]] = {}
        self._by_sequence: dict[int, list[int]] = {}
        self._set_aside: list[tuple[torch.Tensor, torch.Tensor | None]] = []

    def restore_gradients(self) -> None:
        """Give tensors from outside the model, such as weights of a loss, their gradients back."""
        for tensor, gradient in self._set_aside:
            tensor.grad = gradient

    def index_of(self, tensor: torch.Tensor | None) -> int | None:
        """The record of what ``tensor`` holds now, None for none."""
        value = None if tensor is None else self._find(tensor)
        return None if value is None else value.tensor

    def register(self, tensor: torch.Tensor, kind: TensorKind, name: str = "") -> int:
        """Make a tensor known that no op makes."""
        value = self._find(tensor)
        if value is None:
            value = _Value(self._new(tensor, kind=kind, name=name), _Root())
            self._keep(tensor, value)
            real = None if kind == "parameter" else settled(tensor)
            if real is not None:
                known = known_of(tensor)
                assumed = known is not None and known.assumed
                self.replay.know(value.tensor, real, "random" if assumed else "")
        return value.tensor

    def value_of(self, tensor: torch.Tensor) -> torch.Tensor:
        """The value of a tensor that the step has made.

        Raises:
            UnknownValueError: the data decide it.
        """
        index = self.index_of(tensor)
        if index is None:
            raise UnknownValueError("no tensor of the step")
        return self.replay.value(index)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = keywords_on_cpu(kwargs)
        schema = self._schemas.get(func)
        if schema is None:
            schema = self._schemas[func] = _read_schema(func)
        if schema.query:
            if schema.name == "prim.device.default" and type(args[0]) is FakeTensor:
                return args[0].fake_device
            return func(*args, **kwargs)
        if schema.name == "aten.index.Tensor" and any_mask(args[1]):
            with self:
                return func(args[0], by_places(args[1]))
        if schema.decomposes:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        try:
            # An op that only writes into its arguments has no shape to find out.
            result = None if schema.silent else self._run(func, schema, args, kwargs)
        except Exception:
            if self.failed_in is None:
                self.failed_in = (self._modules.path or "", schema.name)
            raise
        self._record(func, schema, args, kwargs, result)
        return result

    def _run(
        self, func: Any, schema: _Schema, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if schema.asks_for_values:
            try:
                return self._values_of(func, args, kwargs)
            except UnknownValueError:
                return func(*args, **kwargs)
        if schema.name == _GROUPED and args[0].dtype is not torch.bfloat16:
            # The shape function of this op refuses types that its kernels take.
            floating = [isinstance(a, torch.Tensor) and a.is_floating_point() for a in args]
            args16 = [a.bfloat16() if f else a for a, f in zip(args, floating, strict=True)]
            return func(*args16, **kwargs).to(args[0].dtype)
        return func(*args, **kwargs)

    def _values_of(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of an op whose shape or number depends on values, where they are known."""
        inputs: list[int] = []
        arguments = tuple([self._argument(argument, inputs) for argument in args])
        keywords = {key: self._argument(value, inputs) for key, value in kwargs.items()}
        try:
            result = self.replay.run(func, arguments, keywords)
        except UnknownValueError:
            result = selected(func, args, arguments, self.replay)
        return tree_map_only(torch.Tensor, self._fake, result)

    def _record(
        self,
        func: Any,
        schema: _Schema,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
    ) -> None:
        inputs: list[int] = []
        arguments = tuple([self._argument(argument, inputs) for argument in args])
        keywords = {key: self._argument(value, inputs) for key, value in kwargs.items()}
        index = len(self.ops)
        written = [
            tensor
            for place in schema.writes
            if place < len(args)
            for tensor in _tensors(args[place])
        ]
        written += [t for key in schema.writes_keywords for t in _tensors(kwargs.get(key))]
        writes = tuple([self.index_of(tensor) for tensor in written])
        outputs = [self._write(tensor, index) for tensor in written]
        for tensor in _tensors(result):
            if not any(tensor is other for other in written):
                outputs.append(self._make(tensor, index, inputs, args if schema.view else ()))
        stage, path, forward, recompute = self._place(inputs, index)
        op = Op(
            index, schema.name, stage, path, tuple(dict.fromkeys(inputs)), tuple(outputs),
            arguments, keywords, schema.view, schema.pointwise, writes, forward, recompute,
        )  # fmt: skip
        self.ops.append(op)
        self.replay.note(op, func)
        if schema.asks_for_values:
            for tensor, output in zip(_tensors(result), outputs, strict=False):
                known = known_of(tensor)
                if known is not None and schema.name not in UNKNOWN_RESULTS:
                    self.replay.know(output, known.real)

    def _argument(self, argument: Any, inputs: list[int]) -> Any:
        if isinstance(argument, torch.Tensor):
            value = self._find(argument)
            if value is None:
                self.register(argument, "constant")
                return self._argument(argument, inputs)
            inputs.append(value.tensor)
            last_write = value.root.last_write
            if last_write is not None and last_write > value.tensor:
                inputs.append(last_write)
            return Reference(value.tensor)
        if isinstance(argument, (list, tuple)):
            return tuple([self._argument(item, inputs) for item in argument])
        if argument is None or isinstance(argument, (bool, int, float, complex, str)):
            return argument
        if isinstance(argument, (torch.dtype, torch.device, torch.layout, torch.memory_format)):
            return str(argument)
        return None  # a random generator, a profiler's handle

    def _write(self, tensor: torch.Tensor, producer: int) -> int:
        value = self._find(tensor)
        root = _Root() if value is None else value.root
        index = self._new(tensor, producer)
        root.last_write = index
        self._keep(tensor, _Value(index, root))
        return index

    def _make(
        self, tensor: torch.Tensor, producer: int, inputs: list[int], aliased: Iterable[Any]
    ) -> int:
        base = next((self._find(t) for a in aliased for t in _tensors(a)), None)
        distinct = None if base is None else self.tensors[base.tensor].distinct
        index = self._new(tensor, producer, distinct=distinct)
        self._keep(tensor, _Value(index, _Root() if base is None else base.root))
        return index

    def _new(
        self,
        tensor: torch.Tensor,
        producer: int | None = None,
        kind: TensorKind = "op",
        name: str = "",
        distinct: int | None = None,
    ) -> int:
        shape = tuple(tensor.shape)
        elements = prod(shape)
        dtype = self._dtypes.get(tensor.dtype)
        if dtype is None:
            dtype = self._dtypes[tensor.dtype] = str(tensor.dtype).removeprefix("torch.")
        index = len(self.tensors)
        stored = elements if distinct is None else min(elements, distinct)
        self.tensors.append(Tensor(index, shape, dtype, kind, producer, name, stored))
        return index

    def _find(self, tensor: torch.Tensor) -> _Value | None:
        if type(tensor) is FakeTensor:
            return tensor.__dict__.get(_VALUE)
        held = self._foreign.get(id(tensor))
        return None if held is None else held[1]

    def _keep(self, tensor: torch.Tensor, value: _Value) -> None:
        if type(tensor) is FakeTensor:
            setattr(tensor, _VALUE, value)
            return
        if id(tensor) not in self._foreign and tensor.requires_grad and tensor.is_leaf:
            self._set_aside.append((tensor, tensor.grad))
            tensor.grad = None
        self._foreign[id(tensor)] = (tensor, value)

    def _place(self, inputs: list[int], index: int) -> tuple[Stage, str, tuple[int, ...], bool]:
        """Stage, module path, forward ops of the autograd node, whether recomputed."""
        if self.phase == "optimizer":
            return Stage.OPTIMIZER, "", (), False
        path = self._modules.path
        node = torch._C._current_autograd_node()
        if self.phase == "forward" and node is None:
            self._note_sequence(index)
            return Stage.FF, "loss" if path is None else path, (), False
        if self.phase == "backward" and path is not None and torch.is_grad_enabled():
            self._note_sequence(index)
            return Stage.FF, path, (), True
        forward = () if node is None else tuple(self._by_sequence.get(node._sequence_nr(), ()))
        if self.phase == "forward":
            self._note_sequence(index)
        return Stage.BP, self._backward_path(forward, inputs), forward, False

    def _note_sequence(self, index: int) -> None:
        # The autograd node of an op is made, and numbered, before the op is dispatched.
        sequence = _sequence_number() - 1
        self._by_sequence.setdefault(sequence, []).append(index)

    def _backward_path(self, forward: tuple[int, ...], inputs: list[int]) -> str:
        if forward:
            return self.ops[forward[0]].path
        producers = (self.tensors[i].producer for i in inputs)
        return next((self.ops[p].path for p in producers if p is not None), "loss")


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _read_schema(func: Any) -> _Schema:
    name = str(func)
    if name in _QUERIES or not isinstance(func, torch._ops.OpOverload):
        return _Schema(name, query=name in _QUERIES)
    arguments = func._schema.arguments
    written = [a.alias_info is not None and a.alias_info.is_write for a in arguments]
    aliases = [a.alias_info is not None and not a.alias_info.is_write for a in arguments]
    returned = any(result.alias_info is not None for result in func._schema.returns)
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    cpu = torch._C.DispatchKey.CPU  # what has a kernel of its own runs as one
    return _Schema(
        name=name,
        query=False,
        decomposes=func.has_kernel_for_dispatch_key(composite)
        and (name in _SILENT_WRITERS or not func.has_kernel_for_dispatch_key(cpu)),
        asks_for_values=not _VALUE_TAGS.isdisjoint(func.tags)
        or name.removesuffix(".default") in RULES,
        silent=any(written) and not func._schema.returns,
        view=name in _UNSAFE_VIEWS or (returned and any(aliases) and not any(written)),
        pointwise=torch.Tag.pointwise in func.tags,
        writes=tuple(i for i, w in enumerate(written) if w and not arguments[i].kwarg_only),
        writes_keywords=tuple(a.name for a, w in zip(arguments, written, strict=True) if w),
    )
