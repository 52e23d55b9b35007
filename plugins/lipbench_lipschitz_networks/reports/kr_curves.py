# SPDX-License-Identifier: Apache-2.0
"""KR over the steps of training, against the exact W1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLACK, GREY, legend_below, panels, shorter, styles

from lipbench.api import Record

from .reading import by_data, first_seeds, measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def kr_curves(records: Sequence[Record]) -> dict[str, Figure]:
    """A panel for each dataset, a line for each network, first seed; networks without constraint are left out.

    Args:
        records: In the order of the plan.
    """
    found = first_seeds(r for r in measured(records, "kr") if r.extras.get("curve") and not r.unranked)
    panes = by_data(found)
    if not panes:
        return {}
    style = styles(network for network, _ in found)
    figure, axes = panels(len(panes), width=4.2, height=3.2)
    for axis, (data, networks) in zip(axes, panes.items(), strict=True):
        for network, r in networks.items():
            curve = r.extras["curve"]
            colour, marker = style[network]
            axis.plot(
                [s + 1 for s in curve["step"]], curve["kr"], color=colour, marker=marker, markersize=3, linewidth=1.1,
                label=shorter(network, 30),
            )  # fmt: skip
        w1 = next(iter(networks.values())).extras["w1"]
        axis.axhline(w1, color=BLACK, linewidth=1, linestyle="--", label="W1, exact")
        axis.axhline(0, color=GREY, linewidth=0.5)
        axis.set_xscale("log")
        axis.set_title(f"{data}: W1 = {w1:.4g}", fontsize="small")
        axis.set_xlabel("step + 1", fontsize="small")
        axis.set_ylabel("KR on the training split", fontsize="small")
        axis.tick_params(labelsize="small")
    legend_below(figure, axes)
    figure.suptitle("KR while training, against the exact distance")
    return {"kr_curves": figure}
