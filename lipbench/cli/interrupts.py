# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C in `lipbench run`: what it does, and what is said of that."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType

import click

from lipbench.contract.execution import Work
from lipbench.contract.runs import Run, RunEnd
from lipbench.execution.watch import Watcher


class Interrupts(Watcher):
    """Counts Ctrl-C: once finishes what runs, twice kills it."""

    def __init__(self) -> None:
        self.count = 0
        self._runs = False

    def run_started(self, run: Run, works: Sequence[Work], past: Mapping[str, float]) -> None:
        """From now on there may be cells to finish."""
        self._runs = True

    def run_finished(self, run: Run, end: RunEnd) -> None:
        """Nothing runs any more."""
        self._runs = False

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        """Ctrl-C."""
        self.count += 1
        if self.count == 1:
            how = (
                b"running cells are finished first; press Ctrl-C again to stop at once" if self._runs else b"no cell is running"
            )
            # Not by sys.stderr: the signal may have come while that was being written, and no stream is entered twice.
            with suppress(OSError):
                os.write(2, b"stopping: " + how + b"\n")

    def now(self, _signal: int, _frame: FrameType | None) -> None:
        """What a scheduler or a closed terminal sends: kill what runs, with its children."""
        self.count = 2


class Patience:
    """Waits for another run, says so once, and ends on Ctrl-C."""

    def __init__(self, interrupts: Interrupts) -> None:
        self.interrupts, self.said = interrupts, ""

    def __call__(self, holder: str) -> None:
        """The folder is still held.

        Raises:
            click.Abort: There was an interrupt.
        """
        if self.interrupts.count:
            raise click.Abort
        if holder != self.said:
            self.said = holder
            click.echo(f"waiting: the results folder is held by another run ({holder})", err=True)
