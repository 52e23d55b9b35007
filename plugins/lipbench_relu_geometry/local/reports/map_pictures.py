# SPDX-License-Identifier: Apache-2.0
"""The weights of each output at one image, and of the centres that stand for them, one pair of rows for each network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lipbench_basics.figures import shorter

from lipbench.api import Record

from ...reports.reading import good

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = tuple[str, Sequence[Sequence[float]], Sequence[Sequence[float]]]
_KINDS = (("own", "maps"), ("centre", "centres"))


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
    groups = [
        (r.extras, [(f"{shorter(name)}\n{words}", r.extras[key], r.extras["maps"]) for words, key in _KINDS])
        for name, r in found.items()
    ]
    title = "Weights of the local map at one image, and of the centre that stands for it; blue adds to the output"
    return {"map_pictures": picture_rows(groups, title)}


def picture_rows(groups: Sequence[tuple[Mapping[str, Any], Sequence[Row]]], title: str) -> Figure:
    """Rows of pictures, one column for each output; the first column is the image.

    Args:
        groups: For each the `image` with its `shape`, and rows: label, weights of each output, and the weights whose largest
            is the end of the output's colours.
        title: Of the figure.
    """
    from matplotlib.figure import Figure

    lines = [(extras, *row) for extras, rows in groups for row in rows]
    outputs = max(len(weights) for _, _, weights, _ in lines)
    figure = Figure(figsize=(1.15 * (outputs + 1) + 1.2, 1.25 * len(lines) + 0.6), layout="constrained")
    axes = figure.subplots(len(lines), outputs + 1, squeeze=False)
    for i, (line, (extras, label, weights, guide)) in enumerate(zip(axes, lines, strict=True)):
        _shown(line[0], extras["image"], extras["shape"], "gray")
        line[0].set_ylabel(label, fontsize="small")
        for panel in line[1 + len(weights) :]:
            panel.remove()
        for j, (panel, values) in enumerate(zip(line[1:], weights, strict=False)):
            _shown(panel, values, extras["shape"], "RdBu", max(abs(v) for v in guide[j]) or 1.0)
            if i == 0:
                panel.set_title(f"output {j}", fontsize="small")
    figure.suptitle(title)
    return figure


def _shown(panel: Axes, values: Sequence[float], shape: Sequence[int], cmap: str, reach: float | None = None) -> None:
    height, width = shape
    rows = [values[i * width : (i + 1) * width] for i in range(height)]
    panel.imshow(rows, cmap=cmap, vmin=None if reach is None else -reach, vmax=reach)
    panel.set_xticks([])
    panel.set_yticks([])
