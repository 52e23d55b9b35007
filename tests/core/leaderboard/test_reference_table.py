# SPDX-License-Identifier: Apache-2.0
"""Published numbers beside ours."""

from __future__ import annotations

from typing import Any

from board_cases import at, failed, job, note, plan, record, texts

from lipbench.contract.values import Record, Table
from lipbench.leaderboard.references import reference_table


def entry(value: float = 2.5, where: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    empty = {"quantity": "steepest pair", "unit": "", "extra": None, "note": "", "verdict": ""}
    return empty | {"value": value, "where": where or {"metric": "steepness"}} | more


def made(records: list[Record], *entries: dict[str, Any], jobs: list[dict[str, Any]] | None = None) -> Table:
    jobs = jobs or [job({"c": "steepness"})]
    table = reference_table(plan(*jobs, reference={"citation": "Somebody 2020", "entries": list(entries)}), records)
    assert table is not None
    return table


def row(table: Table, number: int = 0) -> list[str]:
    return [e.text for e in table.rows[number]]


def test_no_reference_no_table() -> None:
    assert reference_table(plan(job({"c": "steepness"})), [record("c")]) is None
    assert reference_table({}, [record("c")]) is None


def test_published_and_ours_stand_beside_each_other() -> None:
    table = made([record("c", value=2.0, unit="m")], entry(unit="m", note="table 1", verdict="rounding noise"))
    assert [c.name for c in table.columns] == ["quantity", "published", "ours", "difference", "within our interval", "source"]
    assert [c.unit for c in table.columns] == ["", "m", "m", "m", "", ""]
    assert row(table) == ["steepest pair", "2.5", "2", "-0.5000", "-", "table 1"]
    assert note(table, at(table, 0, "published")) == "rounding noise"
    assert "Somebody 2020" in table.caption


def test_the_published_value_is_looked_for_in_our_interval() -> None:
    jobs = [job({f"c{s}": "steepness"}, seed=s) for s in range(3)]
    seeds = [record(f"c{s}", value=v, seed=s) for s, v in enumerate((1.0, 2.0, 6.0))]  # 3 ± 6.57
    table = made(seeds, entry(9.5), entry(9.6), jobs=jobs)
    assert texts(table, "within our interval") == ["yes", "no"]
    assert texts(table, "ours") == ["3 ± 6.6", "3 ± 6.6"]


def test_the_interval_of_one_seed_is_its_own() -> None:
    own = record("c", value=2.0, interval={"low": 1.0, "high": 3.0, "level": 1.0, "method": "enclosure"})
    assert texts(made([own], entry(3.0), entry(3.1)), "within our interval") == ["yes", "no"]


def test_what_matches_nothing_is_counted() -> None:
    absent = entry(where={"network": "cnn"}), entry(where={"colour": "red"})
    table = made([record("c")], *absent, entry())
    assert len(table.rows) == 1
    assert table.caption.endswith("2 more published values have no counterpart among these cells.")
    assert reference_table(plan(job({"c": "steepness"}), reference={"entries": list(absent)}), [record("c")]) is None


def test_what_did_not_run_or_failed_says_so() -> None:
    table = made([], entry())
    assert (row(table)[2], note(table, at(table, 0, "ours"))) == ("-", "not run yet")
    table = made([failed("c")], entry())
    assert (row(table)[2], note(table, at(table, 0, "ours"))) == ("failed", "crash: it fell")


def test_struck_values_stay_struck() -> None:
    assert at(made([record("c", unranked="noise")], entry()), 0, "ours").struck


def test_patterns_match_labels_names_and_parameters() -> None:
    jobs = [job({"a": "s(fine)"}, network="mlp[0]", norm="l2"), job({"b": "s(fine)"}, network="cnn", norm="linf")]
    records = [
        record("a", "s(fine)", 1.0, roles={"network": "mlp[0]", "data": "digits"}, task_params={"norm": "l2", "count": 32}),
        record("b", "s(fine)", 2.0, roles={"network": "cnn", "data": "digits"}, task_params={"norm": "linf", "count": 64}),
    ]
    named = [Record(**{**r.to_json(), "uses": {**r.uses, "metric": "steepness"}}) for r in records]
    for where, values in (
        ({"network": "mlp[0]"}, [1.0]),
        ({"network": "m*"}, [1.0]),
        ({"norm": "linf"}, [2.0]),
        ({"count": "32"}, [1.0]),
        ({"metric": "steepness", "norm": "l2"}, [1.0]),
        ({"metric": "s(*)", "network": "c?n"}, [2.0]),
    ):
        table = made(named, entry(where=where), jobs=jobs)
        assert [at(table, r, "ours").value for r in range(len(table.rows))] == values, where
    nothing = entry(where={"metric": "steep", "network": "*"})
    assert reference_table(plan(*jobs, reference={"entries": [nothing]}), named) is None


def test_a_label_of_a_role_means_that_one_alone() -> None:
    jobs = [job({"a": "steepness"}, network="mlp"), job({"b": "steepness"}, network="mlp wide")]
    records = [
        record("a", value=1.0, roles={"network": "mlp", "data": "digits"}),
        record("b", value=2.0, roles={"network": "mlp wide", "data": "digits"}),
    ]
    named = [Record(**{**r.to_json(), "uses": {**r.uses, "network": "mlp"}}) for r in records]
    table = made(named, entry(where={"network": "mlp", "metric": "steepness"}), jobs=jobs)
    assert [at(table, r, "ours").value for r in range(len(table.rows))] == [1.0]


def test_an_entry_that_fits_several_cells_has_a_line_for_each() -> None:
    jobs = [job({"a": "steepness"}, network="mlp"), job({"b": "steepness"}, network="cnn")]
    table = made(
        [record("a", value=1.0), record("b", value=2.0, roles={"network": "cnn", "data": "digits"})], entry(), jobs=jobs
    )
    assert texts(table, "quantity") == ["steepest pair (network: mlp)", "steepest pair (network: cnn)"]
    assert texts(table, "ours") == ["1", "2"]


def test_a_number_of_the_extras_takes_the_place_of_the_value() -> None:
    table = made([record("c", value=1.0, extras={"k_raw": 2.0, "kind": "lower"})], entry(extra="k_raw"), entry(extra="kind"))
    assert row(table)[2:4] == ["2", "-0.5000"]
    assert row(table, 1)[2:4] == ["failed", "-"]
    assert note(table, at(table, 1, "ours")) == "missing: the record has no number 'kind' in its extras"


def test_units_that_differ_have_no_difference() -> None:
    table = made([record("c", value=1.0, unit="m")], entry(unit="km"), entry(unit="m"))
    assert row(table)[1:5] == ["2.5 km", "1", "-", "-"]
    assert note(table, at(table, 0, "ours")) == "ours is in another unit: m"
    assert row(table, 1)[3] == "-1.500"
