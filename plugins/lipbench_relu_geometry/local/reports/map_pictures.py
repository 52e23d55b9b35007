# SPDX-License-Identifier: Apache-2.0
"""The weights of each output at one image, and of the centres that stand for them, one pair of rows for each network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import shorter

from lipbench.api import Record

from ...reports.reading import good

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def map_pictures(records: Sequence[Record]) -> dict[str, Figure]:
    """One figure, each network's first seed; the first column is the image.

    Args:
        records: In the order of the plan.
    """
    found: dict[str, Record] = {}
    for r in good(records, "map_pictures"):
        found.setdefault(r.roles["network"], r)
    if not found:
        return {}
    from matplotlib.figure import Figure

    outputs = max(len(r.extras["maps"]) for r in found.values())
    figure = Figure(figsize=(1.15 * (outputs + 1) + 1.2, 2.5 * len(found) + 0.6), layout="constrained")
    axes = figure.subplots(2 * len(found), outputs + 1, squeeze=False)
    for i, (name, r) in enumerate(found.items()):
        for k, (words, rows) in enumerate((("own", r.extras["maps"]), ("centre", r.extras["centres"]))):
            line = axes[2 * i + k]
            _shown(line[0], r.extras["image"], r.extras["shape"], "gray")
            line[0].set_ylabel(f"{shorter(name)}\n{words}", fontsize="small")
            for panel in line[1 + len(rows) :]:
                panel.remove()
            for j, (panel, values) in enumerate(zip(line[1:], rows, strict=False)):
                reach = max(abs(v) for v in r.extras["maps"][j]) or 1.0
                _shown(panel, values, r.extras["shape"], "RdBu", reach)
                if i == k == 0:
                    panel.set_title(f"output {j}", fontsize="small")
    figure.suptitle("Weights of the local map at one image, and of the centre that stands for it; blue adds to the output")
    return {"map_pictures": figure}


def _shown(panel: Axes, values: Sequence[float], shape: Sequence[int], cmap: str, reach: float | None = None) -> None:
    height, width = shape
    rows = [values[i * width : (i + 1) * width] for i in range(height)]
    panel.imshow(rows, cmap=cmap, vmin=None if reach is None else -reach, vmax=reach)
    panel.set_xticks([])
    panel.set_yticks([])
