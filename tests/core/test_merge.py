# SPDX-License-Identifier: Apache-2.0
"""Results of several machines in one folder: what is joined, what is a conflict, and that the order changes no byte."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lipbench.api import LipbenchError
from lipbench.results.lines import write_line
from lipbench.results.merge import merge
from lipbench.results.store import Store, read_records

RUNS = ("20260101-000000-aaaaaa", "20260102-000000-bbbbbb", "20260103-000000-cccccc")


def line(cell: str, run: str, value: float | None, **more: Any) -> dict[str, Any]:
    error = None if value is not None else {"class": "crash", "message": "it fell"}
    return {
        "cell": cell, "suite": "s", "task": "t", "roles": {"model": f"m{cell[-1]}"}, "params": {"task": {}}, "seed": 0,
        "metric": "mean", "uses": {"task": "t"}, "code": {}, "data": {}, "status": "failed" if error else "ok", "value": value,
        "unit": "1", "direction": "higher", "group": "", "error": error, "run": run, **more,
    }  # fmt: skip


def plan(cells: Iterable[str], **words: Any) -> dict[str, Any]:
    jobs = [{"roles": {"model": f"m{c[-1]}"}, "varying": {}, "seed": 0, "cells": {c: "mean"}} for c in cells]
    return {"suite": "s", "title": "S", "task": "t", "leaderboard": {}, "jobs": jobs} | words


def write(folder: Path, lines: Sequence[Mapping[str, Any]], planned: Mapping[str, Any] | None = None, **files: str) -> Path:
    """A folder of results with one suite."""
    suite = folder / "s"
    (suite / "runs").mkdir(parents=True)
    (suite / "records.jsonl").write_text("".join(json.dumps(fields) + "\n" for fields in lines))
    for run in {fields["run"] for fields in lines}:
        (suite / "runs" / f"{run}.json").write_text(json.dumps({"processor": f"that of {run}"}))
    if planned is not None:
        (suite / "plan.json").write_text(json.dumps(planned, indent=1) + "\n")
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


_cells = st.sampled_from(["c0", "c1", "c2", "c3"])
_lines = st.builds(
    lambda cell, run, value, note: line(cell, run, value, extras={"note": note}),
    _cells, st.sampled_from(RUNS), st.sampled_from([None, 1.0, 2.0]), st.integers(0, 2),
)  # fmt: skip
_plans = st.none() | st.permutations(["c0", "c1", "c2", "c3"]).flatmap(
    lambda cells: st.integers(1, 4).map(lambda n: plan(cells[:n]))
)
_logs = st.dictionaries(st.sampled_from(["s__logs__a_DOT_log", "s__samples__x__y_DOT_npz"]), st.text("xy", max_size=3))
_machines = st.lists(st.tuples(st.lists(_lines, min_size=1, max_size=5), _plans, _logs), min_size=3, max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_machines)
def test_neither_order_nor_grouping_nor_repetition_changes_a_byte(machines: Any) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        a, b, c = (write(root / n, lines, planned, **logs) for n, (lines, planned, logs) in zip("abc", machines, strict=True))

        def joined(name: str, *sources: Path) -> Path:
            merge(root / name, sources, keep="newest")
            return root / name

        whole = content(joined("abc", a, b, c))
        assert content(joined("cba", c, b, a)) == whole
        assert content(joined("(ab)c", joined("ab", a, b), c)) == whole
        assert content(joined("a(bc)", a, joined("bc", b, c))) == whole
        assert content(joined("twice", root / "abc", root / "abc", a, c, root / "ab")) == whole
        assert content(joined("abc", b)) == whole  # into what is there already


def _values(folder: Path) -> dict[str, float | None]:
    return {r.cell: r.value for r in read_records(folder / "s")}


def test_a_good_record_counts_before_a_failed_one_and_the_latest_run_within_a_folder(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [line("c0", RUNS[0], 1.0), line("c1", RUNS[1], 2.0), line("c1", RUNS[0], 9.0)])
    b = write(tmp_path / "b", [line("c0", RUNS[2], None), line("c1", RUNS[1], 2.0), line("c2", RUNS[1], None)])
    (merged,) = merge(tmp_path / "out", [a, b])
    assert (merged.cells, merged.shared, list(merged.conflicts)) == (3, 2, [])
    assert _values(tmp_path / "out") == {"c0": 1.0, "c1": 2.0, "c2": None}
    assert {p.stem for p in (tmp_path / "out/s/runs").iterdir()} == set(RUNS)


@pytest.mark.parametrize(
    "change",
    [{"value": 1.0000000000000002}, {"unit": "m"}, {"direction": "lower"}, {"interval": {"low": 0.0, "high": 2.0}}, {"unranked": "x"}],
    ids=str,
)  # fmt: skip
def test_a_conflict_shows_both_and_writes_nothing(change: dict[str, Any], tmp_path: Path, cli: Cli) -> None:
    a = write(tmp_path / "a", [line("c0", RUNS[0], 1.0), line("c1", RUNS[0], 1.0)])
    b = write(tmp_path / "b", [line("c0", RUNS[1], 1.0) | change])
    done = cli("merge", tmp_path / "out", a, b)
    assert done.code == 1
    first, left, right, last = done.err.splitlines()
    assert first == "conflict: s c0: m0 · seed 0 · mean"
    assert f"{a / 's'}: 1.0" in left
    assert f"that of {RUNS[0]}" in left
    assert f"{b / 's'}: " in right
    assert f"that of {RUNS[1]}" in right
    assert last.startswith("1 conflicts, nothing was written")
    assert not (tmp_path / "out").exists()
    done = cli("merge", a, b)
    assert done.code == 1
    assert _values(a) == {"c0": 1.0, "c1": 1.0}


def test_newest_or_first_decides_a_conflict(tmp_path: Path, cli: Cli) -> None:
    a = write(tmp_path / "a", [line("c0", RUNS[0], 1.0)])
    b = write(tmp_path / "b", [line("c0", RUNS[1], 2.0)])
    for keep, sources, value in (
        ("newest", (a, b), 2.0),
        ("newest", (b, a), 2.0),
        ("first", (a, b), 1.0),
        ("first", (b, a), 2.0),
    ):
        done = cli("merge", tmp_path / "out", *sources, "--keep", keep)
        assert done.code == 0, done.err
        assert f"s: 1 cells from 2 folders, 1 in several of them, 1 with two values ({keep} taken)" in done.out
        assert _values(tmp_path / "out") == {"c0": value}
        shutil.rmtree(tmp_path / "out")


def test_shards_of_one_suite_become_the_whole(tmp_path: Path, cli: Cli, suite: Callable[..., Path], toy: Path) -> None:
    file, more = suite(seeds="3"), ["--plugin", str(toy), "--no-plugins"]
    for name, seeds in {"a": ["0"], "b": ["1", "2"], "whole": ["*"]}.items():
        chosen = [word for seed in seeds for word in ("--select", f"seed={seed}")]
        assert cli("run", file, "--results", tmp_path / name, *chosen, *more).code == 0
    done = cli("merge", tmp_path / "out", tmp_path / "a", tmp_path / "b", *more)
    assert done.code == 0, done.err
    assert "toys: 12 cells from 2 folders, 0 in several of them" in done.out
    for name in ("plan.json", "leaderboard.md"):
        assert (tmp_path / "out/toys" / name).read_bytes() == (tmp_path / "whole/toys" / name).read_bytes()
    assert "12 done (=)" in cli("plan", file, "--results", tmp_path / "out", *more).out


def test_plans_are_united_where_they_differ_in_cells_alone(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [line("c0", RUNS[0], 1.0)], plan(["c2", "c0"]))
    b = write(tmp_path / "b", [line("c1", RUNS[1], 2.0)], plan(["c1", "c0"]))
    merge(tmp_path / "out", [a, b])
    united = json.loads((tmp_path / "out/s/plan.json").read_text())
    assert [job["cells"] for job in united["jobs"]] == [{"c0": "mean"}, {"c1": "mean"}, {"c2": "mean"}]
    assert united["title"] == "S"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (plan(["c0"], title="Another"), "differ in title; `lipbench run` the same suite file"),
        (plan(["c0"], profile="quick"), "differ in profile;"),
        (plan(["c0"]) | {"jobs": [{"roles": {"model": "x"}, "varying": {}, "seed": 0, "cells": {"c0": "mean"}}]}, "cell c0 is 'mean'"),
        (plan(["c0"]) | {"jobs": 3}, r"this is no plan \(jobs: Input should be a valid list\)"),
    ],
    ids=["title", "profile", "labels", "garbage"],
)  # fmt: skip
def test_plans_that_say_otherwise_are_an_error(other: dict[str, Any], words: str, tmp_path: Path) -> None:
    a = write(tmp_path / "a", [line("c0", RUNS[0], 1.0)], plan(["c0"]))
    b = write(tmp_path / "b", [line("c0", RUNS[0], 1.0)], other)
    with pytest.raises(LipbenchError, match=words):
        merge(tmp_path / "out", [a, b])
    assert not (tmp_path / "out").exists()


def test_files_beside_the_records_are_joined_and_hidden_ones_are_not(tmp_path: Path) -> None:
    kept = {
        "s__logs__1_DOT_log": "long",
        "s__samples__x": "1",
        "artifacts__f_DOT_safetensors": "T",
        "artifacts__f_DOT_json": "b",
    }
    a = write(tmp_path / "a", [line("c0", RUNS[0], 1.0)], **kept, s___DOT_lock="", s__plots__p_DOT_png="old")
    b = write(
        tmp_path / "b", [line("c1", RUNS[1], 1.0)], s__logs__1_DOT_log="it", s__logs__2_DOT_log="2", s__leaderboard_DOT_md="old",
        artifacts__f_DOT_safetensors="U", artifacts__f_DOT_json="a", artifacts__half_DOT_safetensors="", artifacts__g_DOT_partial="",
    )  # fmt: skip
    (a / "s/link").symlink_to("/etc/hostname")
    merge(tmp_path / "out", [a, b])
    found = content(tmp_path / "out")
    assert {name for name in found if "runs" not in name} == {
        "artifacts/f.json", "artifacts/f.safetensors", "s/logs/1.log", "s/logs/2.log", "s/samples/x", "s/records.jsonl"
    }  # fmt: skip
    assert found["s/logs/1.log"] == b"long"
    assert (found["artifacts/f.safetensors"], found["artifacts/f.json"]) == (b"T", b"b")


def test_a_run_with_two_stories_is_an_error(tmp_path: Path) -> None:
    a, b = (write(tmp_path / name, [line("c0", RUNS[0], 1.0)]) for name in "ab")
    (b / "s/runs" / f"{RUNS[0]}.json").write_text("{}")
    with pytest.raises(LipbenchError, match="differ, but a run has its name for itself"):
        merge(tmp_path / "out", [a, b])


def test_wrong_folders_are_named(tmp_path: Path, cli: Cli) -> None:
    good = write(tmp_path / "good", [line("c0", RUNS[0], 1.0)])
    (tmp_path / "empty").mkdir()
    for wrong, words in {
        tmp_path / "nowhere": "there is no such folder",
        tmp_path / "empty": "has no records",
        good / "s": "is the folder of one suite; name the one above",
    }.items():
        done = cli("merge", tmp_path / "out", good, wrong)
        assert done.code == 2
        assert words in done.err
        assert "Traceback" not in done.err
        assert not (tmp_path / "out").exists()


def test_a_folder_that_a_run_holds_is_left_alone(tmp_path: Path, cli: Cli) -> None:
    out, more = (write(tmp_path / name, [line(f"c{i}", RUNS[i], 1.0)]) for i, name in enumerate(("out", "more")))
    with Store(out / "s"):
        done = cli("merge", out, more)
    assert done.code == 1
    assert "is held by another run" in done.err
    assert _values(out) == {"c0": 1.0}


def test_lines_are_kept_as_they_are(tmp_path: Path) -> None:
    """A name that is no UTF-8 has an escape in its line, which no reading and writing anew may change."""
    a = write(tmp_path / "a", [line("c0", RUNS[0], 1.0)])
    (record,) = read_records(a / "s")
    raw = write_line(record.__class__(**{**vars(record), "extras": {"name": "\udce9", "big": 2**70}}))
    (a / "s/records.jsonl").write_bytes(raw)
    merge(tmp_path / "out", [a])
    assert (tmp_path / "out/s/records.jsonl").read_bytes() == raw
