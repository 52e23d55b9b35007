# SPDX-License-Identifier: Apache-2.0
"""The audit and the bracket table, on records made by hand."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lipbench_lipschitz.reports.bounds import bounds
from lipbench_lipschitz.reports.brackets import brackets
from report_records import ball, record

from lipbench.api import Entry, Record, Table


def found(*records: Record) -> list[str]:
    return list(bounds(records))


# --- audit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (record("lower", 2.5), record("upper", 2.0)),
        (record("lower", 2.5), record("upper", 2.0, "box")),
        (record("lower", 2.5), record("exact", 2.0)),
        (record("exact", 2.5), record("upper", 2.0)),
        (record("exact", 2.5), record("upper", 2.0, "box")),
        (record("exact", 2.5, "box(1000)"), record("upper", 2.0)),
        (record("exact", 2.5, "box(1)"), record("exact", 2.0, "box(1000)")),
        (record("lower", 2.5, **ball(0.1)), record("upper", 2.0, "ball(0.1)", **ball(0.1))),
        (record("lower", 2.5, **ball(0.1)), record("upper", 2.0, "ball(0.5)", **ball(0.5))),
        (record("lower", 2.5, **ball(0.1)), record("exact", 2.0, "ball(0.1)", **ball(0.1))),
        (record("lower", 2.5, **ball(0.1)), record("upper", 2.0, "box")),
        (record("lower", 2.5, **ball(0.1)), record("exact", 2.0)),
        (record("lower", 2.5, **ball(0.1)), record("upper", 2.0)),
    ],
)
def test_a_lower_value_above_an_upper_one_of_a_region_around_it_is_a_contradiction(low: Record, high: Record) -> None:
    (sentence,) = found(high, low)
    for word in (low.metric, high.metric, "2.5", "net on unit square", str(low.extras["region"]), str(high.extras["region"])):
        assert word in sentence
    assert not found(dataclasses.replace(low, value=1.5), high)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (record("lower", 2.5), record("upper", 2.0, "ball(0.1)", **ball(0.1))),
        (record("exact", 2.5), record("upper", 2.0, "ball(0.1)", **ball(0.1))),
        (record("lower", 2.5, **ball(0.5)), record("upper", 2.0, "ball(0.1)", **ball(0.1))),
        (record("lower", 2.5, **ball(0.1, points=8)), record("upper", 2.0, "ball(0.1)", **ball(0.1, points=32))),
        (record("lower", 2.5), record("exact", 2.0, "box(0.25)")),
        (record("exact", 2.5, "box(1000)"), record("exact", 2.0)),
        (record("exact", 2.5, "box(1000)"), record("upper", 2.0, "box")),
        (record("lower", 2.5, "R^n"), record("upper", 2.0, "box")),
    ],
)
def test_regions_that_do_not_nest_are_not_compared(low: Record, high: Record) -> None:
    assert not found(low, high)


@pytest.mark.parametrize(
    "change",
    [
        {"task": {"norm": "linf"}},
        {"task": {"layer": "embedding"}},
        {"seed": 1},
        {"roles": {"network": "other", "data": "unit square"}},
        {"roles": {"network": "net", "data": "other"}},
        {"params": {"network": {"width": 4}}},
        {"params": {"data": {"low": 0.0, "high": 2.0}}},
        {"code": {"task": "t", "metric": "m", "network": "changed", "data": "d"}},
        {"data": {"data": "other file"}},
        {"device": "cuda:0"},
        {"unranked": "rounding noise"},
        {"extras": {"kind": "estimate"}},
        {"status": "failed"},
        {"value": math.inf},
    ],
)
def test_values_of_other_things_and_values_without_a_claim_take_no_part(change: dict[str, Any]) -> None:
    upper = record("upper", 2.0)
    assert found(record("lower", 2.5), upper)
    assert not found(record("lower", 2.5, **change), upper)


@pytest.mark.parametrize(
    "task",
    [{"dtype": "bfloat16"}, {"dtype": "float64"}, {"pairs": "noise"}, {"count": 4}, {"points": 4}],
)
def test_the_way_of_searching_does_not_matter(task: dict[str, Any]) -> None:
    assert found(record("lower", 2.5, task=task), record("upper", 2.0), record("exact", 3.0))
    assert found(record("lower", 2.5, task=task), record("exact", 2.0))


def test_two_exact_values_must_agree() -> None:
    (sentence,) = found(record("exact", 2.5), record("exact", 2.0, metric="milp"))
    assert sentence.index("regions") < sentence.index("milp")
    assert not found(record("exact", 2.5), record("exact", 2.5, metric="milp"))


def test_a_struck_upper_bound_and_an_estimate_contradict_nothing() -> None:
    assert not found(record("lower", 2.5), record("upper", 2.0, unranked="stopped by the node limit"), record("estimate", 1.0))


def test_rounding_of_upper_and_exact_values_is_tolerated() -> None:
    assert not found(record("lower", 2.0 * (1 + 5e-10)), record("upper", 2.0), record("exact", 2.0))
    assert len(found(record("lower", 2.0 * (1 + 5e-9)), record("upper", 2.0), record("exact", 2.0))) == 2


def test_an_exact_value_counts_with_both_ends_of_its_enclosure() -> None:
    enclosure = {"low": 2.0, "high": 2.1, "level": 1.0, "method": "mixed-integer gap"}
    milp = record("exact", 2.0, metric="milp", interval=enclosure)
    assert not found(milp, record("lower", 2.05))
    assert len(found(milp, record("lower", 2.15))) == 1
    assert len(found(milp, record("upper", 1.9))) == 1


def test_a_lower_bound_with_an_estimated_error_contradicts_a_proof_but_an_unproved_upper_bound_claims_nothing() -> None:
    unproved = {"certified": False}
    assert found(record("lower", 2.5, extras=unproved), record("upper", 2.0))
    assert not found(record("lower", 2.5), record("upper", 2.0, extras=unproved))


def test_each_contradicting_couple_has_a_sentence() -> None:
    lows = [record("lower", v, metric=m) for m, v in (("line_search", 2.5), ("pair_ascent", 2.6), ("random_pairs", 1.0))]
    highs = [record("upper", 2.0), record("upper", 2.4, metric="seqlip"), record("upper", 9.0, metric="spectral_product")]
    said = found(*lows, *highs, *lows)
    assert len(said) == len(set(said)) == 4


@given(
    values=st.lists(st.tuples(st.sampled_from(["lower", "upper"]), st.floats(0.01, 100.0)), max_size=8),
    seed=st.integers(0, 10),
)
def test_the_audit_speaks_exactly_where_the_bracket_is_empty_in_whatever_order(
    values: list[tuple[str, float]], seed: int
) -> None:
    records = [record(kind, value) for kind, value in values]
    low = max((v for k, v in values if k == "lower"), default=0.0)
    high = min((v for k, v in values if k == "upper"), default=math.inf)
    said = found(*records)
    assert bool(said) == (low > high * (1 + 1e-9))
    random.Random(seed).shuffle(records)  # noqa: S311
    assert found(*records) == said


# --- table -----------------------------------------------------------------------------------------------------------


def line(table: Table, row: int = 0) -> dict[str, Entry]:
    return {column.name: entry for column, entry in zip(table.columns, table.rows[row], strict=True)}


def note(table: Table, entry: Entry) -> str:
    return "" if entry.note is None else table.notes[entry.note - 1]


def test_a_row_holds_the_tightest_bounds_with_their_metrics_and_the_gap() -> None:
    records = [
        record("lower", 1.5),
        record("lower", 1.6, metric="pair_ascent"),
        record("lower", 9.0, metric="line_search published", unranked="rounding noise"),
        record("upper", 1.75, metric="seqlip", extras={"certified": False}),
        record("estimate", 1.95),
        record("exact", 1.7),
        record("upper", 2.0),
        record("upper", 4.0, metric="spectral_product"),
        record("upper", 1.8, "box", metric="interval_jacobian"),
    ]
    table = brackets(records)
    assert len(table.rows) == 1
    row = line(table)
    assert [row[k].text for k in ("network", "data", "region")] == ["net", "unit square", "box"]
    assert (row["lower"].value, row["lower by"].text) == (1.6, "pair_ascent")
    assert row["exact"].value == 1.7
    assert (row["upper"].value, row["upper by"].text) == (1.8, "interval_jacobian")
    assert row["gap in %"].value == pytest.approx(12.5)
    assert row["gap in %"].text == "12.50"
    assert not any(e.best for e in table.rows[0])
    assert not table.notes
    assert brackets(records[::-1]) == table


def test_an_estimated_rounding_error_is_said() -> None:
    table = brackets([record("lower", 1.5, extras={"certified": False}), record("upper", 2.0)])
    assert line(table)["lower"].value == 1.5
    assert note(table, line(table)["lower"]) == "its rounding error is estimated and subtracted, not proved"


def test_a_bound_of_a_wider_region_is_named_so() -> None:
    assert line(brackets([record("lower", 1.0), record("upper", 2.0)]))["upper by"].text == "schur on R^n"


def test_several_seeds_are_averaged_with_their_gaps() -> None:
    records = [
        *(record("lower", v, seed=s) for s, v in enumerate((1.0, 2.0, 3.0))),
        record("lower", 2.5, seed=1, metric="pair_ascent"),
        *(record("upper", v, seed=s) for s, v in enumerate((2.0, 5.0, 3.0))),
    ]
    table = brackets(records)
    row = line(table)
    assert row["seeds"].value == 3
    assert row["lower"].value == pytest.approx((1.0 + 2.5 + 3.0) / 3)
    assert row["lower by"].text == "line_search / pair_ascent"
    assert row["upper"].value == pytest.approx(10 / 3)
    assert row["gap in %"].value == pytest.approx(100 * (1.0 + 1.0 + 0.0) / 3)
    assert "means" in table.caption


def test_a_seed_without_a_bound_is_said() -> None:
    table = brackets([record("lower", 1.0), record("lower", 3.0, seed=1), record("upper", 4.0, seed=1)])
    row = line(table)
    assert row["lower"].value == 2.0
    assert row["upper"].value == 4.0
    assert note(table, row["upper"]) == "1 of 2 seeds"
    assert row["gap in %"].value == pytest.approx(100 / 3)


def test_balls_have_rows_of_their_own_and_wider_bounds_apply_to_them() -> None:
    records = [
        record("lower", 1.5),
        record("lower", 1.2, **ball(0.1)),
        record("upper", 1.4, "ball(0.1)", metric="interval_jacobian", **ball(0.1)),
        record("lower", 1.3, **ball(0.5)),
        record("upper", 7.0, "ball(0.5)", metric="interval_jacobian", **ball(0.5)),
        record("upper", 2.0),
        record("upper", 1.0, seed=1),
        record("lower", 0.9, seed=1),
    ]
    table = brackets(records)
    rows = [line(table, i) for i in range(3)]
    assert [r["region"].text for r in rows] == ["box", "ball(0.1)", "ball(0.5)"]
    assert [r["seeds"].value for r in rows] == [2, 1, 1]
    assert [r["lower"].value for r in rows] == [1.2, 1.2, 1.3]
    assert [r["upper"].value for r in rows] == [1.5, 1.4, 2.0]
    assert [r["upper by"].text for r in rows] == ["schur on R^n", "interval_jacobian", "schur on R^n"]


def test_a_lower_bound_in_balls_is_one_on_the_box() -> None:
    records = [record("lower", 1.0), record("lower", 1.2, metric="pair_ascent", **ball(0.1))]
    assert line(brackets(records))["lower by"].text == "pair_ascent"


def test_rows_are_for_one_constant_each() -> None:
    others = [{"task": {"norm": "linf"}}, {"task": {"layer": "embedding"}}, {"params": {"network": {"width": 4}}}]
    table = brackets([record("lower", 1.0), *(record("upper", 2.0, **o) for o in others)])
    assert len(table.rows) == 4
    assert {c.name for c in table.columns} >= {"norm", "layer"}
    assert all("-" in {line(table, i)[k].text for k in ("lower", "upper")} for i in range(4))


def test_raw_units_are_shown_where_they_differ_from_the_unit_of_the_table() -> None:
    photos = {"network": "net", "data": "photographs"}
    table = brackets(
        [
            record("lower", 1.0),
            record("lower", 2.55, unit=255.0, roles=photos),
            record("upper", 5.1, unit=255.0, roles=photos),
            record("upper", 5.1, unit=255.0, roles={"network": "net", "data": "scans"}),
        ]
    )
    raw = {line(table, i)["data"].text: line(table, i)["K per raw unit"].text for i in range(3)}
    assert raw == {"unit square": "", "photographs": "0.01 to 0.02", "scans": "at most 0.02"}
    assert "K per raw unit" not in line(brackets([record("lower", 1.0)]))


def test_what_is_missing_or_failed_is_said() -> None:
    fault = {"class": "oom", "message": "MemoryError: no\nroom"}
    table = brackets(
        [
            record("lower", 9.0, unranked="rounding noise"),
            record("upper", 4.0, status="failed", value=None, error=fault),
            record("upper", 4.0, status="timeout", value=None, seed=1, error=None, metric="milp"),
        ]
    )
    row = line(table)
    assert note(table, row["network"]) == "milp failed (timeout); schur failed (oom): MemoryError: no room"
    assert note(table, row["lower"]) == "no certified lower bound; line_search: rounding noise"
    assert note(table, row["upper"]).startswith("no certified upper bound")
    assert row["gap in %"].text == "-"


def test_a_network_on_which_all_failed_still_has_a_row() -> None:
    failed = record("lower", 1.0, status="failed", value=None, error={"class": "nan", "message": "NaN"})
    row = line(brackets([failed]))
    assert [row[k].text for k in ("region", "lower", "upper")] == ["box", "-", "-"]


def test_a_contradiction_and_a_zero_are_said_at_the_gap() -> None:
    wrong = brackets([record("lower", 3.0), record("upper", 2.0)])
    assert note(wrong, line(wrong)["gap in %"]) == "the lower bound lies above the upper bound"
    zero = brackets([record("lower", 0.0), record("upper", 2.0)])
    assert note(zero, line(zero)["gap in %"]) == "a lower bound is 0"
    closed = brackets([record("lower", 2.0), record("upper", 2.0)])
    assert line(closed)["gap in %"].text == "< 0.01"


def test_rows_are_sorted_as_a_reader_would() -> None:
    names = ["relu 2-16-2", "relu 2-8-2", "cnn"]
    table = brackets([record("lower", 1.0, roles={"network": n, "data": "plane"}) for n in names])
    assert [r[0].text for r in table.rows] == ["cnn", "relu 2-8-2", "relu 2-16-2"]


def test_nothing_gives_an_empty_table() -> None:
    for records in ([], [record("estimate", 1.0)], [record("estimate", 1.0, extras={"kind": "other"})]):
        assert brackets(records).rows == ()
