# SPDX-License-Identifier: Apache-2.0
"""The live view of a run on a terminal: how far it is, and what runs where and for how long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.cells import cell_len
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
BAR = 20
"""Width of the bar."""


def show(progress: Progress) -> Live:
    """Start the view; it draws itself until it is stopped and then leaves no trace."""
    console = Console(stderr=True)
    live = Live(get_renderable=lambda: picture(progress, console.width), console=console, refresh_per_second=2, transient=True)
    live.start()
    return live


def picture(progress: Progress, width: int) -> RenderableType:
    """The view as it is now, in lines that a terminal of this width does not break."""
    counts, times = progress.counts(), progress.times()
    name = progress.run.suite
    # Where all does not fit into one line, the times have one of their own.
    apart = cell_len(name) + BAR + 2 + cell_len(f"{counts}, {times}") > width
    room = max(1, width - BAR - 2 - cell_len(counts)) if apart else cell_len(name)
    head = Table.grid(padding=(0, 1))
    head.add_column(max_width=room, no_wrap=True, overflow="ellipsis")
    bar = ProgressBar(total=progress.run.cells, completed=progress.cells, width=BAR)
    head.add_row(Text(name), bar, _line(counts if apart else f"{counts}, {times}"))
    now, running = time.monotonic(), list(progress.running.values())
    rows = [(one.device, span(now - one.start), one.words()) for one in running[:ROWS]]
    devices, spans = (max((len(row[i]) for row in rows), default=0) for i in (0, 1))
    lines = [f"  {device:<{devices}} {took:>{spans}} {words}" for device, took, words in rows]
    hidden, waiting = len(running) - ROWS, progress.waiting()
    words = [f"{hidden} more running"] * (hidden > 0) + [f"{waiting} waiting"] * (waiting > 0)
    return Group(
        head,
        *([_line(f"  {times}")] if apart else []),
        *map(_line, lines),
        *([_line(f"  {', '.join(words)}", "dim")] if words else []),
        *([_line(f"  {progress.trouble}", "yellow")] if progress.trouble else []),
    )


def _line(words: str, style: str = "") -> Text:
    return Text(words, style=style, no_wrap=True, overflow="ellipsis")
