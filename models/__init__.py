"""Models and sparse training: the zoo, the recipes, and the recipes as torch code.

What is named here is tables and builders, and imports no torch; ``weft.models.sparse`` and
``weft.models.training`` do.
"""

from weft.models.recipes import RECIPES
from weft.models.zoo import ZOO, ZooModel, build

__all__ = ["RECIPES", "ZOO", "ZooModel", "build"]
