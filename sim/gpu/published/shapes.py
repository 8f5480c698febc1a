"""Training steps of well-known networks, written down from their published sizes.

For checks against published throughputs where no trace is at hand: the same items that a trace
would give, made from layer sizes alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from weft.sim.workload import (
    Convolution,
    Operand,
    Product,
    Role,
    Stage,
    UpdateOp,
    VectorOp,
    Workload,
)

__all__ = ["TransformerShape", "resnet50", "segment_anything", "transformer"]

Item = Product | VectorOp | UpdateOp


@dataclass(frozen=True)
class TransformerShape:
    """A stack of equal blocks. ``gated``: three feed-forward matrices (SwiGLU) instead of two.

    ``vocabulary`` 0: no language head. ``kv_width`` of grouped-query attention, 0: as wide as the
    model. ``dropout``: after both halves of a block. ``rms``: root-mean-square norms, which PyTorch
    runs as single ops in FP32 unless compiled. ``rotary`` positions, in FP32 likewise.
    ``fused_loss``: one kernel each way over 16-bit logits. ``metrics``: cross entropies that a
    trainer computes from the same logits for its log, in FP32 and without gradients.
    ``split_scores``: attention's scores go through memory, softmax and dropout in FP32 as automatic
    mixed precision has it.
    """

    name: str
    layers: int
    width: int
    heads: int
    hidden: int
    vocabulary: int = 0
    gated: bool = False
    kv_width: int = 0
    dropout: bool = False
    scored_share: float = 1.0
    optimizer: str = "adamw"
    causal: bool = False
    bias: bool = True
    rms: bool = False
    rotary: bool = False
    fused_loss: bool = False
    split_scores: bool = False
    metrics: int = 0

    @property
    def parameters(self) -> int:
        keys = 2 * (self.kv_width or self.width)
        block = self.width * (2 * self.width + keys)
        block += (3 if self.gated else 2) * self.width * self.hidden
        return self.layers * (block + 4 * self.width) + self.vocabulary * self.width


class _Builder:
    """Items in order; every item waits for the one before."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.block = ""

    def _after(self) -> tuple[int, ...]:
        return (len(self.items) - 1,) if self.items else ()

    def vector(
        self, op: str, stage: Stage, elements: int, reads: float, writes: float = 1.0,
        passes: int = 1, *, elementwise: bool = True, width: int = 2,
    ) -> None:  # fmt: skip
        """A vector op; ``reads`` and ``writes`` in multiples of its elements."""
        self.items.append(
            VectorOp(
                self.block + op,
                stage,
                op,
                elements,
                int(reads * elements),
                int(writes * elements),
                passes,
                width,
                elementwise,
                self._after(),
            )
        )

    def linear(
        self, name: str, stage: Stage, m: int, k: int, n: int, *, bias: bool = False
    ) -> None:
        """A layer's product: forward, or both backward ones and the bias' sum."""
        if stage is Stage.FF:
            self._product(name, Stage.FF, m, k, n)
            return
        self._product(name, Stage.BP, m, n, k)
        self._product(name, Stage.WU, k, m, n)
        if bias:
            self.vector("sum", Stage.BP, m * n, 1, 0, elementwise=False)

    def _product(self, name: str, stage: Stage, m: int, k: int, n: int) -> None:
        roles = {
            Stage.FF: (Role.ACTIVATION, Role.WEIGHT, Role.ACTIVATION),
            Stage.BP: (Role.GRADIENT, Role.WEIGHT, Role.GRADIENT),
            Stage.WU: (Role.ACTIVATION, Role.GRADIENT, Role.WEIGHT),
        }[stage]
        name = self.block + name
        left, right, output = (
            Operand(role, size, parameter=name if role is Role.WEIGHT else "")
            for role, size in zip(roles, (m * k, k * n, m * n), strict=True)
        )
        self.items.append(
            Product(name, stage, "mm", m, k, n, 1, left, right, output, self._after())
        )

    def attention(
        self, stage: Stage, rows: int, depth: int, heads: int, *, causal: bool = False
    ) -> None:
        """Fused attention of ``heads`` heads in all samples: two products, or five backward."""
        score = Operand(Role.ACTIVATION, heads * rows * rows)
        ends = Operand(Role.ACTIVATION, heads * rows * depth)
        tall, square = (rows, depth, rows), (rows, rows, depth)
        shapes = [tall, square] if stage is Stage.FF else [tall, square, tall, square, square]
        op = "attention" if stage is Stage.FF else "attention_backward"
        kind = f"{op}:causal" if causal else op
        for m, k, n in shapes:
            left, output = (ends, score) if (m, k, n) == tall else (score, ends)
            self.items.append(
                Product(
                    f"{self.block}{op}:qk" if k == depth else f"{self.block}{op}:pv",
                    stage,
                    kind,
                    m,
                    k,
                    n,
                    heads,
                    left,
                    ends,
                    output,
                    self._after(),
                )
            )

    def split_attention(
        self, stage: Stage, rows: int, depth: int, heads: int, *, dropout: bool = False,
        width: int = 2,
    ) -> None:  # fmt: skip
        """Attention whose scores go through memory, with positions or a mask added to them.

        ``width`` 4: softmax and dropout in FP32, scaled, and cast up and down around it.
        """
        score, ends = heads * rows * rows, heads * rows * depth
        tall, square = (rows, depth, rows), (rows, rows, depth)
        wide = width > 2
        if stage is Stage.FF:
            self._batched(stage, *tall, heads, (ends, ends, score))
            if wide:
                self.vector("div", stage, score, 1)
            self.vector("add", stage, score, 1)
            if wide:
                self.vector("_to_copy", stage, score, 0.5, width=4)
            self.vector("_softmax", stage, score, 2, passes=6, elementwise=False, width=width)
            if dropout:
                self.vector("native_dropout", stage, score, 1, 1.25, passes=2, width=width)
            if wide:
                self.vector("_to_copy", stage, score, 2)
            self._batched(stage, *square, heads, (score, ends, ends))
            return
        self._batched(stage, *square, heads, (score, ends, ends))
        self._batched(stage, *tall, heads, (ends, ends, score))
        if wide:
            self.vector("_to_copy", stage, score, 0.5, width=4)
        if dropout:
            self.vector("native_dropout_backward", stage, score, 1.25, width=width)
        self.vector("_softmax_backward_data", stage, score, 4, passes=3, elementwise=False,
                    width=width)  # fmt: skip
        if wide:
            self.vector("_to_copy", stage, score, 2)
            self.vector("div", stage, score, 1)
        else:
            self.vector("sum", stage, score, 2, 0, elementwise=False)
        for _ in range(2):
            self._batched(stage, *square, heads, (score, ends, ends))

    def _batched(
        self, stage: Stage, m: int, k: int, n: int, heads: int, stored: tuple[int, int, int]
    ) -> None:
        left, right, output = (Operand(Role.ACTIVATION, size) for size in stored)
        item = Product("attention", stage, "bmm", m, k, n, heads, left, right, output)
        self.items.append(item)

    def update(self, name: str, elements: int, optimizer: str) -> None:
        state = {"sgd": 0, "sgd-momentum": 1}.get(optimizer, 2)
        name = self.block + name
        self.items.append(UpdateOp(name, name, elements, optimizer, state, self._after()))


