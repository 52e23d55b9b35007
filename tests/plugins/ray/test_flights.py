# SPDX-License-Identifier: Apache-2.0
"""What the run makes of what a cluster does: here a pretended Ray, whose tasks say and suffer what a test has written."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lipbench_ray.executor import RayExecutor
from lipbench_ray.node import Message, Trip

from lipbench.api import Event, ExecutorSetup, LipbenchError, Resources, Work

Script = Callable[[Trip], Iterator[list[Message] | Exception | None]]
"""Batches of messages; an exception for what `ray.get` raises; None for silence."""


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Stream:
    """What a task gives."""

    def __init__(self, items: Iterator[Any]) -> None:
        self.items, self.taken = items, 0

    def __next__(self) -> Any:
        self.taken += 1
        return next(self.items)

    def completed(self) -> Stream:
        return self


@dataclass
class Cluster:
    """One machine of two cores, and what was asked of it."""

    script: Script
    trips: list[Trip] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    cancelled: list[bool] = field(default_factory=list)

    def module(self) -> Any:
        return SimpleNamespace(
            is_initialized=lambda: True, shutdown=lambda: None, put=lambda thing: thing, get=self.get, wait=self.wait,
            nodes=lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}], remote=lambda **_: lambda _function: self,
            cancel=lambda _stream, force=False: self.cancelled.append(force),
            exceptions=SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError),
        )  # fmt: skip

    def options(self, **asked: Any) -> Any:
        self.asked.append(asked)
        return SimpleNamespace(remote=self._remote)

    def _remote(self, trip: Trip, _baggage: Any) -> Any:
        self.trips.append(trip)
        return Stream(self.script(trip))

    def wait(self, streams: Sequence[Any], num_returns: int = 1, timeout: float = 0.0) -> tuple[list[Any], list[Any]]:
        time.sleep(0.001)
        return list(streams), []

    def get(self, item: Any) -> Any:
        if isinstance(item, Exception):
            raise item
        return item or []


def work(name: str, *cells: str, shared: bool = False, **more: Any) -> Work:
    payload = {"job": {"cells": [{"id": cell} for cell in cells]}}
    return Work(id=name, title=name, payload=payload, cells=cells, shared=shared, **more)


def started(name: str) -> Message:
    return {"say": "started", "work": name, "device": "cpu@m1"}


def cell(name: str, cell: str) -> Message:
    return {"say": "cell", "work": name, "cell": cell, "status": "ok", "cost": {}}


def whole(trip: Trip) -> list[Message]:
    """All works of a trip, done without a fault."""
    said: list[Message] = []
    for one in trip.works:
        name = one.id.replace("-", ".")
        said += [started(name), *(cell(name, c) for c in one.cells), {"say": "done", "work": name}]
    return said


Play = Callable[..., tuple[Cluster, list[Event]]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Run works by a script."""
    monkeypatch.setattr("lipbench.execution.dispatch.BACKOFF_S", 0.001)

    def run(works: list[Work], script: Script, **more: Any) -> tuple[Cluster, list[Event]]:
        cluster = Cluster(script)
        monkeypatch.setitem(sys.modules, "ray", cluster.module())
        events: list[Event] = []
        setup = ExecutorSetup(run="r", artifacts=str(tmp_path / "artifacts"), logs=tmp_path, **{"device": "cpu", **more})
        try:
            RayExecutor(setup).execute(works, events.append)
        finally:
            assert list((tmp_path / "artifacts").iterdir()) == []
        return cluster, events

    return run


def cells(events: list[Event], kind: str = "cell") -> list[str]:
    return [e.data["cell"] for e in events if e.kind == kind]


def test_what_came_back_stays_and_the_rest_goes_out_again(play: Play) -> None:
    def script(trip: Trip) -> Iterator[list[Message] | Exception | None]:
        if trip.works[0].cells == ("a", "b", "c"):
            yield [started("w"), cell("w", "a")]
            yield RayError("the node is dead")
        else:
            yield whole(trip)

    cluster, events = play([work("w", "a", "b", "c")], script)
    assert [trip.works[0].cells for trip in cluster.trips] == [("a", "b", "c"), ("b", "c")]
    assert cells(events) == ["a", "b", "c"]
    (again,) = [e for e in events if e.kind == "again"]
    assert again.data["error"]["message"] == "lost on the cluster: RayError: the node is dead"
    assert {e.data["device"] for e in events if e.kind == "cell"} == {"cpu@m1"}


@pytest.mark.parametrize("begins", [True, False])
def test_a_work_that_loses_every_machine_fails_in_the_end(play: Play, begins: bool) -> None:
    def script(trip: Trip) -> Iterator[list[Message] | Exception | None]:
        if begins:
            yield [started("w")]
        yield RayTaskError(OSError("no space left"))

    cluster, events = play([work("w", "a")], script, retries=1)
    assert len(cluster.trips) == 2
    (failed,) = [e for e in events if e.kind == "failed"]
    assert failed.work.cells == ("a",)
    assert failed.data["error"]["message"] == "lost on the cluster: OSError: no space left"


