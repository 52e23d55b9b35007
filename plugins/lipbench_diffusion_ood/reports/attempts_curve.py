# SPDX-License-Identifier: Apache-2.0
"""What more reconstructions of an image are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench.api import Record

from .curves import attempts_curves
from .drawing import curve_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def attempts_curve(records: Sequence[Record]) -> dict[str, Figure]:
    """AUROC against the attempts that LMD uses of the same reconstructions, one line for each distance.

    Args:
        records: In the order of the plan.
    """
    found = attempts_curves(records)
    if not found:
        return {}
    title = "What more attempts are worth"
    return {"attempts_curve": curve_panels(found, "detector distance", title, "attempts", lambda at, _: at, log=False)}
