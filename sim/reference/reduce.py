"""Values of a reduce instruction: N of every M by magnitude, ties to the lower index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from weft.sim.machine import Machine
from weft.sim.program import Reduce
from weft.sim.program.timing import ceil_div
from weft.sim.reference.banks import INDEX_PLANES, PlaceError, Store, pack_planes
from weft.sim.reference.bind import Bound

__all__ = ["group_elements", "reduce"]


def group_elements(work: Reduce, machine: Machine) -> NDArray[np.int64]:
    """Places, in the source bank, of the elements of every group: [rounds lanes, M].

    Raises:
        PlaceError: rows across which groups run that are not whole words.
    """
    lanes, m = machine.sore.lanes, work.pattern.m
    rounds = ceil_div(work.groups, lanes)
    group = np.arange(rounds * lanes)
    element = np.arange(m)
    if not work.across:
        return group[:, None] * m + element
    if work.across % lanes:
        raise PlaceError(f"rows of {work.across} elements are no whole words of {lanes}")
    row, column = np.divmod(group, work.across)
    return (row[:, None] * m + element) * work.across + column[:, None]


def reduce(store: Store, bound: Bound, work: Reduce, source: str) -> None:
    """Do ``work`` from the bank ``source`` into the mask output bank."""
    lanes, n = store.machine.sore.lanes, work.pattern.n
    places = group_elements(work, store.machine)
    elements = store.bank(source, bound).view(np.uint16)
    if places.max() >= elements.size:
        raise PlaceError(f"{work.groups} groups of {work.pattern} do not fit {source}")
    groups = elements[places]
    magnitude = (groups & 0x7FFF).astype(np.int64)
    order = np.argsort(-magnitude, axis=1, kind="stable")[:, :n]
    index = np.sort(order, axis=1)
    values = np.take_along_axis(groups, index, axis=1)
    # Slot by slot: [rounds, lanes, n] becomes [rounds, n, lanes].
    slots = values.reshape(-1, lanes, n).swapaxes(1, 2).reshape(-1)
    out = store.bank("mask_out", bound).view(np.uint16)
    if slots.size > out.size:
        raise PlaceError(f"{slots.size} kept values do not fit mask_out")
    out[: slots.size] = slots
    laid = index.reshape(-1, lanes, n).swapaxes(1, 2)
    for bit, plane in enumerate(pack_planes(laid, INDEX_PLANES)):
        store.bank(f"mask_index{bit}", bound)[: plane.size] = plane
