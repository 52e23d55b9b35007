# SPDX-License-Identifier: Apache-2.0
"""Which work is next: a policy that is simulated here without any process."""

from __future__ import annotations

from typing import Any

import pytest
from execution_cases import anywhere, work
from hypothesis import given, settings
from hypothesis import strategies as st

from lipbench.api import Resources, Work
from lipbench.execution.devices import Machine, Pool
from lipbench.execution.schedule import Schedule
from lipbench.execution.simulate import simulate


def order(schedule: Schedule, warm: str = "") -> list[str]:
    """All that is ready now."""
    taken = []
    while (found := schedule.take(anywhere, warm.split())) is not None:
        taken.append(found.id)
    return taken


def pool(slots: int) -> Pool:
    return Pool.of(Machine(cores=slots), "cpu", slots)


def test_the_longest_is_first_and_equals_come_in_the_order_of_the_plan() -> None:
    works = [work("a", 1, cells="1"), work("b", 5, cells="2"), work("c", 1, cells="3"), work("d", 3, cells="4")]
    assert order(Schedule(works, 2)) == ["b", "d", "a", "c"]


def test_a_short_fit_that_a_long_way_waits_on_comes_before_a_longer_job() -> None:
    works = [work("job", 8, cells="1"), work("fit", 1), work("step", 4, "fit"), work("last", 6, "step", cells="2")]
    assert order(Schedule(works, 2)) == ["fit", "job"]


def test_a_fit_that_many_short_jobs_wait_on_comes_before_a_longer_job() -> None:
    jobs = [work(f"j{i}", 1, "fit", cells=f"c{i}") for i in range(40)]
    assert order(Schedule([work("long", 10, cells="x"), work("fit", 1), *jobs], 2)) == ["fit", "long"]


def test_what_waits_is_freed_by_what_it_needs_and_lost_with_it() -> None:
    works = [work("fit"), work("step", needs="fit"), work("a", needs="fit step", cells="1"), work("b", needs="fit", cells="2")]
    schedule = Schedule(works, 2)
    assert order(schedule) == ["fit"]
    schedule.made("fit")
    assert order(schedule) == ["step", "b"]
    assert [w.id for w in schedule.unmade("step")] == ["a"]
    assert not schedule.waiting
    assert schedule.seconds == pytest.approx(0)


def test_a_work_that_has_no_place_lets_others_pass() -> None:
    big, small = Resources(gpus=1.0), Resources(gpus=0.5)
    works = [work("big", 9, cells="1", resources=big), work("small", 1, cells="2", resources=small)]
    schedule = Schedule(works, 2)
    found = schedule.take(lambda shape: shape[0] == small)
    assert found is not None
    assert found.id == "small"
    assert schedule.take(lambda shape: shape[0] == small) is None


def test_a_warm_work_is_preferred_while_there_is_enough_to_do() -> None:
    works = [work(f"{x}{i}", 1 + (x == "a"), cells=f"{x}{i}", shared=True, uses=x) for x in "ab" for i in range(8)]
    schedule = Schedule(works, 2)
    assert schedule.take(anywhere, ["b"]).id == "b0"  # type: ignore[union-attr]
    assert schedule.take(anywhere).id == "a0"  # type: ignore[union-attr]


def test_a_warm_work_does_not_push_a_long_one_to_the_end() -> None:
    works = [
        work("long", 10, cells="x", shared=True),
        *(work(f"b{i}", 1, cells=f"{i}", shared=True, uses="b") for i in range(8)),
    ]
    assert Schedule(works, 2).take(anywhere, ["b"]).id == "long"  # type: ignore[union-attr]


def test_a_work_that_is_put_back_comes_again() -> None:
    schedule = Schedule([work("a", 2, cells="1 2"), work("b", 1.5, cells="3")], 1)
    first = schedule.take(anywhere)
    assert first is not None
    schedule.put_back(first.only({"2"}))
    assert order(schedule) == ["b", "a"]


@st.composite
def _graphs(draw: st.DrawFn) -> list[Work]:
    works: list[Work] = []
    for i in range(draw(st.integers(1, 30))):
        needs = draw(st.sets(st.sampled_from([w.id for w in works if not w.cells] or [""]), max_size=3)) - {""}
        kind: dict[str, Any] = {} if draw(st.booleans()) else {"cells": f"c{i}", "shared": draw(st.booleans())}
        works.append(work(f"w{i}", draw(st.floats(0.1, 10)), " ".join(needs), **kind))
    return works


@settings(max_examples=60, deadline=None)
@given(_graphs(), st.integers(1, 5))
def test_every_work_has_one_turn_after_what_it_needs_and_no_slot_idles_while_something_is_ready(
    works: list[Work], slots: int
) -> None:
    turns = simulate(works, pool(slots))
    assert sorted(t.work.id for t in turns) == sorted(w.id for w in works)
    end = {t.work.id: t.end for t in turns}
    for turn in turns:
        assert all(end[need] <= turn.start + 1e-9 for need in turn.work.needs)
        assert sum(t.start <= turn.start < t.end for t in turns) <= slots
        ready = max((end[need] for need in turn.work.needs), default=0.0)
        # Between the moment when it could begin and its beginning all slots are taken.
        for moment in {t.end for t in turns if ready <= t.end < turn.start} | ({ready} if ready < turn.start else set()):
            assert sum(t.start <= moment < t.end for t in turns) == slots


def test_a_simulated_schedule_comes_close_to_what_no_schedule_can_beat() -> None:
    works = []
    for fit in range(40):
        works.append(work(f"f{fit}", 5.0 + fit % 7))
        works += [work(f"j{fit}.{i}", 0.5 + (i * 7 + fit) % 11, f"f{fit}", cells=f"c{fit}.{i}") for i in range(25)]
    total, chain = sum(w.seconds for w in works), 11.0 + 11.0
    made = max(turn.end for turn in simulate(works, pool(16)))
    assert max(chain, total / 16) / made > 0.95
