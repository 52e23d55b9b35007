# SPDX-License-Identifier: Apache-2.0
"""Detection against the budget of the attack."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLACK, GREY, legend_below, pages, panels, put, shorter, styles

from lipbench.api import Record

from .averages import Mean, over_seeds, within
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
    return [several for group in groups.values() if (several := _several(group))]


def _several(group: _Group) -> _Group:
    """The settings whose map occurs with more than one budget."""
    budgets: dict[str, set[float | None]] = {}
    for s in group:
        budgets.setdefault(s.label("map"), set()).add(_eps(s))
    return [s for s in group if len(budgets[s.label("map")]) > 1]


def _figure(results: Results, groups: Sequence[_Group], everything: Sequence[_Group]) -> Figure:
    figure, axes = panels(len(groups), width=4.8, height=3.6)
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
        mine = {_eps(s) or 0.0: s for s in group if s.label("map") == name}
        points = _common({eps: results.values(s, "auroc") for eps, s in mine.items()})
        mapped = {eps: within(results.mapped(s), points[eps]) for eps, s in mine.items()}
        _line(panel, mapped, f"mapped, {name}", *marks[name], "-")
        native = native or {eps: results.own(s, "source", mapped[eps] or points[eps]) for eps, s in mine.items()}
        if not any(s.null for s in mine.values()):
            noise = noise or {eps: within(results.mapped(s, "auroc_vs_noise"), points[eps]) for eps, s in mine.items()}
    _line(panel, native, "native, the source's own detector", BLACK, ".", "--")
    _line(panel, noise, "mapped, adversarial against noise", GREY, "x", ":")
    panel.set_ylabel("AUROC", fontsize="small")
    panel.grid(alpha=0.25, linewidth=0.5)
    panel.tick_params(labelsize="small")


def _common(found: Mapping[float, Found]) -> dict[float, Found]:
    """The points of the pairs that occur with every budget: a mean over other pairs would be no curve."""
    pairs = set.intersection(*({p[:2] for p in values} for values in found.values()))
    return {eps: {p: v for p, v in values.items() if p[:2] in pairs} for eps, values in found.items()}


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
