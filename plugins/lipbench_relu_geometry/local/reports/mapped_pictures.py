# SPDX-License-Identifier: Apache-2.0
"""The weights of each output at one image, and what matrices make of other networks' weights there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import put, shorter

from lipbench.api import Record

from ...reports.reading import good
from .map_pictures import picture_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def mapped_pictures(records: Sequence[Record]) -> dict[str, Figure]:
    """One figure for each target, the first seed; each source has a row.

    Args:
        records: In the order of the plan.
    """
    found: dict[str, dict[str, Record]] = {}
    for r in good(records, "mapped_pictures"):
        if r.roles["network"] != r.roles["target"]:
            found.setdefault(r.roles["target"], {}).setdefault(r.roles["network"], r)
    figures: dict[str, Figure] = {}
    for target, sources in found.items():
        first = next(iter(sources.values()))
        rows = [(f"{shorter(target)}\nitself", first.extras["target"], first.extras["target"])]
        rows += [(f"from\n{shorter(name)}", r.extras["mapped"], r.extras["target"]) for name, r in sources.items()]
        title = f"Weights of {shorter(target)} at one image, and as predicted from other networks; blue adds to the output"
        put(figures, "mapped_pictures", picture_rows([(first.extras, rows)], title))
    return figures
