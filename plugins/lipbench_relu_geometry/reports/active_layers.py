# SPDX-License-Identifier: Apache-2.0
"""Active bits by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import COLOURS, shorter

from lipbench.api import Record

from .reading import good

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def active_layers(records: Sequence[Record]) -> dict[str, Figure]:
    """Stacked bars, a network each, the mean over points and seeds; units that are not active in white on top.

    Args:
        records: In the order of the plan.
    """
    found: dict[str, list[Record]] = {}
    for r in good(records, "active_bits", per="cell"):
        found.setdefault(r.roles["network"], []).append(r)
    if not found:
        return {}
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(6.0, 1.3 * len(found) + 2), 5.5), layout="constrained")
    panel = figure.subplots()
    for k, mine in enumerate(found.values()):
        bottom = 0.0
        for layer in range(len(mine[0].extras["layers"])):
            height = sum(r.extras["layers"][layer] for r in mine) / len(mine)
            panel.bar(k, height, bottom=bottom, width=0.7, color=COLOURS[layer % len(COLOURS)], label=f"layer {layer + 1}")
            bottom += height
        rest = sum(mine[0].extras["widths"]) - bottom
        panel.bar(k, rest, bottom=bottom, width=0.7, fill=False, edgecolor=COLOURS[-1], linewidth=0.6, label="not active")
        panel.text(k, bottom, f" {bottom:.0f}", ha="center", va="bottom", fontsize="small")
    panel.set_xticks(range(len(found)), [shorter(n, 14) for n in found])
    panel.set_ylabel("units")
    unique = dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    unique["not active"] = unique.pop("not active")  # last, whatever the depth of the first network
    panel.legend(list(unique.values()), list(unique), frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    figure.suptitle("Units that carry a facet of a point's cell, by layer")
    return {"active_layers": figure}
