# SPDX-License-Identifier: Apache-2.0
"""Strips of cells while a network learns, with the counts of all replicas below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLACK, BLUE, put, shorter

from lipbench.api import Record

from .cell_maps import polygons
from .reading import good

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def evolution(records: Sequence[Record]) -> dict[str, Figure]:
    """One figure for each network, its first seed.

    Args:
        records: In the order of the plan.
    """
    found: dict[str, Record] = {}
    for r in good(records, "cell_evolution"):
        if all(frame.get("polygons") for frame in r.extras["frames"]):
            found.setdefault(r.roles["network"], r)
    figures: dict[str, Figure] = {}
    for name, r in found.items():
        put(figures, "evolution", _figure(name, r))
    return figures


def _figure(name: str, r: Record) -> Figure:
    from matplotlib.figure import Figure

    frames = r.extras["frames"]
    figure = Figure(figsize=(3.2 * len(frames), 6.6), layout="constrained")
    grid = figure.add_gridspec(2, len(frames), height_ratios=(3, 2))
    for k, frame in enumerate(frames):
        panel = figure.add_subplot(grid[0, k])
        polygons(panel, frame["polygons"], frame["colour"])
        for x0, y0, x1, y1 in frame["zero"]:
            panel.plot([x0, x1], [y0, y1], color=BLACK, linewidth=2.0, solid_capstyle="round")
        panel.set_xticks([])
        panel.set_yticks([])
        panel.set_title(f"epoch {frame['epoch']}: {len(frame['polygons'])} cells", fontsize="medium")
    below = figure.add_subplot(grid[1, :])
    below.boxplot(
        [list(counts) for counts in r.extras["counts"]],
        tick_labels=[str(e) for e in r.extras["epochs"]],
        patch_artist=True,
        boxprops={"facecolor": BLUE, "alpha": 0.6},
        medianprops={"color": BLACK},
    )
    below.set_xlabel("epoch")
    below.set_ylabel("cells in the box, all replicas")
    figure.suptitle(f"{shorter(name)}: cells while it learns; black: where the output is zero")
    return figure
