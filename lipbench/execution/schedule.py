# SPDX-License-Identifier: Apache-2.0
"""Which work is next. A policy alone: it knows no clock, no process and no device, so that it can be simulated."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from lipbench.contract.execution import Resources, Work

Shape = tuple[Resources, bool]
"""What a work asks for, and whether it shares a worker: works of one shape fit into the same places."""

_Entry = tuple[float, int, str]
"""Seconds of the way, negative; a running number; the work."""


@dataclass(kw_only=True)
class _Queue:
    """Works that are ready, the one with the longest way to go first. An entry of a work that was taken since is skipped."""

    heap: list[_Entry] = field(default_factory=list)

    def first(self, valid: Mapping[str, int]) -> _Entry | None:
        while self.heap and valid.get(self.heap[0][2]) != self.heap[0][1]:
            heapq.heappop(self.heap)
        return self.heap[0] if self.heap else None


class Schedule:
    """Longest way first.

    The way of a work is its own time and that of what waits for it: the longest chain or, if that is more, all of it spread over
    the slots. So a fit that much waits on comes early, and long jobs are not left for the end.

    A work whose fits and steps a worker has in memory goes before the first one in that order where this costs no idleness:
    what is left must keep all slots busy at least as long as the first one takes after it.

    Args:
        works: All works. What they need and what is not among them is there already.
        slots: How many run at once.
    """

    def __init__(self, works: Iterable[Work], slots: int) -> None:
        self.waiting: dict[str, Work] = {w.id: w for w in works}
        """Works that were not taken yet, ready or not."""
        self.seconds = sum(w.seconds for w in self.waiting.values())
        """Of all that waits."""
        self._slots = max(1, slots)
        self._count = 0
        self._dependents: dict[str, list[str]] = {i: [] for i in self.waiting}
        self._needs: dict[str, set[str]] = {}
        for work in self.waiting.values():
            self._needs[work.id] = {n for n in work.needs if n in self.waiting}
            for need in self._needs[work.id]:
                self._dependents[need].append(work.id)
        self._rank = self._ranks()
        self._ready: dict[str, int] = {}
        """Works that are ready, to the number of their valid entry in the queues."""
        self._queues: dict[Shape, _Queue] = {}
        self._users: dict[str, _Queue] = {}
        """Fit or step to the ready works that read it and may share a worker."""
        for work in list(self.waiting.values()):
            if not self._needs[work.id]:
                self._push(work)

    def take(self, accept: Callable[[Shape], bool], warm: Collection[str] = ()) -> Work | None:
        """The next ready work of an acceptable shape; None where there is none now.

        Args:
            accept: Whether a work of this shape has a place now.
            warm: Fits and steps that an idle worker has in memory.
        """
        heads = [head for shape, queue in self._queues.items() if accept(shape) and (head := queue.first(self._ready))]
        if not heads:
            return None
        best = min(heads)
        chosen = self._warm(best, accept, warm) or best
        work = self.waiting.pop(chosen[2])
        del self._ready[work.id]
        self.seconds -= work.seconds
        return work

    def _warm(self, best: _Entry, accept: Callable[[Shape], bool], warm: Collection[str]) -> _Entry | None:
        heads = [head for name in warm if name in self._users and (head := self._users[name].first(self._ready))]
        heads = [head for head in heads if accept(_shape(self.waiting[head[2]]))]
        if not heads:
            return None
        found = min(heads)
        return found if -best[0] + self.waiting[found[2]].seconds <= self.seconds / self._slots else None

    def put_back(self, work: Work) -> None:
        """Queue a work again, or what is left of it."""
        self.waiting[work.id] = work
        self.seconds += work.seconds
        self._needs[work.id] = set()
        self._rank[work.id] = max(self._rank.get(work.id, 0.0), work.seconds) if not work.cells else work.seconds
        self._push(work)

    def made(self, artifact: str) -> None:
        """Free what waited for this fit or step."""
        for name in self._dependents.get(artifact, ()):
            needs = self._needs[name]
            needs.discard(artifact)
            if not needs and name in self.waiting:
                self._push(self.waiting[name])

    def unmade(self, artifact: str) -> list[Work]:
        """Give up on what waited for this fit or step, and on what waited for that in turn, and return it."""
        lost: list[Work] = []
        open_ = [artifact]
        while open_:
            for name in self._dependents.get(open_.pop(), ()):
                work = self.waiting.pop(name, None)
                if work is not None:
                    self.seconds -= work.seconds
                    lost.append(work)
                    open_.append(name)
        return lost

    def _push(self, work: Work) -> None:
        self._count += 1
        self._ready[work.id] = self._count
        entry = (-self._rank[work.id], self._count, work.id)
        heapq.heappush(self._queues.setdefault(_shape(work), _Queue()).heap, entry)
        if work.shared:
            for name in work.uses:
                heapq.heappush(self._users.setdefault(name, _Queue()).heap, entry)

    def _ranks(self) -> dict[str, float]:
        """For each work its seconds and the way that is left after it."""
        ranks: dict[str, float] = {}
        totals: dict[str, float] = {}
        for name in reversed(self._in_order()):
            after = self._dependents[name]
            behind = sum(totals[a] for a in after)
            own = self.waiting[name].seconds
            ranks[name] = own + max(max((ranks[a] for a in after), default=0.0), behind / self._slots)
            totals[name] = own + behind
        return ranks

    def _in_order(self) -> list[str]:
        """Works, each after those that it needs."""
        left = {name: len(needs) for name, needs in self._needs.items()}
        order = [name for name, count in left.items() if count == 0]
        for name in order:
            for after in self._dependents[name]:
                left[after] -= 1
                if left[after] == 0:
                    order.append(after)
        return order


def _shape(work: Work) -> Shape:
    return work.resources, work.shared
