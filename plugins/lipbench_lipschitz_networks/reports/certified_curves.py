# SPDX-License-Identifier: Apache-2.0
"""Accuracy against the radius in which it is proved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import COLOURS, legend_below, panels, shorter, styles

from lipbench.api import Record

from .reading import by_data, first_seeds, measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def certified_curves(records: Sequence[Record]) -> dict[str, Figure]:
    """A panel for each dataset; lines are certified, open marks are what an attack leaves. First seed.

    Args:
        records: In the order of the plan.
    """
    found = first_seeds(measured(records, "certified_radius"))
    panes = by_data(found)
    if not panes:
        return {}
    attacked: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for r in measured(records, "attacked_accuracy"):
        name = (r.roles["network"], r.roles["data"])
        if name in found and r.seed == found[name].seed:
            attacked.setdefault(name, []).append((r.extras["radius"], float(r.value or 0)))
    style = styles(network for network, _ in found)
    dashes = {network: ("-", "--", ":")[i // len(COLOURS) % 3] for i, network in enumerate(style)}
    figure, axes = panels(len(panes), width=4.2, height=3.2)
    for axis, (data, networks) in zip(axes, panes.items(), strict=True):
        for network, r in networks.items():
            colour, marker = style[network]
            axis.plot(
                r.extras["radii"],
                r.extras["accuracy"],
                color=colour,
                linestyle=dashes[network],
                linewidth=1.2,
                label=shorter(network, 30),
            )
            for radius, share in attacked.get((network, data), ()):
                axis.plot(radius, share, color=colour, marker=marker, fillstyle="none", linestyle="none", markersize=5)
        axis.set_title(data, fontsize="small")
        axis.set_xlabel("l2 radius", fontsize="small")
        axis.set_ylabel("accuracy on the test split", fontsize="small")
        axis.tick_params(labelsize="small")
    legend_below(figure, axes)
    figure.suptitle("Accuracy against certified radius; open marks: under attack")
    return {"certified_curves": figure}
