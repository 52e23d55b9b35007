# SPDX-License-Identifier: Apache-2.0
"""What `lipbench compare` calls better, worse or neither, and what it fails on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from compare_cases import both, record, records, write
from conftest import Cli
from scipy import stats

SEEDS = range(5)
NOISE = (0.03, -0.02, 0.01, 0.0, -0.04)
LOW = {s: 0.5 + NOISE[s] for s in SEEDS}
HIGH = {s: 0.9 + NOISE[s - 1] for s in SEEDS}


def lines(cli: Cli, base: Path, new: Path, *more: str) -> tuple[dict[str, Any], int]:
    """Metric to what is said of it in the only row, and the exit code."""
    done = cli("compare", base, new, "--format", "json", *more)
    assert done.err == ""
    document = json.loads(done.out)
    return {line["metric"]: line for suite in document["suites"] for row in suite["rows"] for line in row["metrics"]}, done.code


def test_direction_says_what_is_better(tmp_path: Path, cli: Cli) -> None:
    base = (
        records("a", {"up": LOW, "same": LOW})
        + records("a", {"down": LOW}, direction="lower")
        + records("a", {"flat": LOW}, direction="none")
    )
    new = (
        records("b", {"up": HIGH, "same": LOW})
        + records("b", {"down": HIGH}, direction="lower")
        + records("b", {"flat": HIGH}, direction="none")
    )
    found, code = lines(cli, write(tmp_path / "base", base), write(tmp_path / "new", new))
    assert {metric: line["verdict"] for metric, line in found.items()} == {
        "up": "better", "down": "worse", "flat": "changed", "same": "same"
    }  # fmt: skip
    assert code == 1
    assert lines(cli, tmp_path / "base", tmp_path / "new", "--fail-on", "never")[1] == 0
    assert {seed["verdict"] for seed in found["down"]["seeds"]} == {"worse"}


def test_the_tests_are_those_of_scipy_with_holm(tmp_path: Path, cli: Cli) -> None:
    near = {s: LOW[s] + (0.01, 0.05, 0.02, 0.04, 0.03)[s] for s in SEEDS}
    far = {s + 10: HIGH[s] for s in SEEDS}
    found, _ = lines(cli, *both(tmp_path, {"paired": LOW, "welch": LOW}, {"paired": near, "welch": far}))
    raw = {
        "paired": stats.ttest_rel(list(near.values()), list(LOW.values())).pvalue,
        "welch": stats.ttest_ind(list(far.values()), list(LOW.values()), equal_var=False).pvalue,
    }
    first, last = sorted(raw, key=raw.__getitem__)
    assert found[first]["p"] == pytest.approx(2 * raw[first], rel=1e-9)
    assert found[last]["p"] == pytest.approx(max(2 * raw[first], raw[last]), rel=1e-9)
    assert found["paired"]["test"] == "paired t over 5 seeds"
    assert found["welch"]["test"] == "Welch t, 5 and 5 seeds"


def test_equal_ids_must_have_equal_values(tmp_path: Path, cli: Cli) -> None:
    base = records("a", {"m": {0: 0.5, 1: 0.6}})
    new = [base[0], {**base[1], "value": 0.6000000000000001}, record("m", 2, 9.0, "a")]
    assert lines(cli, write(tmp_path / "base", base), write(tmp_path / "twin", base))[0]["m"]["verdict"] == "same"
    found, code = lines(cli, tmp_path / "base", write(tmp_path / "new", new))
    assert found["m"]["verdict"] == "changed"
    assert found["m"]["remarks"] == ["the same cell has another value: it is not deterministic"]
    assert [seed["verdict"] for seed in found["m"]["seeds"]] == ["same", "changed", "new"]
    assert code == 0
    assert lines(cli, tmp_path / "base", tmp_path / "new", "--fail-on", "any")[1] == 1


def test_equal_ids_can_get_worse(tmp_path: Path, cli: Cli) -> None:
    """As after an update of torch, which ids do not cover."""
    base, new = records("a", {"m": HIGH}), records("a", {"m": LOW})
    found, code = lines(cli, write(tmp_path / "base", base), write(tmp_path / "new", new))
    assert (found["m"]["verdict"], code) == ("worse", 1)


def test_more_seeds_of_the_same_cells_are_no_difference(tmp_path: Path, cli: Cli) -> None:
    base, new = records("a", {"m": LOW}), records("a", {"m": LOW | {s + 5: 99.0 for s in SEEDS}})
    found, _ = lines(cli, write(tmp_path / "base", base), write(tmp_path / "new", new))
    assert found["m"]["verdict"] == "same"


@pytest.mark.parametrize(
    ("threshold", "verdict"),
    [({"absolute": 0.3}, "worse"), ({"absolute": 0.5}, "same"), ({"relative": 0.4}, "worse"), ({"relative": 0.5}, "same"),
     ({"absolute": 0.1, "relative": 0.5}, "same")],
    ids=str,
)  # fmt: skip
def test_a_threshold_is_the_smallest_difference_that_matters(threshold: Any, verdict: str, tmp_path: Path, cli: Cli) -> None:
    found, _ = lines(cli, *both(tmp_path, {"m": HIGH}, {"m": LOW}, {"metrics": {"m": threshold}}))
    assert found["m"]["verdict"] == verdict


@pytest.mark.parametrize(
    ("base", "new", "compare", "verdict"),
    [
        ({0: 0.9}, {0: 0.5}, {}, "untested"),
        ({0: 0.9}, {0: 0.5}, {"metrics": {"m": {"relative": 0.1}}}, "worse"),
        ({0: 0.9}, {0: 0.85}, {"metrics": {"m": {"relative": 0.1}}}, "same"),
        ({0: 0.9}, {1: 0.5}, {"metrics": {"m": {"relative": 0.1}}}, "untested"),
        ({0: 0.9, 1: 0.8}, {0: 0.5, 1: 0.4}, {}, "untested"),
        ({0: 0.9}, {0: 0.9}, {}, "same"),
        # Every seed falls by the same: no noise, and 2/2^5 is no evidence of any.
        (dict.fromkeys(SEEDS, 0.9), dict.fromkeys(SEEDS, 0.5), {}, "untested"),
        (dict.fromkeys(SEEDS, 0.9), dict.fromkeys(SEEDS, 0.5), {"metrics": {"m": {"absolute": 0.1}}}, "worse"),
        (dict.fromkeys(range(6), 0.9), dict.fromkeys(range(6), 0.5), {}, "worse"),
        ({s: (90 + s) / 100 for s in SEEDS}, {s: (89 + s) / 100 for s in SEEDS}, {}, "untested"),
    ],
)
def test_without_noise_to_see_the_threshold_decides(
    base: Any, new: Any, compare: Any, verdict: str, tmp_path: Path, cli: Cli
) -> None:
    found, code = lines(cli, *both(tmp_path, {"m": base}, {"m": new}, compare))
    assert found["m"]["verdict"] == verdict
    assert code == (verdict == "worse")


def test_over_one_seed_the_metric_knows_its_noise(tmp_path: Path, cli: Cli) -> None:
    def with_interval(code: str, value: float, half: float, level: float = 0.95) -> list[dict[str, Any]]:
        return records(
            code, {"m": {0: value}}, interval={"low": value - half, "high": value + half, "level": level, "method": "x"}
        )

    base = write(tmp_path / "base", with_interval("a", 0.9, 0.01))
    found, _ = lines(cli, base, write(tmp_path / "far", with_interval("b", 0.8, 0.02)))
    error = (0.01**2 + 0.02**2) ** 0.5 / stats.norm.ppf(0.975)
    assert found["m"]["p"] == pytest.approx(2 * stats.norm.sf(0.1 / error), rel=1e-6)
    assert found["m"]["verdict"] == "worse"
    assert lines(cli, base, write(tmp_path / "near", with_interval("b", 0.895, 0.02)))[0]["m"]["verdict"] == "same"
    assert lines(cli, base, write(tmp_path / "rigorous", with_interval("b", 0.8, 0.02, 1.0)))[0]["m"]["verdict"] == "untested"


def test_failed_fixed_new_and_gone(tmp_path: Path, cli: Cli) -> None:
    fallen = dict.fromkeys(SEEDS)
    base = records("a", {"falls": LOW, "in part": LOW, "stands up": fallen, "lies": fallen, "goes": LOW, "waits": LOW})
    new = records(
        "b", {"falls": fallen, "in part": LOW | {3: None}, "stands up": LOW, "lies": fallen, "comes": LOW, "waits": LOW}
    )
    waiting = [r["cell"] for r in new if r["metric"] == "waits"]
    found, code = lines(cli, write(tmp_path / "base", base), write(tmp_path / "new", new, absent=waiting))
    assert {metric: line["verdict"] for metric, line in found.items()} == {
        "falls": "failed", "in part": "failed", "stands up": "fixed", "lies": "same", "goes": "gone", "comes": "new", "waits": "failed"
    }  # fmt: skip
    assert found["falls"]["remarks"] == ["0 of 5 seeds: crash: it fell"]
    assert found["in part"]["remarks"] == ["4 of 5 seeds: crash: it fell"]
    assert found["waits"]["remarks"] == ["0 of 5 seeds: not run yet"]
    assert code == 1


@pytest.mark.parametrize(
    ("field", "left", "right"),
    [("direction", "higher", "lower"), ("unit", "m", "km"), ("group", "lower, l2", "lower, linf"), ("unranked", None, "noise")],
)
def test_unlike_values_are_not_compared(field: str, left: Any, right: Any, tmp_path: Path, cli: Cli) -> None:
    base, new = records("a", {"m": LOW}, **{field: left}), records("b", {"m": HIGH}, **{field: right})
    found, code = lines(cli, write(tmp_path / "base", base), write(tmp_path / "new", new))
    assert (found["m"]["verdict"], code) == ("incomparable", 0)
    assert len(found["m"]["remarks"]) == 1


def test_rows_are_matched_by_labels_and_parameters(tmp_path: Path, cli: Cli) -> None:
    """A parameter that only one side varies has the value that the records of the other tell."""
    base = records("a", {"m": LOW}, task_params={"count": 8})
    for r in base:
        r["params"]["metric"] = {"steps": 5}
    new = [r for n in (8, 9) for r in records("b", {"m": LOW}, task_params={"count": n})]
    write(tmp_path / "base", base)
    plan = json.loads((tmp_path / "base/s/plan.json").read_text())
    for job in plan["jobs"]:
        job["varying"] = {}
    (tmp_path / "base/s/plan.json").write_text(json.dumps(plan))
    done = cli("compare", tmp_path / "base", write(tmp_path / "new", new), "--format", "json")
    rows = {row["row"]["count"]: row for row in json.loads(done.out)["suites"][0]["rows"]}
    assert {count: row["verdict"] for count, row in rows.items()} == {"8": "same", "9": "new"}
    assert rows["8"]["metrics"][0]["remarks"] == ["other parameters of metric", "other code of metric"]


def test_a_row_is_as_bad_as_its_worst_metric(tmp_path: Path, cli: Cli) -> None:
    done = cli("compare", *both(tmp_path, {"a": LOW, "b": HIGH, "c": LOW}, {"a": HIGH, "b": LOW, "c": LOW}), "--format", "json")
    (row,) = json.loads(done.out)["suites"][0]["rows"]
    assert row["verdict"] == "worse"
    assert row["row"] == {"network": "mlp", "data": "digits"}


def test_costs_stand_apart_and_count_where_the_suite_says(tmp_path: Path, cli: Cli) -> None:
    def costing(code: str, seconds: float, forwards: int) -> list[dict[str, Any]]:
        return [r | {"cost": {"seconds": seconds + r["seed"] / 100, "forwards": forwards}} for r in records(code, {"m": LOW})]

    base = write(tmp_path / "base", costing("a", 10.0, 100))
    for name, new, compare, shown, code in (
        ("near", costing("b", 12.0, 100), {}, {}, 0),
        ("slow", costing("b", 30.0, 101), {}, {"seconds": False, "forwards": False}, 0),
        (
            "gated",
            costing("b", 30.0, 101),
            {"costs": {"forwards": {"relative": 0.005}}},
            {"seconds": False, "forwards": True},
            1,
        ),
        ("fast", costing("b", 2.0, 50), {"costs": {"seconds": {"relative": 0.1}}}, {"seconds": False, "forwards": False}, 0),
    ):
        done = cli("compare", base, write(tmp_path / name, new, compare), "--format", "json")
        (suite,) = json.loads(done.out)["suites"]
        assert suite["counts"] == {"same": 1}
        assert {cost["cost"]: cost["regression"] for cost in suite["costs"]} == shown, name
        assert done.code == code, name


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e200, 1.7e308])
def test_no_number_is_too_large_or_too_small(scale: float, tmp_path: Path, cli: Cli) -> None:
    base, new = ({s: v * scale for s, v in side.items()} for side in (HIGH, LOW))
    found, _ = lines(cli, *both(tmp_path, {"m": base}, {"m": new}))
    assert found["m"]["verdict"] == "worse"


def test_the_order_of_records_changes_no_byte(tmp_path: Path, cli: Cli) -> None:
    base, new = both(tmp_path, {"m": LOW, "n": HIGH}, {"m": HIGH, "n": LOW})
    before = cli("compare", base, new).out
    for folder in (base, new):
        file = folder / "s/records.jsonl"
        file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))
    assert cli("compare", base, new).out == before


def test_a_seed_that_stands_up_again_is_fixed(tmp_path: Path, cli: Cli) -> None:
    found, code = lines(cli, *both(tmp_path, {"m": {**LOW, 0: None}}, {"m": LOW}))
    assert (found["m"]["verdict"], code) == ("fixed", 0)


def test_failed_seeds_that_only_new_has_are_told(tmp_path: Path, cli: Cli) -> None:
    found, _ = lines(cli, *both(tmp_path, {"m": LOW}, {"m": {70: 0.5, 80: None, 90: None}}))
    assert "1 of 3 seeds: crash: it fell" in found["m"]["remarks"]


def test_a_threshold_that_is_no_number_is_one_line(tmp_path: Path, cli: Cli) -> None:
    done = cli("compare", *both(tmp_path, {"m": LOW}, {"m": HIGH}, {"metrics": {"m": {"absolute": "much"}}}))
    assert done.code == 1
    assert "plan.json: this is no plan (leaderboard.compare.metrics.m.absolute: " in done.err
    assert len(done.err.splitlines()) == 1


def test_a_comment_notifies_nobody(tmp_path: Path, cli: Cli) -> None:
    done = cli("compare", *both(tmp_path, {"@somebody": HIGH}, {"@somebody": LOW}), "--format", "markdown")
    assert "@&#8203;somebody" in done.out
    assert "@somebody" not in done.out
