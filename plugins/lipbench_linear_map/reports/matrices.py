# SPDX-License-Identifier: Apache-2.0
"""Target by source matrices of AUROC, measured and published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from .averages import by_pair, correlation, mean, shares
from .reading import Point, Results, Setting

Pair = tuple[str, str]
"""Target and source."""
Published = Sequence[Mapping[str, Any]]
"""Entries of a reference file."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """What the variance of a matrix is due to."""

    rows: int
    columns: int
    source: float
    """Share of the variance that the sources' column means have."""
    target: float
    """Share that the targets' row means have."""
    with_source: float | None
    """Correlation of the off-diagonal column means with the AUROC of the source's own detector."""
    with_target: float | None
    """Correlation of the off-diagonal row means with that of the target's own detector."""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """AUROC of each target's detector on each source, mean over seeds."""

    title: str
    cells: Mapping[Pair, float]
    diagonal: frozenset[Pair]
    """Where source and target are one network."""
    own: Mapping[Pair, tuple[float | None, float | None]]
    """AUROC of the own detectors of target and of source, on the images of the pair."""

    @cached_property
    def targets(self) -> list[str]:
        """Rows."""
        names = {pair[0] for pair in self.cells}
        return [n for n in self._networks if n in names]

    @cached_property
    def sources(self) -> list[str]:
        """Columns."""
        names = {pair[1] for pair in self.cells}
        return [n for n in self._networks if n in names]

    @property
    def _networks(self) -> list[str]:
        """One order for rows and columns, so that the diagonal is one."""
        return list(dict.fromkeys(pair[i] for i in (1, 0) for pair in self.cells))

    @property
    def off_diagonal(self) -> dict[Pair, float]:
        """What was mapped."""
        return {pair: v for pair, v in self.cells.items() if pair not in self.diagonal}

    def split(self) -> Split | None:
        """The classic two-way decomposition of all cells, diagonal included; None where the matrix is too small.

        Sources that some target lacks are left out.
        """
        whole = [s for s in self.sources if all((t, s) in self.cells for t in self.targets)]
        cells = {(t, s): self.cells[t, s] for t in self.targets for s in whole}
        found = shares(cells)
        if found is None:
            return None
        return Split(
            rows=len(self.targets),
            columns=len(whole),
            target=found[0],
            source=found[1],
            with_target=self._with_own(0),
            with_source=self._with_own(1),
        )

    def _with_own(self, side: int) -> float | None:
        """Correlation of off-diagonal row (0) or column (1) means with the own detectors."""
        mapped: dict[str, list[float]] = {}
        native: dict[str, list[float]] = {}
        for pair, value in self.off_diagonal.items():
            own = self.own.get(pair, (None, None))[side]
            if own is not None:
                mapped.setdefault(pair[side], []).append(value)
                native.setdefault(pair[side], []).append(own)
        return correlation([mean(v) for v in mapped.values()], [mean(v) for v in native.values()])


def matrix_points(results: Results, setting: Setting) -> dict[Point, float]:
    """The AUROCs of a setting; where the diagonal was not asked here, it comes from cells that measured the same."""
    found = results.values(setting, "auroc")
    targets, sources, seeds = ({p[i] for p in found} for i in range(3))
    missing = sorted({Point(n, n, int(seed)) for n in map(str, targets & sources) for seed in seeds} - found.keys())
    return found | results.own(setting, "target", missing)


def measured_matrix(results: Results, setting: Setting) -> Matrix:
    """The AUROCs of a setting, mean over seeds."""
    found = matrix_points(results, setting)
    cells = by_pair(found)
    own = [by_pair(results.own(setting, of, found)) for of in ("target", "source")]
    return Matrix(
        title=str(setting),
        cells=cells,
        diagonal=frozenset(p[:2] for p in found if results.native(p)),
        own={pair: (own[0].get(pair), own[1].get(pair)) for pair in cells},
    )


def published_matrix(published: Published, setting: Setting) -> Matrix | None:
    """The published matrix that is closest to a setting: of the same data and attack if there is one, else the fullest.

    Args:
        published: Entries whose `where` names source, target and the metric `auroc`.
        setting: What it is to stand beside.
    """
    found = list(_matrices(published, "auroc"))
    return max(found, key=lambda m: (*_close(m[0], setting), len(m[1].cells)), default=(None, None))[1]


def _matrices(published: Published, metric: str) -> Iterable[tuple[Mapping[str, str], Matrix]]:
    """All published matrices with what they are about."""
    groups: dict[tuple[tuple[str, str], ...], dict[Pair, float]] = {}
    for entry in published:
        where: Mapping[str, str] = entry.get("where") or {}
        if where.get("metric") == metric and {"source", "target"} <= where.keys() and not entry.get("extra"):
            about = tuple(sorted((k, v) for k, v in where.items() if k not in ("source", "target", "metric")))
            groups.setdefault(about, {}).setdefault((_plain(where["target"]), _plain(where["source"])), float(entry["value"]))
    for about, cells in groups.items():
        facts = dict(about)
        own = {t: v for (t, s), v in cells.items() if t == s}
        yield (
            facts,
            Matrix(
                title=", ".join(_plain(facts[k]) for k in ("data", "attack", "map", "feature") if k in facts),
                cells=cells,
                diagonal=frozenset(pair for pair in cells if pair[0] == pair[1]),
                own={(t, s): (own.get(t), own.get(s)) for t, s in cells},
            ),
        )


def _close(about: Mapping[str, str], setting: Setting) -> tuple[bool, ...]:
    """In which of data, feature, attack and map it agrees, the more important first; attack and map only for the same data."""
    data, *others = (
        any(fnmatchcase(word, about[role]) for word in (setting.label(role), setting.use(role)) if role in about)
        for role in ("data", "feature", "attack", "map")
    )
    return data, others[0], *(fits and data for fits in others[1:])


def _plain(pattern: str) -> str:
    """A pattern as a name.

    >>> _plain("resnet50*")
    'resnet50'
    """
    return pattern.strip("*")