def test_works_that_share_a_worker_go_together_and_only_those_that_had_begun_pay(play: Play) -> None:
    first = True

    def script(trip: Trip) -> Iterator[list[Message] | Exception | None]:
        nonlocal first
        if first and len(trip.works) > 1:
            first = False
            one, two = (w.id for w in trip.works[:2])
            yield [started(one), *(cell(one, c) for c in trip.works[0].cells), {"say": "done", "work": one}, started(two)]
            yield RayError("gone")
        else:
            yield whole(trip)

    works = [work(f"w{i}", f"c{i}", shared=True, seconds=1.0, uses=frozenset({f"fit{i % 2}"})) for i in range(40)]
    cluster, events = play(works, script)
    assert sorted(cells(events)) == sorted(f"c{i}" for i in range(40))
    together = [[w.uses for w in trip.works] for trip in cluster.trips]
    assert max(map(len, together)) == 10
    assert len(set(together[0])) == 1
    # At the end there is enough for both cores to do.
    assert len(together[-1]) == 1
    (again,) = [e for e in events if e.kind == "again"]
    assert again.work.id == cluster.trips[0].works[1].id


def test_works_of_their_own_go_alone(play: Play) -> None:
    cluster, _ = play([work(f"w{i}", f"c{i}") for i in range(20)], lambda trip: iter([whole(trip)]))
    assert {len(trip.works) for trip in cluster.trips} == {1}


def test_a_part_of_a_job_keeps_its_name(play: Play) -> None:
    cluster, events = play([work("w.1", "a")], lambda trip: iter([whole(trip)]))
    assert cluster.trips[0].works[0].id == "w-1"
    assert cells(events) == ["a"]


def test_a_machine_that_says_nothing_is_given_up(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lipbench_ray.executor.SILENCE_S", 0.05)

    def script(trip: Trip) -> Iterator[list[Message] | Exception | None]:
        yield [started("w")]
        while True:
            yield None

    def quiet(cluster: Cluster, streams: Sequence[Any], num_returns: int = 1, timeout: float = 0.0) -> Any:
        time.sleep(0.01)
        return [s for s in streams if s.taken == 0], []

    monkeypatch.setattr(Cluster, "wait", quiet)
    cluster, events = play([work("w", "a", timeout=0.01)], script, retries=0)
    assert cluster.cancelled == [True]
    (failed,) = [e for e in events if e.kind == "failed"]
    assert "has said nothing for" in failed.data["error"]["message"]


def test_a_machine_that_is_set_up_wrongly_ends_the_run(play: Play) -> None:
    wrong = RayTaskError(LipbenchError("package toy on machine m7 is not installed"))
    with pytest.raises(LipbenchError, match="package toy on machine m7"):
        play([work("w", "a")], lambda trip: iter([wrong]))


def test_logs_come_back(play: Play, tmp_path: Path) -> None:
    log: Message = {"say": "log", "name": "r-1-1.log", "tail": b"last words"}
    play([work("w", "a")], lambda trip: iter([whole(trip), [log]]))
    assert (tmp_path / "r-1-1.log").read_bytes() == b"last words"


def test_an_interrupt_calls_back_what_waits(play: Play) -> None:
    interrupts = 0

    def script(trip: Trip) -> Iterator[list[Message] | Exception | None]:
        nonlocal interrupts
        if trip.works[0].id != "w0":
            while True:
                yield None
        yield [started("w0")]
        interrupts = 1
        yield None
        yield whole(trip)[1:]

    def wait(cluster: Cluster, streams: Sequence[Any], num_returns: int = 1, timeout: float = 0.0) -> Any:
        return streams[:1], []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cluster, "wait", wait)
        cluster, events = play([work(f"w{i}", f"c{i}") for i in range(9)], script, stop=lambda: interrupts)
    assert cells(events) == ["c0"]
    assert len(cluster.trips) == 4
    assert cluster.cancelled == [False] * 3


def test_a_machine_that_is_not_there_is_waited_for_aloud(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lipbench_ray.cluster.alone", lambda address: False)
    works = [work("w", "a", resources=Resources(gpus=0.5), seconds=3.0)]
    cluster, events = play(works, lambda trip: iter([whole(trip)]), address="auto", device="cuda")
    assert cells(events) == ["a"]
    assert cluster.asked == [{"name": "w", "num_cpus": 1.0, "num_gpus": 0.5}]
    (note,) = [e for e in events if e.kind == "note"]
    assert "waits for a machine with num_cpus 1, num_gpus 0.5; there is none now" in note.data["text"]
