# SPDX-License-Identifier: Apache-2.0
"""The side of the run: works go out as tasks of Ray, messages come in, and what a lost machine has not answered goes out again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lipbench.api import Dispatch, Emit, Event, Executor, ExecutorSetup, LipbenchError, LocalExecutor, Work
from lipbench_ray import cluster
from lipbench_ray.baggage import pack
from lipbench_ray.node import Message, Trip, name_here, travel

TOGETHER_S = 10.0
"""Works that may share a worker go to a machine together, as many as are expected to take so long."""

SILENCE_S = 300.0
"""A machine that says nothing for this long after all time limits have passed is given up, even if Ray takes it for alive."""

GRACE_S = 60.0
"""How long tasks may take to end their processes when the run is stopped; then they are killed."""

LOOK_S = 5.0
"""How often we look at which machines there are."""


class RayExecutor(Executor):
    """Runs works on the machines of a Ray cluster."""

    @classmethod
    def device_class(cls, device: str, address: str | None) -> str:
        """See `Executor`; Ray chooses among GPUs. `auto` asks the cluster."""
        if device not in ("auto", "cpu", "cuda"):
            raise LipbenchError(f"--device {device}: with executor 'ray' write auto, cpu or cuda; Ray chooses the GPU")
        if cluster.alone(address):
            return LocalExecutor.device_class(device, None).replace("mps", "cpu")
        if device != "auto":
            return device
        ray = cluster.connect(address)
        return "cuda" if any(machine.get("GPU") for machine in cluster.machines(ray)) else "cpu"

    def execute(self, works: Sequence[Work], emit: Emit) -> None:
        """See `Executor`."""
        ray = cluster.connect(self.setup.address)
        device = self.device_class(self.setup.device, self.setup.address)
        try:
            _Run(ray, self.setup, device, works, emit).run()
        finally:
            ray.shutdown()


@dataclass(kw_only=True, eq=False)
class _Flight:
    """A task of Ray."""

    stream: Any
    works: dict[str, Work]
    """What it has not done."""
    limit: float
    """Seconds that it may be silent."""
    begun: set[str] = field(default_factory=set)
    heard: float | None = None
    """When it last said something; None while it waits for a machine."""


class _Run:
    """One `execute`."""

    def __init__(self, ray: Any, setup: ExecutorSetup, device: str, works: Sequence[Work], emit: Emit) -> None:
        self._ray, self._setup, self._device, self._emit = ray, setup, device, emit
        self._machines, self._looked = cluster.machines(ray), time.monotonic()
        self._shapes = {work.resources for work in works}
        self._dispatch = Dispatch(works, emit, slots=self._slots(), retries=setup.retries)
        # Ray's own retries would run all of a task again, finished cells included: what is left is sent out by ourselves.
        self._travel = ray.remote(num_returns="streaming", max_retries=0)(travel)
        self._baggage = ray.put(pack(setup.run, setup.places, works))
        self._flights: list[_Flight] = []
        self._count = 0
        self._folder = None if "://" in setup.artifacts else Path(setup.artifacts).absolute()
        self._token = None if self._folder is None else f"{setup.run}.token"

    def run(self) -> None:
        """Until all is done, or until we are told to stop."""
        try:
            self._mark()
            while (stops := self._setup.stop()) < 2:
                if stops:
                    self._call_back()
                else:
                    self._send_out()
                if not self._flights and (stops or not self._dispatch.open):
                    break
                self._listen()
        finally:
            self._end()
            if self._folder and self._token:
                (self._folder / self._token).unlink(missing_ok=True)

    def _mark(self) -> None:
        """Leave in the folder of artifacts what machines know it by."""
        if self._folder and self._token:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / self._token).touch()

    def _end(self) -> None:
        """Have all tasks end what they started. One that is killed by force could not: processes of its jobs might live on."""
        for flight in self._flights:
            self._ray.cancel(flight.stream)
        ends = {flight.stream.completed(): flight for flight in self._flights}
        late = self._ray.wait(list(ends), num_returns=len(ends), timeout=GRACE_S)[1] if ends else []
        for end in late:
            self._ray.cancel(ends[end].stream, force=True)

    def _send_out(self) -> None:
        """Keep the machines busy, with some works waiting at Ray for the next place, which also tells it to add machines."""
        if time.monotonic() > self._looked + LOOK_S:
            self._machines, self._looked = cluster.machines(self._ray), time.monotonic()
        most = self._setup.workers or max(4, 2 * self._slots())
        while len(self._flights) < most and (work := self._dispatch.take(lambda shape: True)) is not None:
            self._submit([work, *self._company(work)])

    def _slots(self) -> int:
        """How many works run at once."""
        return max(1, *(cluster.slots(cluster.options(r, self._device, self._machines), self._machines) for r in self._shapes))

    def _company(self, first: Work) -> list[Work]:
        """Works that go with this one: such as may share a worker, and best those that read what it reads."""
        found: list[Work] = []
        seconds, most = first.seconds, self._dispatch.waiting // (2 * self._slots())
        while first.shared and seconds < TOGETHER_S and len(found) < most:
            work = self._dispatch.take(lambda shape: shape == (first.resources, True), first.uses)
            if work is None:
                break
            found.append(work)
            seconds += work.seconds
        return found

    def _submit(self, works: Sequence[Work]) -> None:
        self._count += 1
        trip = Trip(
            name=f"{self._setup.run}-{self._count}",
            works=tuple(replace(work, id=name_here(work.id)) for work in works),
            artifacts=str(self._folder or self._setup.artifacts),
            token=self._token,
            device=self._device,
            retries=self._setup.retries,
        )
        chosen = cluster.options(works[0].resources, self._device, self._machines)
        if not cluster.slots(chosen, self._machines):
            asked = ", ".join(f"{name} {value:g}" for name, value in chosen.items())
            self._emit(Event(kind="note", work=works[0], data={"text": f"waits for a machine with {asked}; there is none now"}))
        stream = self._travel.options(name=works[0].title, **chosen).remote(trip, self._baggage)
        limit = 2 * max(work.timeout for work in works) + SILENCE_S
        self._flights.append(_Flight(stream=stream, works={work.id: work for work in works}, limit=limit))

    def _call_back(self) -> None:
        """What has not begun need not begin."""
        for flight in [f for f in self._flights if f.heard is None]:
            self._ray.cancel(flight.stream)
            self._flights.remove(flight)

    def _listen(self) -> None:
        """Wait until a machine says something or is lost, or something is due."""
        again = self._dispatch.wait()
        patience = min(0.5, 0.5 if again is None else again)
        streams = [flight.stream for flight in self._flights]
        if not streams:
            time.sleep(patience)
            return
        if self._ray.wait(streams, timeout=patience)[0]:
            ready = {id(stream) for stream in self._ray.wait(streams, num_returns=len(streams), timeout=0)[0]}
            for flight in [f for f in self._flights if id(f.stream) in ready]:
                self._hear(flight)
        for flight in [f for f in self._flights if f.heard is not None and time.monotonic() > f.heard + f.limit]:
            self._ray.cancel(flight.stream, force=True)
            self._lost(flight, f"its machine has said nothing for {flight.limit:g} s")

    def _hear(self, flight: _Flight) -> None:
        errors = self._ray.exceptions
        try:
            messages = self._ray.get(next(flight.stream))
        except StopIteration:
            self._lost(flight, "the task of Ray ended before its works")
        except errors.RayTaskError as error:
            if isinstance(error.cause, LipbenchError):
                raise LipbenchError(str(error.cause)) from error
            self._lost(flight, f"{type(error.cause).__name__}: {error.cause}")
        except errors.RayError as error:
            self._lost(flight, f"{type(error).__name__}: {error}")
        else:
            for message in messages:
                self._take(flight, message)

    def _take(self, flight: _Flight, message: Message) -> None:
        flight.heard = time.monotonic()
        match message["say"]:
            case "log":
                (self._setup.logs / message["name"]).write_bytes(message["tail"])
            case "started":
                flight.begun.add(message["work"])
                self._dispatch.begin(flight.works[message["work"]], message["device"])
            case "again":
                flight.heard += message["data"]["seconds"]
                self._emit(Event(kind="again", work=flight.works[message["work"]], data=message["data"]))
            case _:
                if self._dispatch.message(message):
                    del flight.works[message["work"]]

    def _lost(self, flight: _Flight, reason: str) -> None:
        """Nothing more will come of this task: what it had begun is tried again a set number of times, the rest waits again."""
        self._flights.remove(flight)
        error = {"class": "crash", "message": f"lost on the cluster: {' '.join(reason.split())[:400]}"}
        left = list(flight.works.values())
        # Where nothing had begun one of them counts as tried, so that this comes to an end.
        paying = (flight.begun & set(flight.works)) or {work.id for work in left[:1]}
        for work in left:
            if work.id not in paying:
                self._dispatch.give_back(work)
                continue
            if work.id not in flight.begun:
                self._dispatch.begin(work, self._device)
            self._dispatch.lost(work.id, "failed", error, "later")
