"""The scaling bench: flat where it must be, and its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.scaling import Point, Scaling, main, measure_tiles, write_html


def test_memory_is_flat_in_the_number_of_tiles() -> None:
    measure_tiles(256)  # imports and caches
    few, many = measure_tiles(4096), measure_tiles(1 << 28)
    assert many.instructions > 10_000 * few.instructions
    assert many.memory_mb < 4 * few.memory_mb


def test_steps_of_the_engine_are_flat_in_the_number_of_tiles() -> None:
    """What time is spent on, without a clock: instructions stepped one by one."""
    from tests.mapper.products import product
    from weft.mapper.scheduling.emit import Gate
    from weft.mapper.scheduling.schedule import Scheduler, start_tokens
    from weft.mapper.scheduling.switches import Switches
    from weft.mapper.scheduling.tiling import Fused
    from weft.sim.engine import Engine
    from weft.sim.machine import load_machine
    from weft.sim.program import Program, Segment
    from weft.sim.workload import Stage

    machine = load_machine("sat-vcu1525")
    stepped: list[int] = []
    for rows in (1 << 20, 1 << 24, 1 << 28):
        body = Scheduler(machine).body(product(Stage.FF, rows, 1024, 1024), Fused(), Gate())
        program = Program((Segment("", body),), start_tokens(machine, Switches()))
        stepped.append(Engine(machine).run(program).stepped)
    assert max(stepped) <= 2 * min(stepped)


def test_command_writes_a_table_json_and_one_offline_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--models", "--batches", "--rows", "256", "4096", "--out", str(tmp_path / "out")])
    assert "4,096 x 1024 x 1024" in capsys.readouterr().out
    data = json.loads((tmp_path / "out" / "scaling.json").read_text())
    assert [point["name"] for point in data["tiles"]] == [
        "256 x 1024 x 1024",
        "4,096 x 1024 x 1024",
    ]
    page = (tmp_path / "out" / "scaling.html").read_text()
    assert "<script src=" not in page
    assert "4,096 x 1024 x 1024" in page


def test_page_holds_the_library_once(tmp_path: Path) -> None:
    point = Point("a", 1, {"trace": 1.0}, 1.0, 1)
    sizes: list[int] = []
    for curves in (Scaling((point,), (), ()), Scaling((point,), (point,), (point,))):
        write_html(curves, tmp_path / "page.html")
        sizes.append((tmp_path / "page.html").stat().st_size)
    assert sizes[1] < 1.1 * sizes[0]
