# SPDX-License-Identifier: Apache-2.0
"""Pictures: the source's mosaics, and photographs in another style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import panels, shorter

from lipbench.api import Record

from .reading import distance_of, in_order, measured, pair_of, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def mosaics(records: Sequence[Record]) -> dict[str, Figure]:
    """400 samples of both distributions as pixels, as the source shows them.

    Args:
        records: In the order of the plan.
    """
    found = [r for r in measured(records, "shared_moments") if r.extras.get("mosaic")]
    if not found:
        return {}
    figure, axes = panels(len(found), width=4.6, height=2.5, across=2)
    for panel, r in zip(axes, found, strict=True):
        panel.imshow(picture(r.extras["mosaic"]), interpolation="nearest")
        panel.set_xticks([])
        panel.set_yticks([])
        panel.set_title(f"{pair_of(r)}: Gram matrices differ by {r.value:.1g}", fontsize="medium")
    figure.suptitle("400 samples each, a pixel a sample, features as red, green and blue")
    return {"mosaics": figure}


def styles(records: Sequence[Record]) -> dict[str, Figure]:
    """Content, style, and the image that each distance makes; a row for each pair.

    Args:
        records: In the order of the plan.
    """
    found = [r for r in measured(records, "style_transfer") if (r.extras.get("pictures") or {}).get("image")]
    pairs = in_order(pair_of(r) for r in found)
    if not pairs:
        return {}
    by_pair = [[r for r in found if pair_of(r) == pair] for pair in pairs]
    across = 2 + max(map(len, by_pair))
    figure, axes = panels(across * len(pairs), width=2.1, height=2.35, across=across)
    for k, mine in enumerate(by_pair):
        pictures = mine[0].extras["pictures"]
        shown = [("content", pictures["content"]), ("style", pictures["style"])]
        shown += [(f"{shorter(distance_of(r), 22)}\n{r.value:.2f}", r.extras["pictures"]["image"]) for r in mine]
        for i in range(across):
            panel = axes[k * across + i]
            panel.set_axis_off()
            if i < len(shown):
                panel.imshow(picture(shown[i][1]))
                panel.set_title(shown[i][0], fontsize="small")
    figure.suptitle(
        "Style transfer by each distance; number: energy distance to the features of the style, as a share of that at the start"
    )
    return {"styles": figure}
