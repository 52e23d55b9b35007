# SPDX-License-Identifier: Apache-2.0
"""Which distances tell which pairs apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLUE, GREY, RED, legend_below, log_ticks, panels, shorter, styles

from lipbench.api import Column, Entry, Record, Table

from .reading import distance_of, in_order, measured, pair_of, parameter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BANDS = 5
"""Distances that are drawn."""


def separation(records: Sequence[Record]) -> Table:
    """A row for each distance, a column for each pair, at the number of rows that most cells have.

    Args:
        records: In the order of the plan.
    """
    found = measured(records, "separation")
    rows = _common(found)
    mine = [r for r in found if parameter(r, "rows") == rows]
    pairs = in_order(pair_of(r) for r in mine)
    cells = {(distance_of(r), pair_of(r)): r for r in mine}
    return Table(
        title=f"Separation by {rows} rows" if mine else "Separation",
        columns=[Column(name="distance"), *(Column(name=p, direction="higher", unit="AUROC") for p in pairs)] if mine else (),
        rows=[
            [Entry(text=name), *(_entry(cells.get((name, pair))) for pair in pairs)]
            for name in in_order(distance_of(r) for r in mine)
        ],
        caption="AUROC of distances of the pair against distances within one of the two distributions; 0.5 sees no difference."
        if mine
        else "",
    )


def _common(found: Sequence[Record]) -> int | None:
    counts: dict[int, int] = {}
    for r in found:
        counts[parameter(r, "rows")] = counts.get(parameter(r, "rows"), 0) + 1
    return max(counts, key=lambda n: (counts[n], n), default=None)


def _entry(record: Record | None) -> Entry:
    if record is None:
        return Entry(text="")
    return Entry(text=f"{record.value:.3f}", value=record.value)


def sampling(records: Sequence[Record]) -> dict[str, Figure]:
    """Distances of samples against their rows, of the pair and within: a figure for each pair, a panel for each distance.

    Args:
        records: In the order of the plan.
    """
    found = measured(records, "separation")
    figures = {}
    for pair in in_order(pair_of(r) for r in found):
        mine = [r for r in found if pair_of(r) == pair]
        several = [d for d in in_order(distance_of(r) for r in mine) if sum(distance_of(r) == d for r in mine) > 1][
            : _BANDS + 1
        ]
        if not several:
            continue
        figure, axes = panels(len(several), width=3.4, height=2.7)
        for panel, name in zip(axes, several, strict=True):
            _bands(panel, name, [r for r in mine if distance_of(r) == name])
        figure.suptitle(f"{shorter(pair, 40)}: distances of samples, mean and middle 90 %")
        legend_below(figure, axes)
        figures["sampling-" + "-".join(pair.replace(",", " ").replace(".", " ").split())] = figure
    return figures


def _bands(panel: Axes, name: str, records: Sequence[Record]) -> None:
    ordered = sorted(records, key=lambda r: parameter(r, "rows"))
    rows = [parameter(r, "rows") for r in ordered]
    for key, colour, label in (("across", RED, "the pair"), ("within", BLUE, "two samples of one distribution")):
        means, lows, _, highs = zip(*(r.extras[key] for r in ordered), strict=True)
        panel.fill_between(rows, lows, highs, color=colour, alpha=0.18, linewidth=0)
        panel.plot(rows, means, color=colour, marker="o", markersize=4, linewidth=1.3, label=label)
    panel.axhline(0, color=GREY, linewidth=0.6)
    panel.set_xscale("log")
    log_ticks(panel.xaxis, rows[0], rows[-1])
    panel.set_title(f"{shorter(name, 26)}; AUROC {ordered[-1].value:.2f}", fontsize="medium")
    panel.set_xlabel("rows of a sample", fontsize="small")
    panel.set_ylabel(ordered[0].extras.get("unit", ""), fontsize="small")
    panel.tick_params(labelsize="small")


def separation_curves(records: Sequence[Record]) -> dict[str, Figure]:
    """AUROC against the rows of a sample: a panel for each pair, a line for each distance that has several sizes.

    Args:
        records: In the order of the plan.
    """
    found = measured(records, "separation")
    lines: dict[tuple[str, str], list[Record]] = {}
    for r in found:
        lines.setdefault((pair_of(r), distance_of(r)), []).append(r)
    lines = {key: mine for key, mine in lines.items() if len(mine) > 1}
    pairs = in_order(pair for pair, _ in lines)
    if not pairs:
        return {}
    looks = styles(name for _, name in lines)
    figure, axes = panels(len(pairs), width=3.9, height=3.0)
    for panel, pair in zip(axes, pairs, strict=True):
        for (_, name), mine in ((key, mine) for key, mine in lines.items() if key[0] == pair):
            ordered = sorted(mine, key=lambda r: parameter(r, "rows"))
            colour, marker = looks[name]
            sizes = [parameter(r, "rows") for r in ordered]
            panel.plot(
                sizes, [r.value or 0.0 for r in ordered], color=colour, marker=marker, markersize=4, linewidth=1.1, label=name
            )
        rows = [parameter(r, "rows") for r in found if pair_of(r) == pair]
        panel.axhline(0.5, color=GREY, linewidth=0.8)
        panel.set_ylim(0.25, 1.03)
        panel.set_xscale("log")
        log_ticks(panel.xaxis, min(rows), max(rows))
        panel.set_title(shorter(pair, 34), fontsize="medium")
        panel.set_xlabel("rows of a sample", fontsize="small")
        panel.set_ylabel("AUROC", fontsize="small")
        panel.tick_params(labelsize="small")
    figure.suptitle("Which samples are told apart; grey: chance")
    legend_below(figure, axes)
    return {"separation_curves": figure}
