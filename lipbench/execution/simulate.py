# SPDX-License-Identifier: Apache-2.0
"""A schedule without processes: when and where each work would run if all took as long as is expected."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from lipbench.contract.execution import Work
from lipbench.execution.devices import Place, Pool
from lipbench.execution.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A work and its time."""

    work: Work
    device: str
    start: float
    """Seconds from the beginning of the run."""
    end: float


def simulate(works: Sequence[Work], pool: Pool) -> list[Turn]:
    """The turns of all works, in the order in which they begin."""
    schedule = Schedule(works, max((pool.slots(w) for w in {work.resources for work in works}), default=1))
    turns: list[Turn] = []
    running: list[tuple[float, int, Work, Place]] = []
    now = 0.0
    while True:
        while (work := schedule.take(lambda shape: pool.find(shape[0]) is not None)) is not None:
            place = pool.find(work.resources)
            assert place is not None  # noqa: S101  (the schedule was told which shapes have room)
            pool.occupy(place, work.resources)
            turns.append(Turn(work=work, device=place.device, start=now, end=now + work.seconds))
            heapq.heappush(running, (now + work.seconds, len(turns), work, place))
        if not running:
            return turns
        now, _, done, place = heapq.heappop(running)
        pool.leave(place, done.resources)
        schedule.made(done.id)
