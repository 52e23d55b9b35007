# SPDX-License-Identifier: Apache-2.0
"""Draw the picture of the README from published records: `python docs/picture.py results/lipschitz docs/images/leaderboard.svg`."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lipbench.files import write_atomic
from lipbench.leaderboard.board import make_board
from lipbench.plugins import load_plugins

LEFT_OUT = ("layer", "seeds", "K per raw unit")
"""Columns without which the picture can still be read, and is narrow enough."""


def picture(folder: Path) -> str:
    """The first table of a suite, its headline, as SVG."""
    board = make_board(folder, load_plugins())
    first = board.tables[0]
    shown = Table(
        title=f"{board.title}  {first.title}", title_style="bold", header_style="bold cyan", row_styles=["", "on grey11"]
    )
    kept = [i for i, column in enumerate(first.columns) if column.name not in LEFT_OUT]
    for i in kept:
        column = first.columns[i]
        shown.add_column(column.name + {"higher": " ↑", "lower": " ↓", "none": ""}[column.direction], no_wrap=True)
    for row in first.rows:
        shown.add_row(*(Text(row[i].text) for i in kept))
    console = Console(record=True, width=170, file=io.StringIO(), force_terminal=True)
    console.print(shown)
    # A fixed id, so that the same records give the same bytes.
    drawn = console.export_svg(title="lipbench", unique_id="leaderboard")
    # The fonts that rich would fetch from elsewhere; without them a viewer takes its own.
    return re.sub(r"@font-face\s*{[^}]*}\s*", "", drawn)


if __name__ == "__main__":
    write_atomic(Path(sys.argv[2]), picture(Path(sys.argv[1])))
