# SPDX-License-Identifier: Apache-2.0
"""Planar networks: decision, margins, and how steep they are."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLACK, BLUE, RED, panels, shorter

from lipbench.api import Record

from .reading import first_seeds, measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = 9


def contours(records: Sequence[Record]) -> dict[str, Figure]:
    """A panel for each of the first nine networks, first seed: f = 0 solid, f = margin and -margin dashed.

    Args:
        records: In the order of the plan.
    """
    found = list(first_seeds(measured(records, "contours")).items())[:PANELS]
    if not found:
        return {}
    import numpy as np

    figure, axes = panels(len(found), width=3.9, height=3.0)
    for axis, ((network, data), r) in zip(axes, found, strict=True):
        x = r.extras
        side, (left, bottom, right, top) = x["side"], x["box"]
        f = np.frombuffer(base64.b64decode(x["f"]), np.float16).astype(np.float64).reshape(side, side)
        slope = np.frombuffer(base64.b64decode(x["slope"]), np.uint8).reshape(side, side) / 100
        box = (left, right, bottom, top)
        axis.imshow(slope, origin="lower", extent=box, cmap="Greys", vmin=0, vmax=1.3, aspect="auto")
        levels = sorted({-x["margin"], 0.0, x["margin"]})
        grid = np.linspace(left, right, side), np.linspace(bottom, top, side)
        # White under black, so that lines are seen on a steep, dark ground as well.
        for colour, width in (("white", 2.6), (BLACK, 1.1)):
            axis.contour(*grid, f, levels=levels, colors=colour, linestyles=["--", "-", "--"], linewidths=width)
        points, classes = np.asarray(x["points"]), np.asarray(x["classes"])
        for c, colour in ((0, BLUE), (1, RED)):
            axis.plot(*points[classes == c].T, ".", color=colour, markersize=2.5)
        axis.set_title(shorter(f"{network}, {data}", 44), fontsize="small")
        axis.tick_params(labelsize="x-small")
    image = axes[0].images[0]
    figure.colorbar(image, ax=list(axes), shrink=0.6, label="gradient norm")
    figure.suptitle("Decision, and margins (dashed); f > 0 is blue")
    return {"contours": figure}
