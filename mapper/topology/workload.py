"""A SCALE-Sim topology as a workload: its forward pass alone, or a whole training step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from math import prod

from weft.mapper.topology.table import Layer, Topology
from weft.sim.program.timing import UPDATE_PASSES
from weft.sim.workload import Convolution, Operand, Product, Role, Stage, UpdateOp, Workload

__all__ = ["topology_workload"]

_STATE = {"sgd": 0, "sgd-momentum": 1, "adam": 2, "adamw": 2}
"""FP32 state tensors beside the master weight."""


def topology_workload(
    topology: Topology,
    *,
    images: int = 1,
    training: bool = False,
    optimizer: str = "sgd-momentum",
) -> Workload:
    """The products of a topology, each layer fed by the one before it; dense.

    ``training`` adds the input gradient of every layer but the first, the weight gradients and
    the updates, taking the right operand of every product as a weight. ``images`` is the batch of
    convolutions, beside the one that a line may have; a matrix product's M already holds its
    samples.

    Raises:
        ValueError: fewer than one image, more than one for matrix products, unknown optimizer.
    """
    if images < 1:
        raise ValueError(f"batch is {images}; it must be at least 1")
    if images > 1 and any(layer.convolution is None for layer in topology.layers):
        raise ValueError(
            f"batch is {images}; in {topology.name} M already holds the samples, so it must be 1"
        )
    if optimizer not in UPDATE_PASSES:
        raise ValueError(f"optimizer {optimizer!r} is not known; allowed: {', '.join(_STATE)}")
    layers = [_with_images(layer, images) for layer in topology.layers]
    items: list[Product | UpdateOp] = [_forward(layer, index) for index, layer in enumerate(layers)]
    if training:
        items += _backward(layers, len(items))
        items += _updates(layers, items, optimizer)
    return Workload(
        model=topology.name,
        batch=images,
        items=tuple(items),
        parameters=sum(_weight(layer).elements for layer in layers),
        notes=(*topology.notes, *_notes(layers, training=training)),
    )


def _with_images(layer: Layer, images: int) -> Layer:
    if layer.convolution is None:
        return layer
    images *= layer.images
    convolution = dataclasses.replace(layer.convolution, images=images)
    return dataclasses.replace(layer, m=layer.m * images, convolution=convolution)


def _pixels(convolution: Convolution, size: tuple[int, int], channels: int, groups: int) -> int:
    return convolution.images * prod(size) * channels * groups


def _input(layer: Layer, role: Role) -> Operand:
    c = layer.convolution
    if c is None:
        return Operand(role, layer.m * layer.k)
    return Operand(role, _pixels(c, c.in_size, c.in_channels, layer.batch))


def _output(layer: Layer, role: Role) -> Operand:
    return Operand(role, layer.batch * layer.m * layer.n)


def _weight(layer: Layer) -> Operand:
    return Operand(Role.WEIGHT, layer.batch * layer.k * layer.n, parameter=f"{layer.name}.weight")


def _forward(layer: Layer, index: int) -> Product:
    return Product(
        layer.name,
        Stage.FF,
        "mm" if layer.convolution is None else "convolution",
        layer.m,
        layer.k,
        layer.n,
        layer.batch,
        _input(layer, Role.ACTIVATION),
        _weight(layer),
        _output(layer, Role.ACTIVATION),
        inputs=(index - 1,) if index else (),
        convolution=layer.convolution,
    )


def _backward(layers: Sequence[Layer], first: int) -> list[Product]:
    """Gradients from the last layer to the first, as autograd makes them."""
    products: list[Product] = []
    source = first - 1
    for index in range(len(layers) - 1, -1, -1):
        layer = layers[index]
        inputs = tuple(sorted({source, index - 1} if index else {source}))
        incoming = source
        if index:
            source = first + len(products)
            products.append(_input_gradient(layer, incoming))
        products.append(_weight_gradient(layer, inputs))
    return products


def _input_gradient(layer: Layer, incoming: int) -> Product:
    c = layer.convolution
    taps = 1 if c is None else prod(c.kernel)
    return Product(
        layer.name,
        Stage.BP,
        "mm" if c is None else "convolution_backward",
        layer.m,
        layer.n * taps,
        layer.k // taps,
        layer.batch,
        _output(layer, Role.GRADIENT),
        _weight(layer),
        _input(layer, Role.GRADIENT),
        inputs=(incoming,),
        convolution=c,
    )


def _weight_gradient(layer: Layer, inputs: tuple[int, ...]) -> Product:
    return Product(
        layer.name,
        Stage.WU,
        "mm" if layer.convolution is None else "convolution_backward",
        layer.k,
        layer.m,
        layer.n,
        layer.batch,
        _input(layer, Role.ACTIVATION),
        _output(layer, Role.GRADIENT),
        _weight(layer),
        inputs=inputs,
        convolution=layer.convolution,
    )


def _updates(
    layers: Sequence[Layer], items: Sequence[Product | UpdateOp], optimizer: str
) -> list[UpdateOp]:
    made_at = {
        item.name: position
        for position, item in enumerate(items)
        if isinstance(item, Product) and item.stage is Stage.WU
    }
    return [
        UpdateOp(
            layer.name,
            f"{layer.name}.weight",
            _weight(layer).elements,
            optimizer,
            _STATE[optimizer],
            inputs=(made_at[layer.name],),
        )
        for layer in layers
    ]


def _notes(layers: Sequence[Layer], *, training: bool) -> tuple[str, ...]:
    notes = [
        f"a topology lists products only: no {'' if training else 'backward pass, '}bias, "
        "normalisation, activation function, pooling or loss is priced",
    ]
    partial = sum(layer.partial for layer in layers)
    if partial:
        notes.append(
            f"last window over the edge, counted as SCALE-Sim does: {partial} convolutions"
        )
    grouped = sum(layer.batch > 1 for layer in layers)
    if grouped:
        notes.append(f"depth-wise, as DP in their names says: {grouped} convolutions")
    if training and any(layer.convolution is None for layer in layers):
        notes.append("the right operand of every matrix product is taken as a weight")
    return tuple(notes)
