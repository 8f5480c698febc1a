"""A workload's products as a table that SCALE-Sim reads: matrix products, a line each."""

from __future__ import annotations

from weft.sim.workload import Stage, Workload

__all__ = ["topology_text"]


def topology_text(workload: Workload, *, training: bool = False) -> str:
    """Lines of name, M, N, K and, where any product is a batch of several, how many.

    A convolution is the matrix product that it comes to, so padding, dilation and images are in
    M and K exactly. ``training`` adds the products of the backward pass, the stage in their names.

    Raises:
        ValueError: a workload without products.
    """
    products = [p for p in workload.products if training or p.stage is Stage.FF]
    if not products:
        raise ValueError(f"{workload.model} has no matrix product; a topology lists nothing else")
    batched = any(product.batch > 1 for product in products)
    lines = [",".join(["Layer", "M", "N", "K", *(["Batch"] if batched else [])]) + ","]
    for product in products:
        name = f"{product.name}:{product.stage}" if training else product.name
        cells = [name.replace(",", ";").replace("#", "-"), product.m, product.n, product.k]
        lines.append(",".join(map(str, [*cells, *([product.batch] if batched else [])])) + ",")
    return "\n".join(lines) + "\n"
