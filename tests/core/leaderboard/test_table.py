# SPDX-License-Identifier: Apache-2.0
"""The main table: means, ranks, notes, rows."""

from __future__ import annotations

import pytest
from board_cases import at, failed, job, note, plan, record, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lipbench.leaderboard.grid import current
from lipbench.leaderboard.numbers import format_number, mean_interval
from lipbench.leaderboard.page import Board
from lipbench.leaderboard.render import csv_, json_, latex, markdown
from lipbench.leaderboard.table import main_table


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (12.3456, 4, "12.35"),
        (1.0, 4, "1"),
        (0.99999999, 4, "1.000"),
        (9999.6, 4, "10000"),
        (123456.7, 4, "123500"),
        (1234567.8, 4, "1.235e6"),
        (0.00012345, 2, "0.00012"),
        (0.000012345, 2, "1.2e-5"),
        (-2.5, 4, "-2.500"),
        (-0.0, 4, "0"),
        (0.1, 17, "0.10000000000000001"),
    ],
)
def test_numbers_have_the_digits_asked_for(value: float, digits: int, shown: str) -> None:
    assert format_number(value, digits) == shown


def test_the_interval_is_that_of_student() -> None:
    # 1, 2, 6: mean 3, variance 7, t(0.975, 2) = 4.302653, half-width 4.302653 * sqrt(7 / 3) = 6.572410.
    mean, half = mean_interval([1.0, 2.0, 6.0])
    assert mean == 3.0
    assert half == pytest.approx(6.572410, abs=1e-6)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12))
def test_the_interval_agrees_with_scipy(values: list[float]) -> None:
    mean, half = mean_interval(values)
    expected = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    assert half == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert min(values) <= mean <= max(values)


def test_huge_values_have_a_mean() -> None:
    assert mean_interval([1.7e308, 1.7e308]) == (1.7e308, 0.0)


def test_seeds_are_averaged_with_their_interval() -> None:
    three = plan(*(job({f"c{s}": "steepness"}, seed=s) for s in range(3)))
    table = main_table(three, [record(f"c{s}", value=v, seed=s) for s, v in enumerate((1.0, 2.0, 6.0))])
    entry = at(table, 0, "steepness")
    assert (entry.text, entry.value, entry.note) == ("3 ± 6.6", 3.0, None)
    assert "over 3 seeds" in table.caption


def test_one_seed_is_a_number() -> None:
    table = main_table(plan(job({"c": "steepness"})), [record("c", value=2.34567)])
    assert at(table, 0, "steepness").text == "2.346"
    assert [c.name for c in table.columns] == ["network", "data", "steepness"]
    assert table.caption == "One seed, and the metrics give no intervals."


def test_lost_seeds_are_said() -> None:
    three = plan(*(job({f"c{s}": "steepness"}, seed=s) for s in range(4)))
    records = [
        record("c0", value=1.0),
        failed("c1", kind="timeout", message="no answer in 60 s", seed=1),
        record("c2", value=3.0, seed=2),
    ]
    table = main_table(three, records)
    entry = at(table, 0, "steepness")
    assert entry.value == 2.0
    assert note(table, entry) == "2 of 4 seeds; seed 1: timeout: no answer in 60 s; seed 3: not run yet"


def test_failed_and_absent_cells_have_notes_in_order_of_appearance() -> None:
    two = plan(job({"a": "low", "b": "high", "c": "wide"}), job({"d": "low", "e": "high", "f": "wide"}, network="cnn"))
    table = main_table(
        two, [failed("b", "high", message="one\n  line"), record("f", "wide"), failed("e", "high", message="one line")]
    )
    assert [e.text for e in table.rows[0][2:]] == ["-", "failed", "-"]
    assert [e.text for e in table.rows[1][2:]] == ["-", "failed", "1"]
    assert table.notes == ("not run yet", "crash: one line")
    assert [e.note for e in table.rows[1][2:]] == [1, 2, None]


