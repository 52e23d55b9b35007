# SPDX-License-Identifier: Apache-2.0
"""What more steps of a sampler are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench.api import Record

from .curves import curves
from .drawing import curve_panels
from .reading import evaluations

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def cost_curve(records: Sequence[Record]) -> dict[str, Figure]:
    """LMD's AUROC against evaluations of the network for one image, as the steps vary; one line for each sampler.

    Args:
        records: In the order of the plan.
    """
    costed = [r for r in records if evaluations(r)]
    found = curves(costed, "lift", "steps", lambda r: r.params.get("lift", {}).get("steps"))
    if not found:
        return {}
    title, label = "What more steps are worth", "evaluations of the network for one image"
    return {"cost_curve": curve_panels(found, "lift sampler", title, label, lambda _, r: evaluations(r) or 1.0, log=True)}
