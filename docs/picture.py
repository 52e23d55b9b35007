# SPDX-License-Identifier: Apache-2.0
"""Draw the picture of the README from published records: `python docs/picture.py results/lipschitz docs/images/leaderboard.svg`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lipbench.files import write_atomic
from lipbench.leaderboard.board import make_board
from lipbench.plugins import load_plugins


def picture(folder: Path) -> str:
    """The first table of a suite, its headline, as SVG."""
    board = make_board(folder, load_plugins())
    first = board.tables[0]
    shown = Table(
        title=f"{board.title}  {first.title}", title_style="bold", header_style="bold cyan", row_styles=["", "on grey11"]
    )
    for column in first.columns:
        shown.add_column(column.name + {"higher": " ↑", "lower": " ↓", "none": ""}[column.direction])
    for row in first.rows:
        shown.add_row(*(Text(e.text, style=("bold green" if e.best else "") + (" strike" if e.struck else "")) for e in row))
    console = Console(record=True, width=132, file=io.StringIO(), force_terminal=True)
    console.print(shown)
    # A fixed id, so that the same records give the same bytes.
    return console.export_svg(title="lipbench", unique_id="leaderboard")


if __name__ == "__main__":
    write_atomic(Path(sys.argv[2]), picture(Path(sys.argv[1])))
