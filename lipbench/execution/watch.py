# SPDX-License-Identifier: Apache-2.0
"""Who looks on while a run goes: progress, a log of events, and the lifecycle hooks of plugins."""

from __future__ import annotations

import copy
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from lipbench.contract.errors import in_words
from lipbench.contract.execution import Event, Work
from lipbench.contract.runs import Run, RunEnd
from lipbench.contract.values import Record
from lipbench.plugins import PluginInfo

PATIENCE_S = 60.0
"""How long one call of a hook may take before the run goes on without the plugin."""
SAY_S = 5.0
"""After so long a run that is over says for whom it waits."""
BACKLOG = 10_000
"""How many calls may wait for a plugin that is slower than the run; records that wait are held in memory."""


def say(words: str) -> None:
    """Write a line to stderr. Where that is full, closed or gone, the run goes on all the same."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(words, file=sys.stderr, flush=True)  # noqa: T201


class Watcher:
    """Is told what happens in a run, in the parent and in order. Each does nothing unless it is overridden."""

    def run_started(self, run: Run, works: Sequence[Work], past: Mapping[str, float]) -> None:
        """A run begins.

        Args:
            run: The run.
            works: All that it will do.
            past: Label of a metric to the mean seconds of a cell of it, as far as earlier records tell.
        """

    def happened(self, event: Event) -> None:
        """A work was started, said something, finished or failed."""

    def record_written(self, run: Run, record: Record) -> None:
        """A record is on the disk."""

    def run_finished(self, run: Run, end: RunEnd) -> None:
        """The run is over."""


class Watchers(Watcher):
    """Several, as one."""

    def __init__(self, *watchers: Watcher) -> None:
        self.watchers = watchers

    def run_started(self, run: Run, works: Sequence[Work], past: Mapping[str, float]) -> None:
        """Tell all."""
        for watcher in self.watchers:
            watcher.run_started(run, works, past)

    def happened(self, event: Event) -> None:
        """Tell all."""
        for watcher in self.watchers:
            watcher.happened(event)

    def record_written(self, run: Run, record: Record) -> None:
        """Tell all."""
        for watcher in self.watchers:
            watcher.record_written(run, record)

    def run_finished(self, run: Run, end: RunEnd) -> None:
        """Tell all."""
        for watcher in self.watchers:
            watcher.run_finished(run, end)


class Hooks(Watcher):
    """Calls the lifecycle hooks of plugins, each plugin in a thread of its own, so that none can delay or break a run.

    Use as a context manager: at its end it waits for calls that still run, unless `stop` counts two interrupts.
    """

    def __init__(self, plugins: Iterable[PluginInfo], stop: Callable[[], int] = lambda: 0) -> None:
        self._plugins = [_Listening(plugin) for plugin in plugins if plugin.listeners]
        self._stop = stop

    def __enter__(self) -> Hooks:
        return self

    def __exit__(self, *_: object) -> None:
        for plugin in self._plugins:
            plugin.close(self._stop)

    def run_started(self, run: Run, works: Sequence[Work], past: Mapping[str, float]) -> None:
        """Tell the plugins."""
        self._tell("lipbench_run_started", run=run)

    def record_written(self, run: Run, record: Record) -> None:
        """Tell the plugins."""
        self._tell("lipbench_record_written", run=run, record=record)

    def run_finished(self, run: Run, end: RunEnd) -> None:
        """Tell the plugins."""
        self._tell("lipbench_run_finished", run=run, end=end)

    def _tell(self, hook: str, **given: Any) -> None:
        for plugin in self._plugins:
            plugin.tell(hook, given)


class _Listening:
    """One plugin, its thread and the calls that wait for it."""

    def __init__(self, plugin: PluginInfo) -> None:
        self.plugin = plugin
        self.waiting: deque[tuple[str, Mapping[str, Any]]] = deque()
        self.lost = self.closing = False
        self.deaf_to = ""
        """Id of a run of which it wants to hear nothing."""
        self.run: Run | None = None
        """Its copy of the run."""
        self.since = float("inf")
        """When the call began that runs now."""
        self.changed = threading.Condition()
        # A daemon, because a call that never returns must not keep the command from ending.
        self.thread = threading.Thread(target=self._work, name=f"hooks of {plugin.name}", daemon=True)

    def tell(self, hook: str, given: Mapping[str, Any]) -> None:
        if self.lost or hook not in self.plugin.listeners or given["run"].id == self.deaf_to or self._late():
            return
        if len(self.waiting) >= BACKLOG:
            self._lose(f"{hook} is {BACKLOG} calls behind")
            return
        if not self.thread.is_alive():
            self.thread.start()
        with self.changed:
            self.waiting.append((hook, given))
            self.changed.notify()

    def close(self, stop: Callable[[], int]) -> None:
        """Wait for what is left as long as each call returns in time."""
        with self.changed:
            self.closing = True
            self.changed.notify()
        said = time.monotonic() + SAY_S
        while self.thread.is_alive() and not self._late() and stop() < 2:
            self.thread.join(0.05)
            if time.monotonic() > said:
                said = float("inf")
                left = f"{len(self.waiting) + 1} calls are left; press Ctrl-C twice to leave them"
                say(f"waiting for plugin {self.plugin.name}: {left}")

    def _work(self) -> None:
        while not self.lost:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.closing)
                if not self.waiting:
                    return
                hook, given = self.waiting.popleft()
            if given["run"].id == self.deaf_to:
                continue
            self.since = time.monotonic()
            try:
                if self.plugin.listeners[hook](self._copies(given)) is False and hook == "lipbench_run_started":
                    self.deaf_to = given["run"].id
            except BaseException as error:
                # BaseException, because sys.exit in a thread would end it without a word.
                self._lose(f"{hook} raised {in_words(error)}")
            self.since = float("inf")

    def _copies(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A hook that changes what it is given changes nothing of the run; what is here the parent changes nowhere."""
        if self.run is None or self.run.id != given["run"].id:
            self.run = copy.deepcopy(given["run"])
        return {name: self.run if name == "run" else copy.deepcopy(value) for name, value in given.items()}

    def _late(self) -> bool:
        late = time.monotonic() - self.since > PATIENCE_S
        if late:
            self._lose(f"a hook has not returned for {PATIENCE_S:g} s")
        return late

    def _lose(self, why: str) -> None:
        if not self.lost:
            with self.changed:
                self.lost = True
                self.waiting.clear()
            say(f"plugin {self.plugin.name}: {why}; the run goes on without it")
