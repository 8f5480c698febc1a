"""``weft ablate``: cycles with all features, without each, and without any."""

from __future__ import annotations

from typing import Annotated

import typer

from weft.cli.options import Batch, Hardware, Input, Json, PatternOption, Recipe, shape, subcommand
from weft.cli.output import check_file, console, write_json
from weft.mapper.scheduling.switches import feature_names
from weft.mapper.sparsity.patterns import pattern_setting
from weft.reports.terminal import ablation_table
from weft.simulation import Settings, resolve, simulate_workload
from weft.subject import find_subject

__all__ = ["app"]

app = subcommand()


@app.command()
def ablate(
    models: Annotated[list[str], typer.Argument(help="Models, as for simulate.")],
    recipe: Recipe = "bdwp",
    pattern: PatternOption = "2:8",
    hardware: Hardware = "sat-vcu1525",
    batch: Batch = None,
    input: Input = None,  # noqa: A002 - the name of the option
    json: Json = None,
) -> None:
    """Turn off SAT's features one by one, and tell what each is worth."""
    check_file(json)
    settings = Settings(recipe=recipe, pattern=pattern_setting(pattern))
    features = feature_names()
    variants = {name: settings.on(hardware, without=name) for name in ("", *features)}
    variants[",".join(features)] = settings.on(hardware, without=",".join(features))
    for variant in variants.values():
        resolve(variant)
    rows: list[dict[str, int | str]] = []
    for model in models:
        workload = find_subject(model, batch, shape(input)).workload(settings.optimizer)
        row: dict[str, int | str] = {"model": model}
        for without, variant in variants.items():
            row[without or "all on"] = simulate_workload(workload, variant).cycles or 0
        rows.append(row)
    if json is not None:
        write_json(rows, json)
    if json != "-":
        console().print(ablation_table(rows, features))
