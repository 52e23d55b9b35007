# SPDX-License-Identifier: Apache-2.0
"""A folder of results with the reports of plugins."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import pytest
from board_cases import job, plan, record

from lipbench.contract.components import Report
from lipbench.contract.errors import LipbenchError, StoreError
from lipbench.contract.values import Column, Entry, Record, Table
from lipbench.leaderboard.board import make_board, render, save_plots
from lipbench.leaderboard.render import terminal
from lipbench.own_plugin import lipbench_formats
from lipbench.plugins import PluginInfo
from lipbench.results.store import PLAN, RECORDS

FORMATS = [form.name for form in lipbench_formats()]

# The reports of a plugin, found by their string.


def summary(records: Sequence[Record]) -> Table:
    return Table(title="Summary", columns=[Column(name="cells")], rows=[[Entry(text=" ".join(r.cell for r in records))]])


def no_table(records: Sequence[Record]) -> str:
    return "text"


def nothing(records: Sequence[Record]) -> None:
    return None


def broken(records: Sequence[Record]) -> Table:
    raise ValueError("it broke\nin two")


def audit(records: Sequence[Record]) -> Iterator[str]:
    yield f"{len(records)} records"
    raise KeyError("late")


def sentence(records: Sequence[Record]) -> str:
    return "one sentence"


def figures(records: Sequence[Record]) -> dict[str, Any]:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    axes.plot([r.value for r in records if r.value is not None], label="line")
    axes.legend()
    return {"../climb of hills": figure}


def plugin(*reports: tuple[Literal["audit", "table", "plot"], str], task: str = "climb") -> PluginInfo:
    made = tuple(Report(kind=k, name=n, task=task, factory=f"{__name__}:{n}", summary="") for k, n in reports)
    return PluginInfo(name="hills", distribution="hills", version="1", status="ok", reports=made)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "hills"
    place.mkdir()
    entry = {"quantity": "q", "value": 1.0, "where": {"metric": "low"}}
    made = plan(job({"a": "low", "b": "high"}), reference={"citation": "Somebody", "entries": [entry]})
    (place / PLAN).write_text(json.dumps(made))
    records = [record("b", "high", 2.0), record("old", "low", 9.0), record("a", "low", 1.0)]
    (place / RECORDS).write_text("".join(json.dumps(r.to_json()) + "\n" for r in records))
    return place


def save(folder: Path, *plugins: PluginInfo) -> list[Path]:
    source = make_board(folder, plugins).source
    assert source is not None
    return save_plots(source, plugins)


def test_a_board_has_summaries_values_and_references_in_this_order(folder: Path) -> None:
    board = make_board(folder, [plugin(("table", "summary"), ("table", "nothing"))])
    assert [t.title for t in board.tables] == ["Summary", "Results", "Published values"]
    assert (board.suite, board.title, board.findings) == ("hills", "How steep?", [])
    # Reports get the records of the plan, in its order.
    assert board.tables[0].rows[0][0].text == "a b"


def test_reports_of_other_tasks_are_not_asked(folder: Path) -> None:
    board = make_board(folder, [plugin(("table", "broken"), ("audit", "audit"), task="swim")])
    assert len(board.tables) == 2
    assert board.findings == []


def test_audits_and_reports_that_raise_are_findings(folder: Path) -> None:
    board = make_board(folder, [plugin(("table", "broken"), ("table", "no_table"), ("audit", "audit"), ("audit", "sentence"))])
    assert board.findings == [
        "2 records",
        "audit 'audit' failed: KeyError: 'late'",
        "one sentence",
        "table 'broken' failed: ValueError: it broke in two",
        f"table 'no_table' gave a str; {__name__}:no_table must return a Table",
    ]
    missing = Report(kind="audit", name="gone", task="climb", factory="nowhere_at_all:x", summary="")
    info = PluginInfo(name="p", distribution="p", version="1", status="ok", reports=(missing,))
    assert make_board(folder, [info]).findings == ["audit 'gone' failed: ModuleNotFoundError: No module named 'nowhere_at_all'"]


def test_a_folder_without_plan_or_records(folder: Path, tmp_path: Path) -> None:
    (folder / PLAN).unlink()
    board = make_board(folder, [plugin(("table", "summary"))])
    assert [t.title for t in board.tables] == ["Summary", "Results"]
    empty = make_board(tmp_path / "none", [])
    assert (empty.suite, list(empty.tables)) == ("none", [])
    assert all(render([empty], form) is not None for form in FORMATS)


def test_a_damaged_plan_is_named(folder: Path) -> None:
    (folder / PLAN).write_text('{"jobs": 3}')
    with pytest.raises(StoreError, match=r"plan\.json: this is no plan"):
        make_board(folder, [])


def test_every_format_renders_the_same_bytes_twice(folder: Path) -> None:
    lines = (folder / RECORDS).read_text().splitlines(keepends=True)
    before = {form: render([make_board(folder, [])], form) for form in FORMATS}
    (folder / RECORDS).write_text("".join(reversed(lines)))
    assert {form: render([make_board(folder, [])], form) for form in FORMATS} == before
    assert all(text.endswith("\n") for text in before.values())
    # The page holds its tables compressed.
    assert all("Published values" in text for form, text in before.items() if form != "html")
    assert "low" in terminal.render([make_board(folder, [])])


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(LipbenchError, match="did you mean 'latex'"):
        render([], "latx")


def test_plots_are_saved_with_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    from matplotlib import pyplot as plt

    paths = save(folder, plugin(("plot", "figures")))
    assert [p.relative_to(folder).as_posix() for p in paths] == ["plots/climb-of-hills.png", "plots/climb-of-hills.svg"]
    first = [p.read_bytes() for p in paths]
    assert first[0].startswith(b"\x89PNG")
    assert b"<svg" in first[1]
    assert b"Matplotlib" not in first[0] + first[1]
    with plt.rc_context({"font.size": 30, "lines.linewidth": 9}):
        (folder / RECORDS).write_text("".join(reversed((folder / RECORDS).read_text().splitlines(keepends=True))))
        save(folder, plugin(("plot", "figures")))
    assert [p.read_bytes() for p in paths] == first
    assert plt.get_fignums() == []


def pictures(records: Sequence[Record]) -> dict[str, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(20, 5))
    figure.subplots().imshow(np.random.default_rng(0).random((300, 900)))
    return {"noise": figure}


def test_a_figure_of_pictures_has_a_small_form_too(folder: Path) -> None:
    paths = {p.suffix: p for p in save(folder, plugin(("plot", "pictures")))}
    assert set(paths) == {".png", ".svg", ".webp"}
    with PIL.Image.open(paths[".webp"]) as small:
        assert (small.format, small.size) == ("WEBP", (1100, 275))
    assert paths[".webp"].stat().st_size < min(paths[s].stat().st_size for s in (".png", ".svg")) / 2


def test_a_plot_that_fails_is_logged_and_the_others_are_saved(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "lipbench"):
        paths = save(folder, plugin(("plot", "broken"), ("plot", "figures")))
    assert len(paths) == 2
    assert caplog.messages == ["plot 'broken' failed: ValueError: it broke in two"]


def test_two_plots_of_one_name_are_both_kept(folder: Path) -> None:
    twice = plugin(("plot", "figures"))
    again = PluginInfo(
        name="b", distribution="b", version="1", status="ok",
        reports=(Report(kind="plot", name="other", task="climb", factory=f"{__name__}:figures", summary=""),),
    )  # fmt: skip
    assert len(set(save(folder, twice, again))) == 4


def test_without_matplotlib_there_are_no_plots(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert save(folder, plugin(("plot", "figures"))) == []
    assert not (folder / "plots").exists()


def test_the_leaderboard_imports_no_torch_and_no_matplotlib() -> None:
    code = (
        "import sys, lipbench.leaderboard.board, lipbench.leaderboard.render.terminal, lipbench.suite.references;"
        "print([m for m in ('torch', 'pandas', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
