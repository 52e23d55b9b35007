# SPDX-License-Identifier: Apache-2.0
"""What becomes of works, told by messages and a clock that is set by hand: answers, faults, further tries, lost workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from execution_cases import anywhere, work

from lipbench.api import Dispatch, Event, Work
from lipbench.execution.dispatch import BACKOFF_S

OOM = {"class": "oom", "message": "MemoryError"}
NET = {"class": "crash", "message": "ConnectionError"}


class Books:
    """A dispatch with a clock and a list of what it emitted."""

    def __init__(self, works: Sequence[Work], retries: int = 2) -> None:
        self.now, self.events = 0.0, list[Event]()
        self.dispatch = Dispatch(works, self.events.append, slots=2, retries=retries, clock=lambda: self.now)

    def start(self) -> Work | None:
        found = self.dispatch.take(anywhere)
        if found is not None:
            self.dispatch.begin(found, "cpu")
        return found

    def must_start(self) -> Work:
        found = self.start()
        assert found is not None
        return found

    def say(self, of: Work, say: str, **data: Any) -> bool:
        return self.dispatch.message({"say": say, "work": of.id, **data})

    def answer(self, of: Work, cell: str, status: str = "ok", **data: Any) -> None:
        self.say(of, "begin", cell=cell)
        self.say(of, "cell", cell=cell, status=status, cost={}, **data)

    def seen(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    def cells(self) -> dict[str, str]:
        answered = {e.data["cell"]: e.data["status"] for e in self.seen("cell")}
        return answered | {cell: e.data["status"] for e in self.seen("failed") for cell in e.work.cells}


def test_a_job_is_finished_when_all_its_cells_have_answered() -> None:
    books = Books([work("job", cells="a b")])
    job = books.must_start()
    books.answer(job, "a")
    assert not books.say(job, "note", text="half way")
    books.answer(job, "b", "failed", error=NET)
    assert books.say(job, "done")
    assert books.cells() == {"a": "ok", "b": "failed"}
    assert [e.kind for e in books.events] == ["started", "cell", "note", "cell", "finished"]
    assert not books.dispatch.open


def test_a_worker_that_dies_costs_its_cell_and_the_rest_runs_again() -> None:
    books = Books([work("job", cells="a b c")])
    job = books.must_start()
    books.answer(job, "a")
    books.say(job, "begin", cell="b")
    books.dispatch.lost(job.id, "timeout", {"class": "timeout", "message": "late"})
    rest = books.must_start()
    assert rest.cells == ("c",)
    assert [c["id"] for c in rest.payload["job"]["cells"]] == ["c"]
    books.answer(rest, "c")
    books.say(rest, "done")
    assert books.cells() == {"a": "ok", "b": "timeout", "c": "ok"}


def test_a_worker_that_was_killed_is_tried_again_with_more_and_more_patience() -> None:
    books = Books([work("job", cells="a b")])
    waits = []
    for _ in range(2):
        job = books.must_start()
        books.say(job, "begin", cell="a")
        books.dispatch.lost(job.id, "failed", NET, "later")
        if "b" in job.cells:
            rest = books.must_start()
            assert rest.cells == ("b",)
            books.answer(rest, "b")
            books.say(rest, "done")
        assert books.start() is None
        waits.append(books.dispatch.wait())
        books.now += waits[-1] or 0.0
    assert waits == [BACKOFF_S, 4 * BACKOFF_S]
    job = books.must_start()
    books.say(job, "begin", cell="a")
    books.dispatch.lost(job.id, "failed", NET, "later")
    assert books.cells() == {"a": "failed", "b": "ok"}
    assert [e.data["cost"] for e in books.seen("cell")] == [{}, {"retries": 2}]
    assert not books.dispatch.open


def test_memory_that_runs_out_halves_the_batch_of_that_cell_alone_and_the_record_says_so() -> None:
    books = Books([work("job", cells="a b")])
    job = books.must_start()
    books.answer(job, "a", "failed", error=OOM, again="smaller")
    books.answer(job, "b")
    books.say(job, "done")
    for scale in (0.5, 0.25):
        part = books.must_start()
        assert (part.cells, part.message()["batch_scale"]) == (("a",), scale)
        if scale == 0.5:
            books.answer(part, "a", "failed", error=OOM, again="smaller")
        else:
            books.answer(part, "a")
        books.say(part, "done")
    assert books.cells() == {"a": "ok", "b": "ok"}
    assert books.seen("cell")[-1].data["cost"] == {"retries": 2}
    assert [e.data["batch_scale"] for e in books.seen("again")] == [0.5, 0.25]


def test_a_batch_is_not_halved_for_ever() -> None:
    books = Books([work("job", cells="a")])
    scales = []
    while (job := books.start()) is not None:
        scales.append(job.batch_scale)
        books.answer(job, "a", "failed", error=OOM, again="smaller")
        books.say(job, "done")
    assert scales == [2.0**-k for k in range(7)]
    assert books.cells() == {"a": "failed"}


def test_a_fault_that_will_not_pass_is_final_at_once() -> None:
    books = Books([work("fit"), work("job", needs="fit", cells="a b")])
    fit = books.must_start()
    books.say(fit, "begin", cell=None)
    books.say(fit, "failed", error={"class": "crash", "message": "ValueError: no"})
    assert books.say(fit, "done")
    assert books.cells() == {"a": "failed", "b": "failed"}
    assert "fit failed: ValueError: no" in books.seen("failed")[-1].data["error"]["message"]
    assert not books.dispatch.open


def test_a_fit_that_is_tried_again_loses_nothing_that_waits_for_it() -> None:
    books = Books([work("fit"), work("job", needs="fit", cells="a")])
    fit = books.must_start()
    books.say(fit, "failed", error=NET, again="later")
    books.say(fit, "done")
    assert books.start() is None
    assert books.dispatch.open
    books.now += BACKOFF_S
    again = books.must_start()
    assert again.id == "fit"
    books.say(again, "done")
    job = books.must_start()
    books.answer(job, "a")
    books.say(job, "done")
    assert books.cells() == {"a": "ok"}


def test_no_retries_means_none() -> None:
    books = Books([work("job", cells="a")], retries=0)
    job = books.must_start()
    books.dispatch.lost(job.id, "failed", NET, "later")
    assert books.cells() == {"a": "failed"}


def test_a_worker_that_says_it_is_done_too_early_is_not_believed() -> None:
    books = Books([work("job", cells="a b")])
    job = books.must_start()
    books.answer(job, "a")
    books.say(job, "done")
    assert books.cells() == {"a": "ok", "b": "failed"}


def test_a_worker_whose_device_is_spoilt_leaves_the_rest_to_another() -> None:
    books = Books([work("job", cells="a b")])
    job = books.must_start()
    books.answer(job, "a", "failed", error=NET)
    books.say(job, "done", spent=True)
    rest = books.must_start()
    assert rest.cells == ("b",)
    # Without an answer in between it is not passed on for ever.
    books.say(rest, "done", spent=True)
    assert books.cells() == {"a": "failed", "b": "failed"}


@pytest.mark.parametrize("say", ["cell", "done", "failed"])
def test_what_a_worker_of_another_work_says_late_is_ignored(say: str) -> None:
    books = Books([work("job", cells="a")])
    books.must_start()
    assert not books.dispatch.message({"say": say, "work": "gone", "cell": "a", "status": "ok", "cost": {}, "error": NET})
    assert books.cells() == {}
