"""``weft models``."""

from __future__ import annotations

from weft.cli.options import subcommand
from weft.cli.table import print_table
from weft.models.zoo import ZOO

__all__ = ["app"]

app = subcommand()


@app.command()
def models() -> None:
    """List the models that ship with weft, with published parameter counts and default inputs."""
    rows = [
        (
            model.name,
            f"{model.parameters:,}",
            "x".join(str(size) for size in (model.default_batch, *model.default_input)),
            model.summary,
        )
        for model in ZOO.values()
    ]
    print_table(("model", "parameters", "default input", "summary"), rows)
