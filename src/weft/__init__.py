"""weft: what one training run costs, with this sparsity recipe, on this machine, and why."""

__version__ = "0.1.0"
