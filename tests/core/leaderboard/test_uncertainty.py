# SPDX-License-Identifier: Apache-2.0
"""What a table says of uncertainty, seeds, ranks and failures, in words and in fields."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from board_cases import at, failed, job, note, plan, record, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from lipbench.contract.errors import StoreError
from lipbench.contract.values import Record, Table
from lipbench.leaderboard.board import make_board
from lipbench.leaderboard.page import Board
from lipbench.leaderboard.references import reference_table
from lipbench.leaderboard.render import csv_, json_, latex, markdown, terminal
from lipbench.leaderboard.table import main_table, tables
from lipbench.results.cells import read_cells
from lipbench.results.lines import write_line
from lipbench.results.store import read_records

DELONG = {"low": 0.4, "high": 0.6, "level": 0.95, "method": "DeLong"}


def seeds_of(
    *values: float | None, metric: str = "auc", network: str = "mlp", **changes: Any
) -> tuple[list[Any], list[Record]]:
    """Jobs and records of one row, a value a seed; None for a failure."""
    cells = [f"{network}{metric}{s}" for s in range(len(values))]
    jobs = [job({c: metric}, seed=s, network=network) for s, c in enumerate(cells)]
    facts = {"roles": {"network": network, "data": "digits"}, **changes}
    return jobs, [
        failed(c, metric, seed=s, **facts) if v is None else record(c, metric, v, seed=s, **facts)
        for s, (c, v) in enumerate(zip(cells, values, strict=True))
    ]


def made(*rows: tuple[list[Any], list[Record]], **spec: Any) -> Table:
    return main_table(plan(*(j for jobs, _ in rows for j in jobs), **spec), [r for _, records in rows for r in records])


def test_one_seed_shows_the_interval_of_its_metric_and_says_which() -> None:
    table = made(seeds_of(0.5, interval=DELONG))
    entry = at(table, 0, "auc")
    assert entry.text == "0.5000 [0.4000, 0.6000]"
    assert entry.interval is not None
    assert (entry.interval.low, entry.interval.high, entry.interval.level, entry.interval.method) == (0.4, 0.6, 0.95, "DeLong")
    assert "of one seed, the interval that the metric itself gives: DeLong, 95 %." in table.caption
    assert "over seeds" not in table.caption


def test_several_seeds_show_the_interval_over_them() -> None:
    table = made(seeds_of(1.0, 2.0, 6.0, interval=DELONG))
    entry = at(table, 0, "auc")
    assert entry.interval is not None
    assert (entry.interval.method, entry.interval.level) == ("t over seeds", 0.95)
    assert entry.interval.low == pytest.approx(3 - 6.572410, abs=1e-6)
    assert table.caption == "Mean ± half-width of the 95 % t interval over 3 seeds."


def test_a_number_without_an_interval_is_explained() -> None:
    caption = made(seeds_of(1.0, 2.0), seeds_of(3.0, network="cnn")).caption
    assert "A number alone: one seed, and its metric gives no interval." in caption


def test_a_mean_says_how_many_seeds_it_has() -> None:
    table = made(seeds_of(1.0, None, 3.0))
    entry = at(table, 0, "auc")
    assert (entry.text, entry.seeds, entry.standing) == ("2 ± 13 (2 of 3 seeds)", (2, 3), "partial")
    assert note(table, entry) == "2 of 3 seeds; seed 1: crash: it fell"
    assert entry.cells == ("mlpauc0", "mlpauc1", "mlpauc2")


@pytest.mark.parametrize(("values", "standing"), [((1.0, 2.0), "ok"), ((None, None), "failed")])
def test_standings(values: Any, standing: str) -> None:
    entry = at(made(seeds_of(*values)), 0, "auc")
    assert (entry.standing, entry.seeds) == (standing, (2 if standing == "ok" else 0, 2))
    assert at(main_table(plan(*seeds_of(1.0)[0]), []), 0, "auc").standing == "missing"


COLUMN = [
    seeds_of(5.0, 5.1, 4.9, 5.0),
    seeds_of(1.0, 1.1, 0.9, 1.05, network="cnn"),
    seeds_of(4.9, 5.2, 4.8, 5.0, network="vit"),
]


def test_ranks_of_a_column_are_shared_where_no_difference_is_found() -> None:
    table = made(*COLUMN, rank="column", show=["mean", "rank"])
    assert texts(table, "auc") == ["5 (1)", "1.012 (3)", "4.975 (1)"]
    entries = [at(table, r, "auc") for r in range(3)]
    assert [(e.best, e.second) for e in entries] == [(True, False), (False, True), (True, False)]
    assert entries[0].effect is None
    assert entries[1].effect == pytest.approx(159.5)  # differences 4, 4, 4 and 3.95
    assert "paired t test at 5 % with Holm's correction over all pairs" in table.caption
    assert "95 %" not in table.caption


def test_roles_that_compete_do_so_on_the_same_data_alone() -> None:
    jobs = [job({f"{n}{d}": "auc"}, network=n, data=d) for d in ("digits", "faces") for n in ("mlp", "cnn")]
    values = {"mlpdigits": 1.0, "cnndigits": 2.0, "mlpfaces": 9.0, "cnnfaces": 8.0}
    records = [record(j_cell, "auc", values[j_cell], roles=j["roles"], group="") for j in jobs for j_cell in j["cells"]]
    table = main_table(plan(*jobs, rank=["network"]), records)
    assert [e.rank for row in table.rows for e in row[2:]] == [2, 1, 1, 2]
    assert "among rows that differ in network alone" in table.caption
    assert "No test of differences: with fewer than 3 shared seeds" in table.caption


def test_only_the_metrics_that_are_asked_for_are_ranked() -> None:
    jobs = [job({f"{n}a": "a", f"{n}b": "b"}, network=n) for n in ("mlp", "cnn")]
    records = [record(f"{n}{m}", m, roles={"network": n, "data": "digits"}) for n in ("mlp", "cnn") for m in "ab"]
    table = main_table(plan(*jobs, rank="column", rank_by=["b"]), records)
    assert [[e.rank for e in row[2:]] for row in table.rows] == [[None, 1], [None, 1]]


def test_the_published_value_is_held_against_the_interval_over_samples() -> None:
    entry = {"quantity": "AUC", "value": 0.55, "unit": "", "where": {"metric": "auc"}, "extra": None, "note": "", "verdict": ""}
    jobs, records = seeds_of(0.5, interval=DELONG)
    table = reference_table(plan(*jobs, reference={"citation": "X", "entries": [entry, entry | {"value": 0.7}]}), records)
    assert table is not None
    assert texts(table, "within our interval") == ["yes", "no"]
    assert texts(table, "difference") == ["-0.05000", "-0.2000"]
    assert "DeLong" in table.caption


# Formats.


def test_second_is_underlined() -> None:
    board = [Board(suite="s", tables=[made(*COLUMN, rank="column")])]
    assert "| cnn | digits | <ins>1.012 ± 0.14</ins> |" in markdown.render(board)
    assert r"cnn & digits & \underline{1.012 $\pm$ 0.14} \\" in latex.render(board)
    assert "1.012 ± 0.14+" in terminal.render(board)
    assert "* best, + second" in terminal.render(board)


def test_csv_has_full_precision_and_all_that_is_known() -> None:
    rows = [seeds_of(1.0, 2.0, 2.0), seeds_of(0.1, None, 0.2, network="cnn"), seeds_of(None, None, None, network="vit")]
    text = csv_.render([Board(suite="s", tables=[made(*rows, rank="column")])])
    first, second, third = csv.DictReader(io.StringIO(text))
    assert float(first["auc"]) == 5 / 3
    assert float(first["auc high"]) - float(first["auc"]) == pytest.approx(1.434217)
    assert (first["auc interval"], first["auc level"]) == ("t over seeds", "0.95")
    assert (first["auc rank"], first["auc seeds"], first["auc asked"], first["auc status"]) == ("1", "3", "3", "ok")
    assert (second["auc"], second["auc seeds"], second["auc status"]) == (repr(0.15000000000000002), "2", "partial")
    assert (third["auc"], third["auc seeds"], third["auc status"]) == ("", "0", "failed")
    assert (first["best"], second["second"]) == ("auc", "auc")


def test_json_has_all_that_is_known() -> None:
    (table,) = json.loads(json_.render([Board(suite="s", tables=[made(seeds_of(1.0, None, 2.0))])]))["tables"]
    entry = table["rows"][0]["auc"]
    assert entry["interval"]["method"] == "t over seeds"
    assert (entry["seeds"], entry["asked"], entry["status"], entry["rank"]) == (2, 3, "partial", None)
    assert entry["cells"] == ["mlpauc0", "mlpauc1", "mlpauc2"]
    assert table["columns"][0]["key"]
    assert set(table["rows"][0]["network"]) == {"text", "value", "best", "second", "struck", "note"}


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=15))
def test_a_hostile_method_is_text_in_every_format(text: str) -> None:
    table = made(seeds_of(0.5, interval=DELONG | {"method": f"={text}"}), seeds_of(0.5, network="=1+1"))
    board = [Board(suite="s", tables=[table])]
    for row in csv.reader(io.StringIO(csv_.render(board))):
        assert not [field for field in row if field.startswith(("=", "+", "@", "\t", "\r"))]
    assert json.loads(json_.render(board))
    assert all(form.render(board) for form in (markdown, latex, terminal))


# Reading what a table needs alone.


def folder_of(tmp_path: Path, chosen: dict[str, Any], records: list[Record]) -> Path:
    (tmp_path / "plan.json").write_text(json.dumps(chosen))
    (tmp_path / "records.jsonl").write_bytes(b"".join(map(write_line, records)))
    return tmp_path


def test_cells_are_what_records_are(tmp_path: Path) -> None:
    jobs, records = seeds_of(0.5, None, 0.7, interval=DELONG)
    odd = [*records, record(records[0].cell, "auc", 0.6, roles=records[0].roles), failed("x", "auc", message="\ud800")]
    folder = folder_of(tmp_path, plan(*jobs), odd)
    wanted = {r.cell for r in odd}
    cells, whole = read_cells(folder, wanted), {r.cell: r for r in read_records(folder, wanted)}
    assert list(cells) == list(whole)
    for cell, found in cells.items():
        for name in ("status", "value", "unit", "direction", "group", "unranked", "error", "params", "uses"):
            assert getattr(found, name) == getattr(whole[cell], name)
    assert main_table(plan(*jobs), cells) == main_table(plan(*jobs), whole.values())
    assert make_board(folder, []).tables == tables(plan(*jobs), whole.values())[0]


@pytest.mark.parametrize(
    "line",
    ['{"cell": "a"}', "[]", '{"cell": 3, "status": "ok"}', "{", '{"cell": "a", "status": "ok", "params": 3, "uses": {}}'],
)
def test_a_line_that_is_no_record_is_an_error_with_its_number(tmp_path: Path, line: str) -> None:
    folder = folder_of(tmp_path, plan(), [record("c")])
    with (folder / "records.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(StoreError, match=r"records\.jsonl:2: this line is no record"):
        read_cells(folder, {"c"})
