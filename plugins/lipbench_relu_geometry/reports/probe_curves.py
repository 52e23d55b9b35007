# SPDX-License-Identifier: Apache-2.0
"""How many bits change at a distance, around points of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import legend_below, panels, shorter, styles

from lipbench.api import Record

from .reading import good, points_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def probe_curves(records: Sequence[Record]) -> dict[str, Figure]:
    """One panel a network, bands of one standard deviation over points.

    Args:
        records: In the order of the plan.
    """
    found: dict[str, dict[str, dict[float, list[Record]]]] = {}
    for r in good(records, "probe_distance"):
        by_radius = found.setdefault(r.roles["network"], {}).setdefault(points_of(r), {})
        by_radius.setdefault(float(r.params["metric"]["radius"]), []).append(r)
    found = {n: kinds for n, kinds in found.items() if any(len(c) > 1 for c in kinds.values())}
    if not found:
        return {}
    marks = styles(k for kinds in found.values() for k in kinds)
    figure, axes = panels(len(found), width=4.6, height=4.2)
    for panel, (name, kinds) in zip(axes, found.items(), strict=True):
        for kind, curve in kinds.items():
            radii = sorted(curve)
            mean, spread = (
                [sum(get(r) for r in curve[x]) / len(curve[x]) for x in radii]
                for get in (lambda r: float(r.value or 0.0), lambda r: float(r.extras["sd"]))
            )
            colour, marker = marks[kind]
            panel.plot(radii, mean, color=colour, marker=marker, label=kind)
            low, high = ([m + s * d for m, d in zip(mean, spread, strict=True)] for s in (-1, 1))
            panel.fill_between(radii, low, high, color=colour, alpha=0.1, linewidth=0)
        panel.set_title(shorter(name), fontsize="medium")
        panel.set_xlabel("distance of the probe")
        panel.set_ylabel("bits that change")
    figure.suptitle("Bits that change at a distance; bands: one standard deviation over points")
    legend_below(figure, axes)
    return {"probe_curves": figure}
