# SPDX-License-Identifier: Apache-2.0
"""Cells against units, for every replica, with the count of one layer and the published range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lipbench_basics.figures import BLACK, BLUE, ORANGE, log_ticks

from lipbench.api import Record

from .reading import good

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def regions_against_units(records: Sequence[Record], published: Sequence[Mapping[str, Any]] = ()) -> dict[str, Figure]:
    """Box plots over replicas by architecture, both axes logarithmic.

    Args:
        records: In the order of the plan.
        published: Entries of the reference file.
    """
    found: dict[str, list[Record]] = {}
    several = [r for r in good(records, "region_count", where="whole", kind="all") if len(r.extras["counts"]) > 1]
    for r in several:
        if r.roles["data"] == several[0].roles["data"]:  # on other data the inputs may be more than two
            found.setdefault(r.roles["network"], []).append(r)
    if len(found) < 2:
        return {}
    theirs = {
        e["where"].get("network"): e["value"]
        for e in published
        if e["where"].get("metric") == "regions_whole" and e["quantity"] == "mean cells"
    }
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 6.5), layout="constrained")
    panel = figure.subplots()
    units = sorted({r.extras["units"] for mine in found.values() for r in mine})
    line = [units[0] * 0.85 + k * (units[-1] * 1.15 - units[0] * 0.85) / 200 for k in range(201)]
    panel.plot(line, [1 + n + n * (n - 1) / 2 for n in line], color=BLACK, label="one layer: $1+N+N(N-1)/2$")
    names = sorted(found, key=lambda n: (found[n][0].extras["units"], n))
    used: dict[int, int] = {}
    for name in names:
        n = found[name][0].extras["units"]
        used[n] = used.get(n, 0) + 1
        place = n * (1 + 0.07 * (used[n] - 1))
        counts = [c for r in found[name] for c in r.extras["counts"]]
        panel.boxplot(
            counts,
            positions=[place],
            widths=[0.05 * place],
            patch_artist=True,
            boxprops={"facecolor": BLUE, "alpha": 0.6},
            medianprops={"color": BLACK},
            flierprops={"markersize": 3},
            manage_ticks=False,
        )
        panel.annotate(
            name, (place, max(counts)), xytext=(0, 4), textcoords="offset points", ha="left", rotation=55, fontsize="small"
        )
        if name in theirs:
            panel.plot(
                place, theirs[name], "D", color=ORANGE, markeredgecolor=BLACK, markersize=7, label="published mean", zorder=4
            )
    panel.set_xscale("log")
    panel.set_yscale("log")
    log_ticks(panel.xaxis, units[0], units[-1] * 1.1)
    panel.set_xlabel("units $N$")
    panel.set_ylabel("cells of the whole plane")
    handles, labels = panel.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    panel.legend(list(unique.values()), list(unique), loc="upper left", frameon=False)
    figure.suptitle("Cells of the whole plane against units, over replicas")
    return {"regions_against_units": figure}