def _halves(shape: TransformerShape) -> list[tuple[str, int, int]]:
    """Matrices of a block: name, inputs, outputs."""
    keys = 2 * (shape.kv_width or shape.width)
    up = 2 if shape.gated else 1
    return [
        ("qkv", shape.width, shape.width + keys),
        ("out", shape.width, shape.width),
        ("up", shape.width, up * shape.hidden),
        ("down", shape.hidden, shape.width),
    ]


def _norm(b: _Builder, shape: TransformerShape, stage: Stage, elements: int) -> None:
    """A norm forward; that of root mean squares as its single ops: up, square, mean, scale, down,
    weight."""
    if not shape.rms:
        b.vector("native_layer_norm", stage, elements, 2, passes=3, elementwise=False)
        return
    block, b.block = b.block, f"{b.block}norm."
    b.vector("_to_copy", stage, elements, 0.5, width=4)
    b.vector("pow", stage, elements, 1, width=4)
    b.vector("mean", stage, elements, 1, 0, elementwise=False, width=4)
    b.vector("mul", stage, elements, 1, width=4)
    b.vector("_to_copy", stage, elements, 2)
    b.vector("mul", stage, elements, 1)
    b.block = block


def _norm_backward(b: _Builder, shape: TransformerShape, elements: int) -> None:
    """Its gradients; as single ops each forward one has its own."""
    stage = Stage.BP
    if not shape.rms:
        b.vector("native_layer_norm_backward", stage, elements, 4, passes=6, elementwise=False)
        return
    b.vector("mul", stage, elements, 1)
    b.vector("mul", stage, elements, 2)
    b.vector("sum", stage, elements, 1, 0, elementwise=False)
    b.vector("_to_copy", stage, elements, 0.5, width=4)
    b.vector("mul", stage, elements, 1, width=4)
    b.vector("mul", stage, elements, 2, width=4)
    b.vector("sum", stage, elements, 1, 0, elementwise=False, width=4)
    b.vector("pow_backward", stage, elements, 1, width=4)
    b.vector("add", stage, elements, 2, width=4)
    b.vector("_to_copy", stage, elements, 2)


