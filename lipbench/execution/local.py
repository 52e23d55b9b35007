# SPDX-License-Identifier: Apache-2.0
"""The local executor: processes on this machine, each on the device that has room for it, watched and timed out."""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lipbench.contract.errors import LipbenchError
from lipbench.contract.execution import Emit, Event, Executor, Resources, Work
from lipbench.execution import devices
from lipbench.execution.dispatch import Dispatch, Hint
from lipbench.execution.hands import Hand, Hands, Prepared, factories_of
from lipbench.execution.schedule import Shape

GRACE_S = 0.5
"""How long a worker that is done may take to leave before it is killed with all that it started."""

STARTUP_S = 120.0
"""How long a worker may take to import its plugins, on a busy machine, before it takes its first work."""

STUCK_S = 10.0
"""How long the kernel may take to end a process that was killed; then its place is given to others."""

TRIM_S = 0.5
"""How often the length of logs is looked at."""

SPARES = 8
"""Workers that are started before they are needed are no more than this."""


@dataclass(kw_only=True, eq=False)
class _Seat:
    """A worker at a place of the pool."""

    hand: Hand
    place: devices.Place
    resources: Resources
    work: Work | None = None
    sent: bool = False
    deadline: float = float("inf")
    held: frozenset[str] = frozenset()
    """Fits and steps that it has in memory."""


@dataclass(kw_only=True, eq=False)
class _Leaver:
    """A worker that ends, and the place that it still takes."""

    hand: Hand
    seat: _Seat | None
    deadline: float
    killed: bool = False


@dataclass(kw_only=True)
class _Crew:
    """Who does what now."""

    busy: list[_Seat] = field(default_factory=list)
    idle: list[_Seat] = field(default_factory=list)
    """Workers that may be shared and wait for a work, the one that waits longest first."""
    spare: list[Hand] = field(default_factory=list)
    leaving: list[_Leaver] = field(default_factory=list)


def _tell(said: deque[Event], emit: Emit) -> None:
    while said:
        emit(said.popleft())


def _common(works: Sequence[Work]) -> frozenset[str]:
    """The factories that each of these works uses."""
    common: frozenset[str] | None = None
    for work in works:
        found = factories_of(work.payload)
        common = found if common is None else common & found
        if not common:
            break
    return common or frozenset()


def _orders(place: devices.Place, cpus: int) -> dict[str, Any]:
    """What a worker needs to know of where it runs."""
    return {"device": place.local, "cpus": cpus, "environment": devices.environment(place, cpus)}