def test_a_failure_of_all_seeds_is_said_once() -> None:
    two = plan(*(job({f"c{s}": "steepness"}, seed=s) for s in range(2)))
    table = main_table(two, [failed("c0"), failed("c1", seed=1)])
    assert note(table, at(table, 0, "steepness")) == "all 2 seeds: crash: it fell"


def test_many_lost_seeds_are_counted() -> None:
    many = plan(*(job({f"c{s}": "steepness"}, seed=s) for s in range(9)))
    table = main_table(many, [record("c0")])
    assert note(table, at(table, 0, "steepness")) == "1 of 9 seeds; seeds 1, 2, 3, 4, 5 and 3 more: not run yet"


def test_what_the_suite_does_not_ask_for_is_empty() -> None:
    table = main_table(plan(job({"a": "low"}), job({"b": "high"}, network="cnn")), [record("a", "low"), record("b", "high")])
    assert texts(table, "high") == ["", "1"]
    assert "Empty" in table.caption


def test_a_value_that_is_not_finite_is_a_failure() -> None:
    table = main_table(plan(job({"a": "low"})), [record("a", "low", float("inf"))])
    assert at(table, 0, "low").text == "failed"
    assert note(table, at(table, 0, "low")).startswith("nan")


# Ranking.


def groups() -> list[tuple[str, float, str, str]]:
    return [
        ("a", 1.0, "lower", "higher"),
        ("b", 2.0, "lower", "higher"),
        ("c", 9.0, "upper", "lower"),
        ("d", 8.0, "upper", "lower"),
    ]


def best_of(rank: str = "row", **changes: dict[str, object]) -> list[str]:
    records = [
        record(name, name, **({"value": value, "group": group, "direction": direction} | changes.get(name, {})))
        for name, value, group, direction in groups()
    ]
    table = main_table(plan(job({name: name for name, *_ in groups()}), rank=rank), records)
    return [c.name for c, e in zip(table.columns, table.rows[0], strict=True) if e.best]


def test_the_best_of_each_group_is_bold() -> None:
    assert best_of() == ["b", "d"]


def test_no_rank_no_bold() -> None:
    assert best_of("none") == []


def test_a_value_alone_in_its_group_is_not_bold() -> None:
    assert best_of(d={"group": "exact"}) == ["b"]
    assert best_of(d={"status": "failed", "value": None}) == ["b"]


def test_values_without_group_or_direction_or_with_another_unit_do_not_compete() -> None:
    assert best_of(b={"group": ""}) == ["d"]
    assert best_of(b={"direction": "none"}) == ["d"]
    assert best_of(b={"unit": "m"}) == ["d"]


def test_struck_values_are_never_best_and_say_why() -> None:
    assert best_of(b={"unranked": "noise"}) == ["d"]  # which leaves a alone in its group
    cells = job({name: name for name in "abc"})
    records = [record("a", "a", 1.0), record("b", "b", 3.0, unranked="noise"), record("c", "c", 2.0)]
    table = main_table(plan(cells), records)
    entry = at(table, 0, "b")
    assert (entry.struck, entry.best, note(table, entry)) == (True, False, "noise")
    assert at(table, 0, "c").best
    assert "Struck through" in table.caption


def test_one_struck_seed_strikes_the_mean() -> None:
    two = plan(*(job({f"a{s}": "low", f"b{s}": "high"}, seed=s) for s in range(2)))
    low = [record(f"a{s}", "low", 1.0, seed=s) for s in range(2)]
    high = [record(f"b{s}", "high", 2.0, seed=s, unranked="noise" if s else None) for s in range(2)]
    table = main_table(two, [*low, *high])
    assert at(table, 0, "high").struck
    assert note(table, at(table, 0, "high")) == "seed 1: noise"


def test_ties_are_all_bold() -> None:
    table = main_table(
        plan(job({"a": "a", "b": "b", "c": "c"})), [record("a", "a", 2.0), record("b", "b", 2.0), record("c", "c", 1.0)]
    )
    assert [e.best for e in table.rows[0][2:]] == [True, True, False]


