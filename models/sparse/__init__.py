"""The recipes as torch code: exact masks, sparse products, and one call that wraps a model."""

from weft.models.sparse.groups import group_mask, top_mask
from weft.models.sparse.sparsifier import Sparsifier
from weft.models.sparse.transposable import transposable_mask
from weft.models.sparse.unbiased import unbiased_groups
from weft.models.sparse.wrap import bake, parse_pattern, sparsifier_of, sparsify

__all__ = [
    "Sparsifier",
    "bake",
    "group_mask",
    "parse_pattern",
    "sparsifier_of",
    "sparsify",
    "top_mask",
    "transposable_mask",
    "unbiased_groups",
]
