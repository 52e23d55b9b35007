# SPDX-License-Identifier: Apache-2.0
"""Singular values of kernels over the steps of training: what drifts, and what the constraint makes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lipbench_basics.figures import COLOURS, legend_below, log_ticks, panels, room, shorter

from lipbench.api import Record

from .reading import first_seeds, measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = 12
SMALLEST = 1e-3
"""Singular values below are drawn here."""


def singular_values(records: Sequence[Record]) -> dict[str, Figure]:
    """A panel for each of the first twelve networks, first seed: raw kernels as bands, constrained ones as lines.

    Of a network on several datasets the last one is shown.

    Args:
        records: In the order of the plan.
    """
    found = {k: r for k, r in first_seeds(measured(records, "orthogonality")).items() if len(r.extras.get("step", ())) > 1}
    chosen = list({network: ((network, data), r) for (network, data), r in found.items()}.values())[:PANELS]
    if not chosen:
        return {}
    figure, axes = panels(len(chosen), width=3.9, height=2.8)
    for axis, ((network, data), r) in zip(axes, chosen, strict=True):
        x = r.extras
        steps = [s + 1 for s in x["step"]]
        for i in range(len(x["raw_max"][0])):
            colour = COLOURS[i % len(COLOURS)]
            low, high = ([row[i] for row in x[name]] for name in ("raw_min", "raw_max"))
            axis.fill_between(
                steps, [max(v, SMALLEST) for v in low], high, color=colour, alpha=0.18, label=f"layer {i + 1}, raw"
            )
            for name, line in (("bound_max", "-"), ("bound_min", ":")):
                axis.plot(steps, [max(row[i], SMALLEST) for row in x[name]], color=colour, linewidth=1.1, linestyle=line,
                          label=f"layer {i + 1}, constrained {'largest' if line == '-' else 'smallest'}")  # fmt: skip
        axis.set_xscale("log")
        axis.set_yscale("log")
        least, most = _range(x)
        bottom, top = (10**v for v in room(math.log10(least), math.log10(most)))
        axis.set_ylim(bottom, top)
        log_ticks(axis.yaxis, bottom, top)
        axis.set_title(shorter(f"{network}, {data}", 44), fontsize="small")
        axis.set_xlabel("step + 1", fontsize="small")
        axis.tick_params(labelsize="small")
    legend_below(figure, axes)
    figure.suptitle("Extreme singular values of kernels while training")
    return {"singular_values": figure}


def _range(extras: Mapping[str, Any]) -> tuple[float, float]:
    """The least and the largest that is drawn."""
    values = [v for name in ("raw_min", "raw_max", "bound_min", "bound_max") for row in extras[name] for v in row]
    return max(min(values), SMALLEST), max(values)