def test_rank_by_column_compares_rows() -> None:
    jobs = [job({f"{n}a": "a", f"{n}b": "b"}, network=n) for n in ("mlp", "cnn", "big")]
    values = {"mlp": (1.0, 5.0), "cnn": (2.0, 4.0), "big": (3.0, 9.0)}
    records = [
        record(f"{n}{m}", m, v, roles={"network": n, "data": "digits"}, group="other" if n == "big" else "lower")
        for n, pair in values.items()
        for m, v in zip("ab", pair, strict=True)
    ]
    table = main_table(plan(*jobs, rank="column"), records)
    assert [[e.best for e in row[2:]] for row in table.rows] == [[False, True], [True, False], [False, False]]
    assert "in a column" in table.caption


@settings(deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "lower", "upper"]),
            st.sampled_from(["higher", "lower", "none"]),
            st.integers(0, 3),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(["row", "column", "none"]),
)
def test_bold_is_never_beaten_within_its_group(cells: list[tuple[str, str, int, bool]], rank: str) -> None:
    records = [
        record(f"c{i}", f"m{i}", float(v), group=g, direction=d, unranked="no" if struck else None)
        for i, (g, d, v, struck) in enumerate(cells)
    ]
    table = main_table(plan(job({f"c{i}": f"m{i}" for i in range(len(cells))}), rank=rank), records)
    for i, (g, d, v, struck) in enumerate(cells):
        rivals = [c for c in cells if c[0] == g and c[1] == d and not c[3]]
        values = [c[2] for c in rivals]
        wins = rank == "row" and g != "" and d != "none" and not struck and len(rivals) > 1
        assert at(table, 0, f"m{i}").best == (wins and v == (max(values) if d == "higher" else min(values)))


# Columns, rows and plans.


def test_units_that_differ_within_a_column_go_into_notes() -> None:
    two = plan(job({"a": "low", "x": "high"}), job({"b": "low", "y": "high"}, network="cnn"))
    cnn = {"network": "cnn", "data": "digits"}
    records = [
        record("a", "low", unit="m"), record("b", "low", unit="km", direction="lower", roles=cnn),
        record("x", "high", unit="s"), record("y", "high", unit="s", roles=cnn),
    ]  # fmt: skip
    table = main_table(two, records)
    low, high = table.columns[2:]
    assert (low.unit, low.direction, high.unit, high.direction) == ("", "none", "s", "higher")
    assert [note(table, at(table, r, "low")) for r in range(2)] == ["unit: m; higher is better", "unit: km; lower is better"]
    assert at(table, 0, "high").note is None


def test_seeds_that_differ_in_more_than_the_seed_are_not_averaged() -> None:
    two = plan(*(job({f"c{s}": "steepness"}, seed=s) for s in range(2)))
    table = main_table(two, [record("c0", value=1.5), record("c1", value=2.5, seed=1, unit="m")])
    entry = at(table, 0, "steepness")
    assert (entry.text, entry.value) == ("1.500, 2.500", None)
    assert note(table, entry) == "seeds differ in unit, so there is no mean"


def test_varying_parameters_become_rows_where_they_vary() -> None:
    jobs = [job({f"{n}": "steepness"}, norm=n, dtype="float32") for n in ("l2", "linf")]
    table = main_table(plan(*jobs), [])
    assert [c.name for c in table.columns] == ["network", "data", "norm", "steepness"]
    assert texts(table, "norm") == ["l2", "linf"]


def test_a_key_that_was_left_out_comes_back_rather_than_be_averaged_over() -> None:
    jobs = [job({f"{n}{d}": "steepness"}, network=n, data=d) for n in ("mlp", "cnn") for d in ("digits", "moons")]
    table = main_table(plan(*jobs, rows=["network"]), [])
    assert [c.name for c in table.columns] == ["network", "data", "steepness"]
    assert len(table.rows) == 4
    one_data = main_table(plan(*(job({n: "steepness"}, network=n) for n in ("mlp", "cnn")), rows=["network"]), [])
    assert [c.name for c in one_data.columns] == ["network", "steepness"]