def _rotate(b: _Builder, shape: TransformerShape, stage: Stage, tokens: int) -> None:
    """Rotary positions of queries and keys: up, turn, down."""
    if shape.rotary:
        elements = tokens * (shape.width + (shape.kv_width or shape.width))
        b.vector("_to_copy", stage, elements, 0.5, width=4)
        b.vector("mul", stage, elements, 1, width=4)
        b.vector("_to_copy", stage, elements, 2)


def _attention(
    b: _Builder, shape: TransformerShape, stage: Stage, samples: int, length: int
) -> None:
    depth, heads = shape.width // shape.heads, samples * shape.heads
    tokens = samples * length
    qkv = tokens * (shape.width + 2 * (shape.kv_width or shape.width))
    if stage is Stage.FF:
        _rotate(b, shape, stage, tokens)
    if shape.split_scores:
        b.split_attention(stage, length, depth, heads, dropout=shape.dropout, width=4)
    else:
        b.attention(stage, length, depth, heads, causal=shape.causal)
    if stage is Stage.BP:
        _rotate(b, shape, stage, tokens)
        b.vector("cat", stage, qkv, 1, elementwise=False)


def _forward(b: _Builder, shape: TransformerShape, samples: int, length: int) -> None:
    tokens, stage = samples * length, Stage.FF
    around, between = tokens * shape.width, tokens * shape.hidden
    qkv, out, up, down = _halves(shape)
    for first, second in ((qkv, out), (up, down)):
        _norm(b, shape, stage, around)
        b.linear(first[0], stage, tokens, *first[1:])
        if first is qkv:
            _attention(b, shape, stage, samples, length)
        elif shape.gated:
            b.vector("silu", stage, between, 1, passes=4)
            b.vector("mul", stage, between, 2)
        else:
            b.vector("gelu", stage, between, 1, passes=4)
        b.linear(second[0], stage, tokens, *second[1:])
        if shape.dropout:
            b.vector("native_dropout", stage, around, 1, 1.5, passes=2)
        b.vector("add", stage, around, 2)


def _backward(b: _Builder, shape: TransformerShape, samples: int, length: int) -> None:
    tokens, stage = samples * length, Stage.BP
    around, between = tokens * shape.width, tokens * shape.hidden
    qkv, out, up, down = _halves(shape)
    for first, second in ((up, down), (qkv, out)):
        if shape.dropout:
            b.vector("native_dropout_backward", stage, around, 1.5)
        b.linear(second[0], stage, tokens, *second[1:], bias=shape.bias)
        if first is qkv:
            _attention(b, shape, stage, samples, length)
        elif shape.gated:
            b.vector("mul", stage, between, 2)
            b.vector("mul", stage, between, 2)
            b.vector("silu_backward", stage, between, 2, passes=8)
        else:
            b.vector("gelu_backward", stage, between, 2, passes=8)
        b.linear(first[0], stage, tokens, *first[1:], bias=shape.bias)
        _norm_backward(b, shape, around)
        b.vector("add", stage, around, 2)


