# SPDX-License-Identifier: Apache-2.0
"""Tables on a terminal: marks, and tables too wide for it."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len

from lipbench.contract.values import Column, Entry, Table
from lipbench.leaderboard.page import Board
from lipbench.leaderboard.render import terminal
from lipbench.leaderboard.render.layout import wrap

METRICS = [
    "random_pairs", "line_search", "line_search_jvp", "pair_ascent(restarts=64)", "jacobian_norm", "jacobian_ascent", "clever",
    "spectral_product", "seqlip", "schur", "interval_jacobian", "regions", "milp",
]  # fmt: skip
KEYS = ["network", "data", "norm", "dtype", "pairs", "radius"]


def wide(rows: int) -> Table:
    """Six keys, of which three are the same in all rows, and thirteen metrics."""
    lines = []
    for r in range(rows):
        keys = [f"network_{r}", "digits", ("l2", "linf")[r % 2], "float32", "rows", f"0.{r}"]
        lines.append(
            [*(Entry(text=k) for k in keys), *(Entry(text=f"{r}.{m:03d} ± 0.01", value=r + m / 1000) for m in range(13))]
        )
    return Table(
        title="Results",
        columns=[*(Column(name=k) for k in KEYS), *(Column(name=m, direction="higher") for m in METRICS)],
        rows=lines,
    )


@pytest.mark.parametrize("rows", [1, 2, 4, 6, 30])
@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_wide_tables_stay_within_the_width_and_lose_nothing(rows: int, width: int) -> None:
    text = terminal.render([Board(suite="s", tables=[wide(rows)])], width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    for r in range(rows):
        for m in range(13):
            assert f"{r}.{m:03d} ± 0.01" in text


def test_few_rows_are_turned() -> None:
    lines = terminal.render([Board(suite="s", tables=[wide(3)])]).splitlines()
    words = [line.split() for line in lines]
    assert ["network", "network_0", "network_1", "network_2"] in words
    assert ["line_search", "↑", *(w for r in range(3) for w in (f"{r}.001", "±", "0.01"))] in words
    assert "data: digits · dtype: float32 · pairs: rows" in lines


def test_many_rows_are_cut_and_their_names_repeated() -> None:
    text = terminal.render([Board(suite="s", tables=[wide(30)])])
    names = [line.split()[0] for line in text.splitlines() if line.startswith("network_")]
    pieces = names.count("network_0")
    assert pieces > 1
    assert names == [f"network_{r}" for r in range(30)] * pieces


def test_a_table_that_fits_is_left_as_it_is() -> None:
    text = terminal.render([Board(suite="s", tables=[wide(2)])], 400)
    assert any(line.split()[:6] == KEYS for line in text.splitlines())


def small() -> Table:
    return Table(
        title="Results",
        columns=[Column(name="network"), Column(name="a", direction="higher", unit="m"), Column(name="b", direction="lower")],
        rows=[[Entry(text="mlp"), Entry(text="1 ± 2", value=1.0, best=True), Entry(text="2", value=2.0, struck=True, note=1)]],
        notes=["noise"],
    )


def test_marks_are_signs_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    terminal.print_board(Board(suite="s", title="T", description="D", citation="C", tables=[small()]), out)
    lines = out.getvalue().splitlines()
    assert lines[:3] == ["T", "D", "Source: C"]
    assert any(line.split() == ["network", "a", "↑", "(m)", "b", "↓"] for line in lines)
    assert any(line.split() == ["mlp", "1", "±", "2*", "~2~", "[1]"] for line in lines)
    assert "[1] noise" in lines
    assert "* best, ~x~ struck through" in lines
    assert "\x1b" not in out.getvalue()


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_marks_are_looks_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    out = Screen()
    terminal.print_board(Board(suite="s", tables=[small()]), out)
    assert re.search(r"\x1b\[1;32m +1 ± 2\x1b", out.getvalue())
    assert re.search(r"\x1b\[2;9m2 \[1\]", out.getvalue())
    assert "1 ± 2*" not in out.getvalue()


def test_markup_of_the_terminal_library_is_text() -> None:
    table = Table(title="[red]t", columns=[Column(name="[bold]a")], rows=[[Entry(text="[/] :smile:")]])
    text = terminal.render([Board(suite="[link=x]s", tables=[table])])
    for part in ("[link=x]s", "[red]t", "[bold]a", "[/] :smile:"):
        assert part in text


def test_an_output_that_has_only_ascii_is_no_error() -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as out:
        terminal.print_board(Board(suite="é", tables=[small()]), out)
        out.flush()
        assert b"1 +/- 2*" in raw.getvalue()


@pytest.mark.parametrize("limit", [1, 5, 14])
def test_wrapping_keeps_every_sign(limit: int) -> None:
    text = "pair_ascent(restarts=64, step=0.1) 漢字漢字"
    lines = wrap(text, limit).split("\n")
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert max(map(cell_len, lines)) <= max(limit, 2)


def test_long_texts_are_broken_before_the_table_is_cut() -> None:
    words = "a long sentence that goes on and on until it is wide"
    table = Table(
        title="T", columns=[Column(name=n) for n in "abcd"], rows=[[Entry(text=words, note=1) for _ in range(4)]], notes=["n"]
    )
    lines = terminal.render([Board(suite="s", tables=[table])]).splitlines()
    assert [line.split() for line in lines].count(["a", "b", "c", "d"]) == 1
    assert max(map(cell_len, lines)) <= 100


def test_keys_above_each_other_stand_at_one_height() -> None:
    long = "efficientnet_lite0(a=1, b=22)"
    rows = [
        [Entry(text=n), Entry(text=d), *(Entry(text=f"{m}.5", value=m) for m in range(20))]
        for n, d in (("cnn", "x1"), (long, "y2"))
    ]
    columns = [Column(name="network"), Column(name="data"), *(Column(name=f"metric_{m}") for m in range(20))]
    lines = terminal.render([Board(suite="s", tables=[Table(title="T", columns=columns, rows=rows)])], 60).splitlines()
    assert any(line.split() == ["data", "x1", "y2"] for line in lines)
    assert any(line.split()[:2] == ["network", "cnn"] for line in lines)
