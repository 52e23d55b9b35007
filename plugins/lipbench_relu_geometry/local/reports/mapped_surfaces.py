# SPDX-License-Identifier: Apache-2.0
"""Planar networks, and what a matrix makes of another's local maps: the source, the target and the prediction of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLACK, pages, put, shorter

from lipbench.api import Record

from ...reports.reading import good

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = 4


def mapped_surfaces(records: Sequence[Record]) -> dict[str, Figure]:
    """At most four pairs a figure, each pair's first seed; a network to itself is left out.

    Args:
        records: In the order of the plan.
    """
    found: dict[tuple[str, str], Record] = {}
    for r in good(records, "mapped_surface"):
        if r.roles["network"] != r.roles["target"]:
            found.setdefault((r.roles["network"], r.roles["target"]), r)
    figures: dict[str, Figure] = {}
    for page in pages(list(found.values()), PAGE):
        put(figures, "mapped_surfaces", _figure(page))
    return figures


def _figure(page: Sequence[Record]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 3.3 * len(page) + 0.7), layout="constrained")
    axes = figure.subplots(len(page), 3, squeeze=False)
    for line, r in zip(axes, page, strict=True):
        source, target = (shorter(r.roles[role]) for role in ("network", "target"))
        torn = f"jumps {r.value:.3f}, its own {r.extras['own_jump']:.3f}"
        window = (r.extras["low"], r.extras["high"]) * 2
        for panel, key, title in zip(
            line, ("source", "target", "mapped"), (f"from: {source}", f"to: {target}", f"the prediction; {torn}"), strict=True
        ):
            # The first axis of the grid is x.
            surface = [list(column) for column in zip(*r.extras[key], strict=True)]
            reach = max(abs(v) for row in r.extras["source" if key == "source" else "target"] for v in row) or 1.0
            panel.imshow(surface, origin="lower", extent=window, cmap="RdBu", vmin=-reach, vmax=reach)
            if min(map(min, surface)) < 0 < max(map(max, surface)):
                panel.contour(surface, levels=[0.0], extent=window, colors=BLACK, linewidths=2.0)
            panel.set_xticks([-1, 0, 1])
            panel.set_yticks([-1, 0, 1])
            panel.set_title(title, fontsize="medium")
    figure.suptitle("Local maps of one planar network predicted from another's; black: where the output is zero")
    return figure
