# SPDX-License-Identifier: Apache-2.0
"""Detection against the budget of the attack."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lipbench.api import Record

from .averages import Mean, over_seeds
from .drawing import BLACK, GREY, legend_below, pages, panels, put, shorter, styles
from .reading import Found, Results, Setting, said, varying

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 6
_Group = list[Setting]


def auroc_against_eps(records: Sequence[Record]) -> dict[str, Figure]:
    """A panel for each attack that occurs with several budgets and nothing else varied; at most six a figure.

    Args:
        records: In the order of the plan.
    """
    results = Results(records)
    groups = _groups(results)
    figures: dict[str, Figure] = {}
    for page in pages(groups, PANELS):
        put(figures, "auroc_against_eps", _figure(results, page, groups))
    return figures


def _eps(setting: Setting) -> float | None:
    """Budget of the attack; None where it has none."""
    eps = setting.params("attack").get("eps")
    return float(eps) if isinstance(eps, (int, float)) and not isinstance(eps, bool) else None


def _groups(results: Results) -> list[_Group]:
    """Settings that differ in the budget and in the map alone, several budgets each."""
    groups: dict[tuple[object, ...], _Group] = {}
    for s in results.settings:
        if _eps(s) is not None and results.values(s, "auroc"):
            rest = {k: v for k, v in s.params("attack").items() if k != "eps"}
            key = (s.apart("attack", "map"), s.use("attack"), json.dumps(rest, sort_keys=True))
            groups.setdefault(key, []).append(s)
    return [group for group in groups.values() if len({_eps(s) for s in group}) > 1]


def _figure(results: Results, groups: Sequence[_Group], everything: Sequence[_Group]) -> Figure:
    figure, axes = panels(len(groups), width=4.6, height=3.6)
    marks = styles(s.label("map") for group in everything for s in group)
    names = varying([s for group in everything for s in group])
    for panel, group in zip(axes, groups, strict=True):
        _panel(panel, results, group, marks)
        first = group[0]
        words = [first.label("data"), first.use("attack"), first.label("feature"), *(f"{n}: {said(first, n)}" for n in names)]
        panel.set_title(shorter(", ".join(words), 46), fontsize="medium")
        space = (
            "in the units that the network sees"
            if first.params("attack").get("eps_space") == "normalised"
            else "in [0,1] units"
        )
        panel.set_xlabel(f"eps of the attack, {space}", fontsize="small")
    figure.suptitle("Detection against the budget of the attack, mean over pairs")
    legend_below(figure, axes)
    return figure


def _panel(panel: Axes, results: Results, group: _Group, marks: Mapping[str, tuple[str, str]]) -> None:
    native: dict[float, Found] = {}
    noise: dict[float, Found] = {}
    for name in dict.fromkeys(s.label("map") for s in group):
        mine = [s for s in group if s.label("map") == name]
        _line(panel, {_eps(s) or 0.0: results.mapped(s) for s in mine}, f"mapped, {name}", *marks[name], "-")
        for s in mine:
            auroc = results.values(s, "auroc")
            native.setdefault(_eps(s) or 0.0, results.own(s, "source", auroc))
            if not s.null and (found := results.mapped(s, "auroc_vs_noise")):
                noise.setdefault(_eps(s) or 0.0, found)
    _line(panel, native, "native, each source's own detector", BLACK, ".", "--")
    _line(panel, noise, "mapped, adversarial against noise", GREY, "x", ":")
    panel.set_ylabel("AUROC", fontsize="small")
    panel.grid(alpha=0.25, linewidth=0.5)
    panel.tick_params(labelsize="small")


def _line(panel: Axes, found: Mapping[float, Found], label: str, colour: str, marker: str, style: str) -> None:
    means: dict[float, Mean] = {eps: made for eps, values in sorted(found.items()) if (made := over_seeds(values)) is not None}
    if means:
        panel.errorbar(
            list(means),
            [m.value for m in means.values()],
            yerr=[m.half or 0.0 for m in means.values()],
            color=colour,
            marker=marker,
            linestyle=style,
            linewidth=1.4,
            markersize=5,
            capsize=2.5,
            label=label,
        )
