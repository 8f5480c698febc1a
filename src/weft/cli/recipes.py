"""``weft recipes``."""

from __future__ import annotations

from weft.cli.options import subcommand
from weft.cli.table import print_table
from weft.models.recipes import RECIPES

__all__ = ["app"]

app = subcommand()


@app.command()
def recipes() -> None:
    """List the sparse training recipes, and which operand each makes sparse."""
    rows = [
        (
            recipe.name,
            ", ".join(f"{rule.stage}: {rule.operand}" for rule in recipe.at(0).rules) or "-",
            recipe.summary,
        )
        for recipe in RECIPES.values()
    ]
    print_table(("recipe", "sparse at step 0", "summary"), rows)