class LocalExecutor(Executor):
    """Runs works on this machine: a process a job, or one for many jobs that may share it."""

    @classmethod
    def device_class(cls, device: str, address: str | None) -> str:
        """See `Executor`; there is no address here."""
        if address is not None:
            raise LipbenchError(f"--address {address}: executor 'local' runs on this machine alone; leave it out")
        return devices.device_class(device, devices.detect())

    def execute(self, works: Sequence[Work], emit: Emit) -> None:
        """See `Executor`."""
        setup = self.setup
        self._pool = devices.Pool.of(devices.detect(), setup.device, setup.workers)
        self._slots = max((self._pool.slots(asked) for asked in {work.resources for work in works}), default=1)
        # Workers are given their next works before what they have said is written: that waits for the disk.
        said: deque[Event] = deque()
        self._dispatch = Dispatch(works, said.append, slots=self._slots, retries=setup.retries)
        self._hands = Hands(logs=setup.logs, run=setup.run, artifacts=setup.artifacts, places=setup.places)
        self._trim_at = 0.0
        self._alone = [work for work in works if work.cells and not work.shared]
        self._common = _common(self._alone)
        self._crew, self._selector, self._spares = _Crew(), selectors.DefaultSelector(), min(self._slots, SPARES)
        try:
            while setup.stop() < 2:
                if not setup.stop():
                    self._fill()
                _tell(said, emit)
                if not self._crew.busy and (setup.stop() or not self._dispatch.open):
                    break
                self._listen()
            _tell(said, emit)
        finally:
            self._close()

    def _fill(self) -> None:
        """Start works while there is room."""
        while (work := self._dispatch.take(self._has_room, self._memory())) is not None:
            seat = self._seat(work)
            seat.work, seat.sent, seat.deadline = work, False, seat.hand.started + STARTUP_S
            self._crew.busy.append(seat)
            self._dispatch.begin(work, seat.place.device)
            self._give(seat)

    def _wants_spare(self) -> bool:
        """Workers for works to come start while others run; a work of its own then waits for no fork."""
        alone = any(not seat.work.shared for seat in self._crew.busy if seat.work)
        return alone and len(self._crew.spare) < min(self._spares, self._dispatch.waiting)

    def _start_spare(self) -> None:
        try:
            self._crew.spare.append(self._start())
        except LipbenchError:
            self._spares = 0  # there is no room to spare

    def _has_room(self, shape: Shape) -> bool:
        """Whether a work of this shape can begin now, if need be in place of idle workers."""
        resources, shared = shape
        idle = self._crew.idle
        if self._pool.find(resources) is not None or (shared and any(seat.resources == resources for seat in idle)):
            return True
        for seat in idle:
            self._pool.leave(seat.place, seat.resources)
        room = bool(idle) and self._pool.find(resources) is not None
        for seat in idle:
            self._pool.occupy(seat.place, seat.resources)
        return room

    def _memory(self) -> frozenset[str]:
        return frozenset().union(*(seat.held for seat in self._crew.idle))

    def _seat(self, work: Work) -> _Seat:
        """An idle worker that may be shared, best one that has in memory what the work reads; else a new one."""
        crew = self._crew
        if work.shared:
            fitting = [seat for seat in crew.idle if seat.resources == work.resources]
            if fitting:
                seat = max(fitting, key=lambda s: len(s.held & work.uses))
                crew.idle.remove(seat)
                return seat
        while (place := self._pool.find(work.resources)) is None:
            self._dismiss(crew.idle[0])
        hand = next((h for h in crew.spare if h.prepared is None or h.prepared.suits(work)), None)
        if hand is None:
            hand = self._start()
        else:
            crew.spare.remove(hand)
        self._pool.occupy(place, work.resources)
        return _Seat(hand=hand, place=place, resources=work.resources)

    def _dismiss(self, seat: _Seat) -> None:
        """Let an idle worker go. Its place is free at once: what it still has to do is to end."""
        self._crew.idle.remove(seat)
        self._pool.leave(seat.place, seat.resources)
        self._let_go(seat.hand, None)

    def _start(self) -> Hand:
        hand = self._hands.start()
        self._selector.register(hand.outbox, selectors.EVENT_READ)
        self._selector.register(hand.process.sentinel, selectors.EVENT_READ)
        return hand

    def _give(self, seat: _Seat) -> None:
        """Hand the work over, once the worker is there to take it."""
        if seat.sent or not seat.hand.ready or seat.work is None:
            return
        seat.sent = True
        seat.deadline = time.monotonic() + seat.work.timeout
        seat.hand.send(_orders(seat.place, seat.resources.cpus) | {"work": seat.work.message()})

    def _listen(self) -> None:
        """Wait for the next message, death or deadline, and deal with it."""
        wants = self._wants_spare()
        if not self._selector.select(0.0 if wants else self._patience()) and wants:
            self._start_spare()  # which takes milliseconds that nobody waits for now
        if time.monotonic() >= self._trim_at:
            self._trim_at = time.monotonic() + TRIM_S
            for hand in [*(x.hand for x in self._crew.busy), *(x.hand for x in self._crew.idle), *self._crew.spare]:
                hand.trim()
        for hand in list(self._crew.spare):
            self._hear_spare(hand)
        for seat in list(self._crew.idle):
            self._hear_idle(seat)
        for seat in list(self._crew.busy):
            self._hear(seat)
        for leaver in list(self._crew.leaving):
            self._see_off(leaver)

    def _patience(self) -> float:
        """Seconds until something is due."""
        now = time.monotonic()
        due = [seat.deadline - now for seat in self._crew.busy] + [leaver.deadline - now for leaver in self._crew.leaving]
        again = self._dispatch.wait()
        return max(0.0, min([*due, 0.5, 0.5 if again is None else again]))

    def _hear_spare(self, hand: Hand) -> None:
        for message in hand.hear():
            if self._ready(hand, message):
                self._prepare(hand)
        if hand.mute or hand.gone:
            self._crew.spare.remove(hand)
            # What it left for, the next one may leave for too, and then there is a work to say so.
            self._spares -= 1
            self._let_go(hand, None)

    def _prepare(self, hand: Hand) -> None:
        """Have a spare load what it will need in any case; where it will run must be known, for that decides what it may see."""
        cpus = {work.resources.cpus for work in self._alone}
        if len(cpus) == 1 and all(place.device == "cpu" for place in self._pool.places):
            hand.prepared = Prepared(cpus=cpus.pop(), factories=self._common)
            place = self._pool.places[0]
            hand.send(_orders(place, hand.prepared.cpus) | {"prepare": sorted(hand.prepared.factories)})

    def _hear_idle(self, seat: _Seat) -> None:
        """What comes late belongs to no work; one that died while it was idle costs nobody anything."""
        for message in seat.hand.hear():
            self._dispatch.message(message)
        if seat.hand.mute or seat.hand.gone:
            self._dismiss(seat)

    @staticmethod
    def _ready(hand: Hand, message: dict[str, Any]) -> bool:
        if message["say"] == "ready":
            hand.ready, hand.server = True, message["server"]
            return True
        return False

    def _hear(self, seat: _Seat) -> None:
        """Take what a busy worker has said; then see whether it is dead or late."""
        # Looked at first: what a worker said before it died is heard before its death counts.
        gone = seat.hand.gone
        for message in seat.hand.hear():
            if self._ready(seat.hand, message):
                self._give(seat)
                continue
            if message["say"] == "begin" and seat.work is not None:
                seat.deadline = time.monotonic() + seat.work.timeout
            if self._dispatch.message(message):
                self._done(seat, message)
                return
        if gone:
            self._lost(seat, "failed", *seat.hand.death())
        elif seat.hand.mute and not seat.hand.deaf:
            # Most often its death is on the way, and says more than the end of a pipe.
            self._stop_listening(seat.hand)
            seat.deadline = min(seat.deadline, time.monotonic() + GRACE_S)
        elif time.monotonic() > seat.deadline:
            self._late(seat)

    def _late(self, seat: _Seat) -> None:
        if seat.hand.mute:
            self._lost(seat, "failed", *seat.hand.death())
        elif not seat.sent:
            what = f"the worker was not ready after {STARTUP_S:g} s; log: {seat.hand.log.name}"
            self._lost(seat, "failed", {"class": "crash", "message": what}, None)
        else:
            limit = seat.work.timeout if seat.work else 0.0
            what = f"took longer than {limit:g} s; log: {seat.hand.log.name}"
            self._lost(seat, "timeout", {"class": "timeout", "message": what}, None)

    def _done(self, seat: _Seat, message: dict[str, Any]) -> None:
        work = seat.work
        self._crew.busy.remove(seat)
        seat.work, seat.held = None, frozenset(message.get("held", ()))
        if work is not None and work.shared and not message.get("spent"):
            self._crew.idle.append(seat)
        else:
            # A core that an ending process still uses can be shared for these milliseconds; the memory of a GPU cannot.
            if not seat.place.visible:
                self._pool.leave(seat.place, seat.resources)
            self._let_go(seat.hand, seat if seat.place.visible else None)

    def _lost(self, seat: _Seat, status: str, error: dict[str, str], again: Hint | None) -> None:
        self._crew.busy.remove(seat)
        if seat.work is not None:
            self._dispatch.lost(seat.work.id, status, error, again)
        self._let_go(seat.hand, seat, at_once=True)

    def _let_go(self, hand: Hand, seat: _Seat | None, *, at_once: bool = False) -> None:
        """Have a worker end; the place that it takes is free when it has."""
        self._stop_listening(hand)
        if at_once:
            hand.kill()
        else:
            hand.leave()
        wait = STUCK_S if at_once else GRACE_S
        self._crew.leaving.append(_Leaver(hand=hand, seat=seat, deadline=time.monotonic() + wait, killed=at_once))

    def _stop_listening(self, hand: Hand) -> None:
        if not hand.deaf:
            self._selector.unregister(hand.outbox)
            hand.deaf = True

    def _see_off(self, leaver: _Leaver) -> None:
        late = time.monotonic() > leaver.deadline
        if not leaver.hand.gone and not (late and leaver.killed):
            if late:
                leaver.hand.kill()
                leaver.killed, leaver.deadline = True, time.monotonic() + STUCK_S
            return
        self._selector.unregister(leaver.hand.process.sentinel)
        self._crew.leaving.remove(leaver)
        leaver.hand.close()
        if leaver.seat is not None:
            self._pool.leave(leaver.seat.place, leaver.seat.resources)

    def _close(self) -> None:
        """End all workers: those at work at once, the others in their own way but not for long."""
        for seat in self._crew.busy:
            self._let_go(seat.hand, None, at_once=True)
        for hand in [*(seat.hand for seat in self._crew.idle), *self._crew.spare]:
            self._let_go(hand, None)
        self._crew.busy, self._crew.idle, self._crew.spare = [], [], []
        while self._crew.leaving:
            self._selector.select(self._patience())
            for leaver in list(self._crew.leaving):
                self._see_off(leaver)
        self._selector.close()
