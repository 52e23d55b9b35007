# SPDX-License-Identifier: Apache-2.0
"""The live view of a run on a terminal: how far it is, and what runs where and for how long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lipbench.cli.estimate import span

if TYPE_CHECKING:
    from lipbench.cli.progress import Progress

ROWS = 8
"""Works that are shown at most; the others are counted."""


def show(progress: Progress) -> Live:
    """Start the view; it draws itself until it is stopped and then leaves no trace."""
    live = Live(get_renderable=lambda: picture(progress), console=Console(stderr=True), refresh_per_second=2, transient=True)
    live.start()
    return live


def picture(progress: Progress) -> RenderableType:
    """The view as it is now."""
    head = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=progress.run.cells, completed=progress.cells, width=20)
    head.add_row(Text(progress.run.suite), bar, Text(progress.state()))
    rows = Table.grid(padding=(0, 1))
    for _ in range(3):
        rows.add_column(no_wrap=True, overflow="ellipsis")
    now, running = time.monotonic(), list(progress.running.values())
    for one in running[:ROWS]:
        rows.add_row(Text(f"  {one.device}"), Text(span(now - one.start), justify="right"), Text(one.words()))
    hidden, waiting = len(running) - ROWS, progress.waiting()
    words = [f"{hidden} more running"] * (hidden > 0) + [f"{waiting} waiting"] * (waiting > 0)
    return Group(head, rows, *([Text(f"  {', '.join(words)}", style="dim")] if words else []))
