# SPDX-License-Identifier: Apache-2.0
"""Accuracy against the number of centres, by row and by input, with plain classifiers as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLACK, BLUE, GREY, ORANGE, legend_below, panels, shorter

from lipbench.api import Record

from ...reports.reading import average, good

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def cluster_curves(records: Sequence[Record]) -> dict[str, Figure]:
    """One panel for each network, means over seeds.

    Args:
        records: In the order of the plan.
    """
    found = list(good(records, "clustered_outputs", of="accuracy", rows="raw"))
    names = list(dict.fromkeys(r.roles["network"] for r in found))
    if not names:
        return {}
    figure, axes = panels(len(names), width=4.4, height=3.8)
    for panel, name in zip(axes, names, strict=True):
        for assign, colour, marker, words in (
            ("row", BLUE, "o", "centre found by the network's own map"),
            ("input", ORANGE, "s", "centre found by the nearest training input"),
        ):
            mine = [r for r in found if r.roles["network"] == name and r.params["metric"]["assign"] == assign]
            ks = sorted({r.params["metric"]["k"] for r in mine})
            panel.plot(
                ks,
                [average([r for r in mine if r.params["metric"]["k"] == k]) or 0.0 for k in ks],
                color=colour,
                marker=marker,
                label=words,
            )
        for uses, params, style, colour, words in (
            ("original_accuracy", {}, "-", BLACK, "the network itself"),
            ("plain_control", {"kind": "logistic"}, "--", GREY, "logistic regression"),
        ):
            value = average([r for r in good(records, uses, **params) if r.roles["network"] == name])
            if value is not None:
                panel.axhline(value, color=colour, linestyle=style, linewidth=1.4, label=words)
        panel.set_xscale("log")
        bottom = min(r.value for r in found if r.roles["network"] == name and r.value is not None)
        panel.set_ylim(max(0.0, bottom - 0.05), 1.01)
        panel.set_xlabel("centres of each output, $k$")
        panel.set_title(shorter(name), fontsize="medium")
    axes[0].set_ylabel("accuracy on test points")
    legend_below(figure, axes)
    figure.suptitle("Local maps replaced by the centres of their clusters, means over seeds")
    return {"cluster_curves": figure}