def test_a_parameter_that_only_some_jobs_set_is_read_from_the_records() -> None:
    jobs = [job({"a": "steepness"}), job({"b": "steepness"}, radius=0.5)]
    assert texts(main_table(plan(*jobs), []), "radius") == ["default", "0.5"]
    shown = main_table(plan(*jobs), [record("a", task_params={"radius": None})])
    assert texts(shown, "radius") == ["null", "0.5"]
    same = main_table(
        plan(job({"a": "low"}), job({"b": "high"}, radius=0.5)), [record("a", "low", task_params={"radius": 0.5})]
    )
    assert len(same.rows) == 1


def test_jobs_of_several_blocks_share_a_row() -> None:
    blocks = plan(job({"a0": "low"}), job({"a1": "low"}, seed=1), job({"b0": "high"}))
    table = main_table(blocks, [record("a0", "low", 1.0), record("a1", "low", 3.0, seed=1), record("b0", "high", 5.0)])
    assert len(table.rows) == 1
    assert [e.value for e in table.rows[0][2:]] == [2.0, 5.0]


def test_jobs_that_only_a_label_confuses_become_variants() -> None:
    twins = plan(job({"a": "low", "b": "high"}), job({"c": "low", "d": "high"}))
    table = main_table(twins, [record("a", "low", 1.0), record("c", "low", 2.0)])
    assert texts(table, "variant") == ["1", "2"]
    assert [at(table, r, "low").value for r in range(2)] == [1.0, 2.0]
    metrics = main_table(plan(job({"a": "low", "b": "low"})), [record("a", "low", 1.0), record("b", "low", 2.0)])
    assert [at(metrics, r, "low").value for r in range(2)] == [1.0, 2.0]


def test_a_metric_may_be_called_like_a_role() -> None:
    table = main_table(plan(job({"a": "network"})), [record("a", "network")])
    assert [c.name for c in table.columns] == ["network", "data", "network (metric)"]


def test_records_of_older_cells_are_ignored() -> None:
    table = main_table(plan(job({"new": "steepness"})), [record("old", value=7.0), record("new", value=8.0)])
    assert [e.value for e in table.rows[0][2:]] == [8.0]
    assert [r.cell for r in current(plan(job({"new": "steepness"})), [record("old"), record("new")])] == ["new"]


def test_without_a_plan_the_latest_record_of_each_kind_counts() -> None:
    records = [
        record("old", value=1.0, run="20250101-000000-ffffff"),
        record("new", value=2.0, run="20260101-000000-000000"),
        record("cnn", value=3.0, roles={"network": "cnn", "data": "digits"}),
    ]
    table = main_table({}, records)
    assert [(r[0].text, r[2].value) for r in table.rows] == [("cnn", 3.0), ("mlp", 2.0)]
    assert main_table({}, []).rows == []


def test_of_two_records_of_a_cell_the_later_run_counts() -> None:
    pair = [record("c", value=1.0, run="20250101-0"), record("c", value=2.0, run="20260101-0")]
    for records in (pair, pair[::-1]):
        assert main_table(plan(job({"c": "steepness"})), records).rows[0][2].value == 2.0


@settings(deadline=None, derandomize=True)
@given(st.data())
def test_the_order_of_the_records_changes_no_byte(data: st.DataObject) -> None:
    jobs, records = [], []
    for n in ("mlp", "cnn"):
        for seed in range(3):
            cells = {f"{n}{seed}{m}": m for m in ("a", "b")}
            jobs.append(job(cells, seed=seed, network=n))
            for cell, m in cells.items():
                value = data.draw(st.floats(-1e9, 1e9))
                made = record(
                    cell,
                    m,
                    value,
                    seed=seed,
                    roles={"network": n, "data": "digits"},
                    unranked=data.draw(st.sampled_from([None, "no"])),
                )
                records.append(failed(cell, m, seed=seed, roles=made.roles) if data.draw(st.booleans()) else made)
    shuffled = data.draw(st.permutations(records))
    for chosen in (plan(*jobs), {}):
        boards = [[Board(suite="s", tables=[main_table(chosen, given)])] for given in (records, shuffled)]
        for form in (markdown, csv_, json_, latex):
            assert form.render(boards[0]) == form.render(boards[1])