def _loss(b: _Builder, shape: TransformerShape, logits: int) -> None:
    """Cross entropy, forward and backward: fused, or cast, softmax, and their gradients in FP32."""
    for _ in range(shape.metrics):
        b.vector("_to_copy", Stage.FF, logits, 0.5, width=4)
        b.vector("_log_softmax", Stage.FF, logits, 3, passes=5, elementwise=False, width=4)
    if shape.fused_loss:
        b.vector("cross_entropy", Stage.FF, logits, 1, 0, passes=5, elementwise=False)
        b.vector("cross_entropy_backward", Stage.BP, logits, 1, passes=4, elementwise=False)
        return
    b.vector("_to_copy", Stage.FF, logits, 0.5, width=4)
    b.vector("_log_softmax", Stage.FF, logits, 3, passes=5, elementwise=False, width=4)
    b.vector("nll_loss_backward", Stage.BP, logits, 0, width=4)
    b.vector("_log_softmax_backward_data", Stage.BP, logits, 4, passes=4, elementwise=False,
             width=4)  # fmt: skip
    b.vector("_to_copy", Stage.BP, logits, 2)


def transformer(shape: TransformerShape, samples: int, length: int) -> Workload:
    """One training step of ``samples`` sequences of ``length`` tokens."""
    b = _Builder()
    tokens = samples * length
    scored = int(tokens * shape.scored_share)
    logits = scored * shape.vocabulary
    b.vector("embedding", Stage.FF, tokens * shape.width, 1, elementwise=False)
    for block in range(shape.layers):
        b.block = f"blocks.{block}."
        _forward(b, shape, samples, length)
    b.block = ""
    if logits:
        b.linear("head", Stage.FF, scored, shape.width, shape.vocabulary)
        _loss(b, shape, logits)
        b.linear("head", Stage.BP, scored, shape.width, shape.vocabulary)
    for block in reversed(range(shape.layers)):
        b.block = f"blocks.{block}."
        _backward(b, shape, samples, length)
    b.block = ""
    b.vector("embedding_dense_backward", Stage.BP, tokens * shape.width, 2, elementwise=False)
    for block in range(shape.layers):
        b.block = f"blocks.{block}."
        for name, k, n in _halves(shape):
            b.update(name, k * n, shape.optimizer)
    b.block = ""
    if logits:
        b.update("head", shape.vocabulary * shape.width, shape.optimizer)
    return Workload(shape.name, samples, tuple(b.items), parameters=shape.parameters)


_SAM_L = TransformerShape("sam-vit-l", 24, 1024, 16, 4096)
_SAM_SIDE, _SAM_WINDOW, _SAM_GLOBAL = 64, 14, (5, 11, 17, 23)
"""Image encoder of Segment Anything, ViT-L: 64 x 64 tokens of an image of 1024 x 1024, windows of
14 x 14 (padded to 70 x 70) but for four layers (Kirillov et al., arXiv:2304.02643, appendix A)."""


def _sam_layer(b: _Builder, stage: Stage, layer: int, images: int) -> None:
    shape = _SAM_L
    windows = ceil(_SAM_SIDE / _SAM_WINDOW) ** 2
    everywhere = layer in _SAM_GLOBAL
    rows = _SAM_SIDE**2 if everywhere else _SAM_WINDOW**2
    groups = images * (1 if everywhere else windows)
    tokens, inside = images * _SAM_SIDE**2, groups * rows
    qkv, out, up, down = _halves(shape)
    depth, heads = shape.width // shape.heads, groups * shape.heads
    around, between = tokens * shape.width, tokens * shape.hidden
    if stage is Stage.FF:
        b.vector("native_layer_norm", stage, around, 2, passes=3, elementwise=False)
        b.linear(qkv[0], stage, inside, *qkv[1:])
        b.split_attention(stage, rows, depth, heads)
        b.linear(out[0], stage, inside, *out[1:])
        b.vector("add", stage, around, 2)
        b.vector("native_layer_norm", stage, around, 2, passes=3, elementwise=False)
        b.linear(up[0], stage, tokens, *up[1:])
        b.vector("gelu", stage, between, 1, passes=4)
        b.linear(down[0], stage, tokens, *down[1:])
        b.vector("add", stage, around, 2)
        return
    b.linear(down[0], stage, tokens, *down[1:])
    b.vector("gelu_backward", stage, between, 2, passes=8)
    b.linear(up[0], stage, tokens, *up[1:])
    b.vector("native_layer_norm_backward", stage, around, 4, passes=6, elementwise=False)
    b.linear(out[0], stage, inside, *out[1:])
    b.split_attention(stage, rows, depth, heads)
    b.linear(qkv[0], stage, inside, *qkv[1:])
    b.vector("native_layer_norm_backward", stage, around, 4, passes=6, elementwise=False)


