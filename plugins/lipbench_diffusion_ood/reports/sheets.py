# SPDX-License-Identifier: Apache-2.0
"""Images, what the lift leaves of them, and their reconstructions."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import panels, shorter

from lipbench.api import Record

from .reading import Pair, measured, pair_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STRIPS = 12
"""Of one figure."""
_ROWS = ("original", "lifted", "mapped", "mapped")


def sheets(records: Sequence[Record]) -> dict[str, Figure]:
    """Figures for each in-domain set: a strip for each other set, lift and backbone, of the first seed; twelve a figure.

    Args:
        records: In the order of the plan.
    """
    strips: dict[str, dict[tuple[Pair, str, str], Record]] = {}
    for r in records:
        if r.uses.get("metric") == "reconstructions" and measured(r) and r.extras.get("sheet"):
            key = pair_of(r), r.roles.get("lift", ""), r.roles.get("backbone", "")
            strips.setdefault(key[0][0], {}).setdefault(key, r)
    figures = {}
    for inside, found in strips.items():
        mine = list(found.values())
        for i in range(0, len(mine), STRIPS):
            page = f"_{i // STRIPS + 1}" if i else ""
            figures["-".join(["sheets", *re.findall(r"\w+", inside)]) + page] = _figure(inside, mine[i : i + STRIPS])
    return figures


def _figure(inside: str, found: Sequence[Record]) -> Figure:
    figure, axes = panels(len(found), width=5.6, height=1.6, across=2)
    backbones = {r.roles.get("backbone", "") for r in found}
    for panel, r in zip(axes, found, strict=True):
        _strip(panel, r)
        words = [r.roles.get("lift", ""), *([r.roles.get("backbone", "")] if len(backbones) > 1 else [])]
        panel.set_title(
            f"left {inside}, right {r.roles.get('out_dist', '')}; {shorter(', '.join(words), 34)}", fontsize="small"
        )
    figure.suptitle(f"{inside}: left half in-domain, right half foreign images")
    return figure


def _strip(panel: Axes, record: Record) -> None:
    from matplotlib.image import imread

    picture = imread(io.BytesIO(base64.b64decode(record.extras["sheet"])), format="png")
    panel.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    # The sheet shows two reconstructions where the lift made as many.
    rows = _ROWS[: 2 + min(2, record.params.get("lift", {}).get("attempts", 2))]
    height = len(picture) / len(rows)
    panel.set_yticks([height * (i + 0.5) - 0.5 for i in range(len(rows))], rows)
    panel.set_xticks([])
    panel.tick_params(labelsize="x-small", length=0)
