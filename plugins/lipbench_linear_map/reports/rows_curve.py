# SPDX-License-Identifier: Apache-2.0
"""How many rows a map needs: detection and error against the rows of its fit, worst where there are as many as columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lipbench_basics.figures import BLACK, GREY, legend_below, log_ticks, pages, put, shorter, styles

from lipbench.api import Record

from .averages import mean
from .derived import rows_and_columns
from .matrices import Pair
from .reading import Results, Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAIRS = 6
_ACROSS = 3

_Curve = dict[float, dict[int, float]]
"""Rows to the value of each seed; all rows of the part, and just as many asked for, are the same fit."""


@dataclass
class _Sweep:
    """One pair with one map's curves each, everything else the same."""

    title: str
    pair: Pair
    auroc: dict[str, _Curve] = field(default_factory=dict)
    mse: dict[str, _Curve] = field(default_factory=dict)
    native: list[float] = field(default_factory=list)
    columns: set[float] = field(default_factory=set)

    def several(self) -> bool:
        """Keep the maps with several numbers of rows; whether there are any."""
        for curves in (self.auroc, self.mse):
            for name in [name for name, curve in curves.items() if len(curve) < 2]:
                del curves[name]
        return bool(self.auroc or self.mse)

    @property
    def seeds(self) -> int:
        """The largest number of values at one place."""
        return max(len(values) for curve in (*self.auroc.values(), *self.mse.values()) for values in curve.values())

    @property
    def lengths(self) -> set[float]:
        """The numbers of rows."""
        return {rows for curve in (*self.auroc.values(), *self.mse.values()) for rows in curve}


def rows_curve(records: Sequence[Record]) -> dict[str, Figure]:
    """Two panels for each pair of networks that occurs with several numbers of rows; at most six pairs a figure.

    Args:
        records: In the order of the plan.
    """
    sweeps = [s for s in _sweeps(Results(records)) if s.several()]
    marks = styles(name for s in sweeps for name in (*s.auroc, *s.mse))
    figures: dict[str, Figure] = {}
    for page in pages(sweeps, PAIRS):
        put(figures, "rows_curve", _figure(page, marks))
    return figures


def _sweeps(results: Results) -> Iterable[_Sweep]:
    found: dict[tuple[object, ...], _Sweep] = {}
    for setting in results.settings:
        group = setting.apart("map", "map_rows")
        sizes = rows_and_columns(results, setting)
        auroc, mse = results.mapped(setting), results.mapped(setting, "map_mse", per="element")
        own = results.own(setting, "source", auroc)
        for point in dict.fromkeys((*auroc, *mse)):
            rows, columns = sizes.get(point, (_asked(setting), None))
            if rows is None:
                continue
            sweep = found.setdefault((group, point[:2]), _Sweep(_title(setting), point[:2]))
            for curves, values in ((sweep.auroc, auroc), (sweep.mse, mse)):
                if point in values:
                    curves.setdefault(setting.label("map"), {}).setdefault(rows, {})[point.seed] = values[point]
            sweep.native += [own[point]] if point in own else []
            sweep.columns |= {columns} if columns is not None else set()
    return found.values()


def _asked(setting: Setting) -> float | None:
    rows = setting.get("map_rows")
    return None if rows is None else float(rows)


def _title(setting: Setting) -> str:
    return ", ".join(label for role in ("data", "attack", "feature") if (label := setting.label(role)))


def _figure(sweeps: Sequence[_Sweep], marks: Mapping[str, tuple[str, str]]) -> Figure:
    from matplotlib.figure import Figure

    columns = 2 if len(sweeps) == 4 else min(len(sweeps), _ACROSS)
    bands = -(-len(sweeps) // columns)
    figure = Figure(figsize=(max(5.8, 4.0 * columns), 4.6 * bands + 1.0), layout="constrained")
    grid = figure.subplots(2 * bands, columns, squeeze=False)
    used = []
    for i in range(bands * columns):
        above, below = grid[2 * (i // columns)][i % columns], grid[2 * (i // columns) + 1][i % columns]
        if i < len(sweeps):
            _panels(above, below, sweeps[i], marks)
            used += [above, below]
        else:
            above.remove()
            below.remove()
    titles = dict.fromkeys(s.title for s in sweeps)
    band = "\nbands: smallest to largest seed" if any(s.seeds > 1 for s in sweeps) else ""
    title = shorter(f"Rows of the map's fit: {'; '.join(titles)}", int(10 * figure.get_figwidth()))
    figure.suptitle(title + band, fontsize="medium")
    legend_below(figure, used)
    return figure


def _panels(above: Axes, below: Axes, sweep: _Sweep, marks: Mapping[str, tuple[str, str]]) -> None:
    target, source = sweep.pair
    above.set_title(f"{shorter(source, 20)} → {shorter(target, 20)}", fontsize="medium")
    above.set_ylabel("AUROC", fontsize="small")
    below.set_ylabel("MSE per element", fontsize="small")
    below.set_xlabel("rows n of the map's fit", fontsize="small")
    for panel, curves in ((above, sweep.auroc), (below, sweep.mse)):
        for columns in sorted(sweep.columns):
            panel.axvline(
                columns,
                color=BLACK,
                linewidth=0.9,
                linestyle=":",
                label="n = p, columns of the source that vary (+ 1 with an intercept)",
            )
        for name, curve in curves.items():
            _curve(panel, name, curve, *marks[name])
        panel.set_xlim(*_limits([*sweep.lengths, *sweep.columns]))
        panel.grid(alpha=0.25, linewidth=0.5)
        panel.tick_params(labelsize="small")
    above.tick_params(labelbottom=False)
    if sweep.native:
        above.axhline(mean(sweep.native), color=GREY, linewidth=1.0, linestyle="--", label="native, the source's own detector")
    errors = [v for curve in sweep.mse.values() for values in curve.values() for v in values.values() if v > 0]
    if errors:
        below.set_yscale("log")
        log_ticks(below.yaxis, min(errors), max(errors))


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    more = 0.05 * (high - low) or 1.0
    return low - more, high + more


def _curve(panel: Axes, name: str, curve: _Curve, colour: str, marker: str) -> None:
    rows = sorted(curve)
    panel.plot(
        rows, [mean(curve[n].values()) for n in rows], color=colour, marker=marker, markersize=4.5, linewidth=1.4, label=name
    )
    if any(len(values) > 1 for values in curve.values()):
        low, high = ([end(curve[n].values()) for n in rows] for end in (min, max))
        panel.fill_between(rows, low, high, color=colour, alpha=0.18, linewidth=0)
