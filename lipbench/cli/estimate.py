# SPDX-License-Identifier: Apache-2.0
"""How long what is left of a run will take: a guess, and no more than that."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from lipbench.contract.execution import Work
from lipbench.contract.values import Record

OVERHEAD_S = 0.001
"""What a cell takes at least, so that cells of no measurable cost still count."""


class Estimate:
    """Weighs what is left against what is done, and takes the pace from the run itself.

    A cell weighs what cells of its metric took in this run, else in earlier ones, else what a cell takes on average; a fit or
    a step weighs what those took that are finished.

    Args:
        works: All works of the run.
        past: Label of a metric to mean seconds in earlier runs.
    """

    def __init__(self, works: Sequence[Work], past: Mapping[str, float]) -> None:
        self._past = past
        self._left = Counter(label for work in works for label in _labels(work))
        self._bare = {work.id for work in works if not work.cells}
        self._bare_seconds: list[float] = []
        # With all labels from the start: the live view reads this in a thread of its own.
        self._done = Counter(dict.fromkeys(self._left, 0))
        self._timed: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def cell(self, record: Record) -> None:
        """Take note of a finished cell."""
        self._left[record.metric] -= 1
        self._done[record.metric] += 1
        seconds = record.cost.get("seconds")
        if seconds is not None:  # one that was killed has no cost
            self._timed[record.metric] += 1
            self._seconds[record.metric] += seconds

    def work(self, work: Work, seconds: float | None) -> None:
        """Take note of a finished or failed fit or step; None for one that never began."""
        if work.id in self._bare:
            self._bare.discard(work.id)
            self._bare_seconds += [] if seconds is None else [seconds]

    def seconds_left(self, elapsed: float, running: int) -> float | None:
        """Seconds until all is done; None where nothing is known yet.

        Args:
            elapsed: Seconds since the run started.
            running: How many works run at once.
        """
        weights = {label: self._weight(label) for label in self._left}
        known = [w for w in weights.values() if w is not None]
        if not known:
            return None
        usual = sum(known) / len(known)

        def weigh(cells: Mapping[str, int]) -> float:
            return sum(n * (usual if (w := weights[label]) is None else w) for label, n in cells.items())

        each = sum(self._bare_seconds) / len(self._bare_seconds) if self._bare_seconds else 0.0
        left = weigh(self._left) + len(self._bare) * each
        done = weigh(self._done) + sum(self._bare_seconds)
        if self._done.total():
            return elapsed * left / done
        return left / running if running else None

    def _weight(self, label: str) -> float | None:
        timed = self._timed[label]
        seconds = self._seconds[label] / timed if timed else self._past.get(label)
        return None if seconds is None else max(OVERHEAD_S, seconds)

    def words(self, elapsed: float, running: int) -> str:
        """`about 3 min left, until 16:05`, or `at least ...` where fits are left of which none was timed; empty if unknown."""
        left = self.seconds_left(elapsed, running)
        if left is None or left < 1:
            return ""
        sure = "about" if self._bare_seconds or not self._bare else "at least"
        return f"{sure} {span(left)} left" + (f", until {_clock(left)}" if left >= 60 else "")


def _labels(work: Work) -> Iterable[str]:
    return (cell["metric"]["label"] for cell in work.payload["job"]["cells"]) if work.cells else ()


def span(seconds: float) -> str:
    """A length of time in at most two units.

    >>> [span(s) for s in (0.4, 59, 61, 3600, 90000)]
    ['0 s', '59 s', '1 min', '1 h 0 min', '1 d 1 h']
    """
    s = int(seconds)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min"
    return f"{s // 3600} h {s % 3600 // 60} min" if s < 86400 else f"{s // 86400} d {s % 86400 // 3600} h"


def _clock(seconds: float) -> str:
    """The time of day then, with the day where it is another."""
    now = datetime.fromtimestamp(time.time()).astimezone()
    end = now + timedelta(seconds=min(seconds, 3e8))
    return f"{end:%H:%M}" if end.date() == now.date() else f"{end:%a %d %b %H:%M}"
