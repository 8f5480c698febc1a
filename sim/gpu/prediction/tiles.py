"""Thread-block tiles that the libraries choose from, per tensor-core generation.

The output tile of a thread block or, on Blackwell, of the two SMs of a cluster that share one
instruction. Both orientations are candidates: cuBLAS swaps the operands at will.

Sources: NVIDIA DU-09799-001 section 2.3 (Ampere tiles); kernel names of cuBLAS on Hopper
(``nvjet_*``, ``sm90_xmma_*``) and Blackwell (``cutlass3x_sm100_*``), as listed in the GPU tables of
ai-dynamo/aiconfigurator and CUTLASS.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["tile_shapes"]

_AMPERE = ((64, 16), (64, 32), (64, 64), (128, 32), (128, 64), (128, 128), (256, 64), (256, 128))
_HOPPER = (
    *((64, narrow) for narrow in (8, 16, 32, 64)),
    *((128, narrow) for narrow in (8, 16, 32, 64, 128)),
    *((256, 64), (256, 128), (192, 128), (192, 192)),
)
_BLACKWELL = (*_HOPPER, (256, 256), (256, 192), (192, 64), (256, 16), (256, 32))
_TILES = {
    "volta": _AMPERE,
    "ampere": _AMPERE,
    "ada": _AMPERE,
    "hopper": _HOPPER,
    "blackwell": _BLACKWELL,
    "blackwell-geforce": _AMPERE,
}


@cache
def tile_shapes(architecture: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of every candidate tile, each of shape (tiles, 1)."""
    both = sorted({pair for a, b in _TILES[architecture] for pair in ((a, b), (b, a))})
    shapes = np.array(both, dtype=np.float64)
    return shapes[:, :1].copy(), shapes[:, 1:].copy()
