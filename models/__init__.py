"""Models and sparse training: the zoo, the recipes, and the recipes as torch code.

``weft.models.zoo`` and ``weft.models.recipes`` are tables and import no torch.
"""
