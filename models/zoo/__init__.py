"""The zoo: models to simulate and to train, listed without importing torch."""

from weft.models.zoo.build import build, check_input
from weft.models.zoo.entry import ZooModel
from weft.models.zoo.table import ZOO

__all__ = ["ZOO", "ZooModel", "build", "check_input"]