def segment_anything(images: int) -> Workload:
    """Forward and backward pass of Segment Anything's ViT-L encoder, without an update."""
    b = _Builder()
    for layer in range(_SAM_L.layers):
        _sam_layer(b, Stage.FF, layer, images)
    for layer in reversed(range(_SAM_L.layers)):
        _sam_layer(b, Stage.BP, layer, images)
    return Workload(_SAM_L.name, images, tuple(b.items), parameters=_SAM_L.parameters)


_RESNET50 = ((3, 64, 256, 56), (4, 128, 512, 28), (6, 256, 1024, 14), (3, 512, 2048, 7))
"""Stages: blocks, width of the 3x3, width out, output side (He et al., arXiv:1512.03385, v1.5:
the stride sits in the 3x3)."""


def _convolution(
    b: _Builder, stage: Stage, images: int, channels: tuple[int, int], side: int, kernel: int,
    stride: int,
) -> None:  # fmt: skip
    """A convolution forward or backward; ``side`` is that of its output."""
    inputs, outputs = channels
    shape = Convolution(
        images, inputs, outputs, (side * stride, side * stride), (side, side), (kernel, kernel),
        (stride, stride), (kernel // 2, kernel // 2),
    )  # fmt: skip
    pixels, taps = images * side * side, kernel * kernel
    x = Operand(Role.ACTIVATION, images * inputs * (side * stride) ** 2)
    w = Operand(Role.WEIGHT, inputs * outputs * taps, parameter=f"w{len(b.items)}")
    y = Operand(Role.ACTIVATION, pixels * outputs)
    if stage is Stage.FF:
        b.items.append(Product("conv", stage, "convolution", pixels, inputs * taps, outputs, 1, x,
                               w, y, (), shape))  # fmt: skip
        return
    if inputs != 3:
        b.items.append(Product("conv", Stage.BP, "convolution", pixels * stride**2,
                               max(1, outputs * taps // stride**2), inputs, 1, y, w, x, (),
                               shape))  # fmt: skip
    b.items.append(Product("conv", Stage.WU, "convolution", inputs * taps, pixels, outputs, 1, x, y,
                           w, (), shape))  # fmt: skip


def _layers() -> list[tuple[tuple[int, int], int, int, int]]:
    """Convolutions in order: channels, output side, kernel, stride."""
    found: list[tuple[tuple[int, int], int, int, int]] = [((3, 64), 112, 7, 2)]
    width_in, side_in = 64, 56
    for blocks, width, width_out, side in _RESNET50:
        for block in range(blocks):
            stride = side_in // side if block == 0 else 1
            found += [
                ((width_in, width), side * stride, 1, 1),
                ((width, width), side, 3, stride),
                ((width, width_out), side, 1, 1),
            ]
            if block == 0:
                found.append(((width_in, width_out), side, 1, stride))
            width_in, side_in = width_out, side
    return found


def resnet50(images: int) -> Workload:
    """One training step of ResNet-50 v1.5 on 224 x 224 images, SGD with momentum."""
    b = _Builder()
    for channels, side, kernel, stride in _layers():
        elements = images * channels[1] * side**2
        _convolution(b, Stage.FF, images, channels, side, kernel, stride)
        b.vector("native_batch_norm", Stage.FF, elements, 2, passes=3, elementwise=False)
        b.vector("relu", Stage.FF, elements, 1)
        if kernel == 1 and channels[1] > channels[0] and stride == 1:
            b.vector("add", Stage.FF, elements, 2)
    b.linear("fc", Stage.FF, images, 2048, 1000)
    b.linear("fc", Stage.BP, images, 2048, 1000)
    for channels, side, kernel, stride in reversed(_layers()):
        elements = images * channels[1] * side**2
        b.vector("threshold_backward", Stage.BP, elements, 2)
        b.vector("native_batch_norm_backward", Stage.BP, elements, 4, passes=5, elementwise=False)
        _convolution(b, Stage.BP, images, channels, side, kernel, stride)
    weights = [
        channels[0] * channels[1] * kernel**2 + 2 * channels[1]
        for channels, _, kernel, _ in _layers()
    ]
    for elements in [*weights, 2048 * 1000]:
        b.update("w", elements, "sgd-momentum")
    return Workload("resnet50", images, tuple(b.items), parameters=sum(weights) + 2048 * 1000)
