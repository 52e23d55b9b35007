# SPDX-License-Identifier: Apache-2.0
"""What a reader must know before believing the method: one line each, with the figures behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from lipbench.api import Column, Entry, Record, Table

from .curves import Curve, attempts_curves, curves
from .drift import drift
from .finding import Finding
from .published import published_grid
from .reading import (
    AUROC,
    Grid,
    Pair,
    Published,
    Results,
    bounds,
    evaluations,
    mean,
    measured,
    over_seeds,
    pair_name,
    pair_of,
)

_CAPTION = (
    "LMD is the detector of that kind with the most pairs, the first of several. Figures are AUROCs where nothing else is said."
)
_SOURCE_EVALUATIONS = 10 * 1000
"""Of the source of the method for one image: attempts times levels of noise."""
_NAMED = 6
"""Cells that a line names."""


def findings(records: Sequence[Record], published: Published = ()) -> Table:
    """A line for each question that the suite has measured what it needs for.

    Args:
        records: In the order of the plan.
        published: Entries of the suite's reference file.
    """
    results = Results(records)
    theirs = published_grid(records, published)
    makers: Sequence[Callable[[], Finding | None]] = (
        lambda: _against(results.main_grid, "baseline", "does LMD beat the best baseline?", theirs),
        lambda: _against(results.main_grid, "control", "does LMD beat controls without a model?", None),
        lambda: _inverted(results),
        lambda: _attempts(records),
        lambda: _distances(records),
        lambda: _cost(results),
        lambda: drift(records),
        lambda: _published(records, published),
    )
    lines = [made for make in makers if (made := make()) is not None]
    names = ["question", "finding", "figures", *(["published"] if any(line.published for line in lines) else [])]
    texts = [{**vars(line), "figures": "; ".join(line.figures)} for line in lines]
    return Table(
        title="Findings",
        columns=[Column(name=name) for name in names] if lines else (),
        rows=[[Entry(text=text[name]) for name in names] for text in texts],
        caption=_CAPTION if lines else "",
    )


def _against(grid: Grid, kind: str, question: str, theirs: Grid | None) -> Finding | None:
    """LMD against the best of a kind on each pair, and against each of them on its own."""
    made = _rivals(grid, kind)
    if made is None:
        return None
    finding, figures = made
    published = _rivals(theirs, kind) if theirs is not None else None
    return Finding(
        question=question,
        finding=finding,
        figures=figures,
        published="; ".join([published[0], *published[1]]) if published else "",
    )


def _rivals(grid: Grid, kind: str) -> tuple[str, list[str]] | None:
    rivals = {name: grid.cells[name] for name in grid.of(kind)}
    if grid.headline is None:
        return None
    mine = {pair: v for pair, v in grid.cells[grid.headline].items() if any(pair in c for c in rivals.values())}
    if not mine:
        return None
    best = {pair: max(c[pair] for c in rivals.values() if pair in c) for pair in mine}
    figures = [f"{grid.headline} {mean(mine.values()):.3f}", f"best of {len(rivals)} on each pair {mean(best.values()):.3f}"]
    whole = {name: mean(c[pair] for pair in mine) for name, c in rivals.items() if mine.keys() <= c.keys()}
    if whole:
        name = max(whole, key=lambda n: whole[n])
        figures.append(f"best on average {name} {whole[name]:.3f}, beaten on {_ahead(mine, rivals[name])}")
    return f"ahead of all of them on {_ahead(mine, best)}", figures


def _ahead(mine: Mapping[Pair, float], other: Mapping[Pair, float]) -> str:
    level = sum(v == other[pair] for pair, v in mine.items())
    return f"{sum(v > other[pair] for pair, v in mine.items())} of {len(mine)} pairs" + (f", level on {level}" if level else "")


def _inverted(results: Results) -> Finding | None:
    """Where a detector finds foreign images more in-domain than in-domain ones."""
    cells = [(name, pair, found) for name, c in results.cells.items() for pair, found in c.items() if pair not in results.null]
    below = sorted(
        ((over_seeds(found).value, name, pair) for name, pair, found in cells if bounds(found)[1] < 0.5),
        key=lambda cell: cell[0],
    )
    if not cells:
        return None
    named = [f"{name} on {pair_name(pair)} {value:.3f}" for value, name, pair in below[:_NAMED]]
    more = [f"{len(below) - _NAMED} more"] if len(below) > _NAMED else []
    finding = (
        f"on {len(below)} of {len(cells)} cells, with the whole 95 % interval"
        if below
        else "nowhere with the whole 95 % interval"
    )
    return Finding(question="where are scores inverted (below 0.5)?", finding=finding, figures=[*named, *more])


def _attempts(records: Sequence[Record]) -> Finding | None:
    """One attempt against all, from the same reconstructions."""
    found = [c for c in attempts_curves(records) if min(c.points) == 1]
    if not found:
        return None
    ends = [(over_seeds(c.points[1]).value, over_seeds(c.points[max(c.points)]).value) for c in found]
    gains = [b - a for a, b in ends]
    most = sorted({max(c.points) for c in found})
    return Finding(
        question="what do more attempts buy?",
        finding=f"{mean(gains):+.3f} on average, from {min(gains):+.3f} to {max(gains):+.3f} over {len(found)} curves",
        figures=[
            f"one attempt {mean(a for a, _ in ends):.3f}",
            f"{' or '.join(map(str, most))} attempts {mean(b for _, b in ends):.3f}",
        ],
    )


def _distances(records: Sequence[Record]) -> Finding | None:
    """The distances on all pairs that have each of them, all else the same."""
    groups: dict[tuple[tuple[str, str], ...], list[Curve]] = {}
    for c in curves(records, "detector", "distance", lambda r: r.params.get("detector", {}).get("distance")):
        groups.setdefault(tuple(sorted((k, v) for k, v in c.facts.items() if k != "backbone")), []).append(c)
    group = max(groups.values(), key=lambda g: sum(len(c.points) for c in g), default=[])
    names = list(dict.fromkeys(name for c in group for name in c.points))
    common = [c for c in group if len(c.points) == len(names)]
    if not common:
        return None
    means = {name: mean(over_seeds(c.points[name]).value for c in common) for name in names}
    worst = {name: min(over_seeds(c.points[name]).value for c in common) for name in names}
    best = max(means, key=lambda name: means[name])
    return Finding(
        question="which distance is best?",
        finding=f"{best} on average over {len({c.pair for c in common})} pairs, with {common[0].facts['lift']}",
        figures=[f"{n} {means[n]:.3f} (worst pair {worst[n]:.3f})" for n in sorted(names, key=lambda n: -means[n])],
    )


def _cost(results: Results) -> Finding | None:
    """What an image costs LMD, the source, and the best baseline."""
    grid = results.main_grid
    mine = _evaluations(results, grid.headline) if grid.headline is not None else None
    if not grid.headline or not mine:
        return None
    pairs = grid.cells[grid.headline].keys()
    means = {n: mean(grid.cells[n][pair] for pair in pairs) for n in grid.of("baseline") if pairs <= grid.cells[n].keys()}
    rival = max(means, key=lambda n: means[n], default=None)
    theirs = _evaluations(results, rival) if rival else None
    return Finding(
        question="what does an image cost?",
        finding=f"{mine:.0f} evaluations of the network, {100 * mine / _SOURCE_EVALUATIONS:.3g} % of the source's",
        figures=[
            f"{grid.headline} {mine:.0f}",
            f"source {_SOURCE_EVALUATIONS} (10 attempts of 1000 levels)",
            *([f"best baseline on average {rival} {theirs:.0f}"] if theirs is not None else []),
        ],
    )


def _evaluations(results: Results, name: str) -> float | None:
    found = [v for c in results.cells[name].values() for r in c.values() if (v := evaluations(r)) is not None]
    return mean(found) if found else None


def _published(records: Sequence[Record], published: Published) -> Finding | None:
    """How far ours are from published AUROCs of the same detectors on the same sets."""
    aurocs = [r for r in records if r.uses.get("metric") == AUROC and measured(r)]
    gaps: dict[str, tuple[float, str]] = {}  # by cell: some numbers stand in several tables
    for entry in published:
        where = entry.get("where") or {}
        found = {r.seed: r for r in reversed(aurocs) if {"in_dist", "out_dist"} <= where.keys() and _fits(r, where)}
        if found and not entry.get("extra"):
            r = next(iter(found.values()))
            ours, theirs = over_seeds(found).value, float(entry["value"])
            words = f"{r.roles['detector']} on {pair_name(pair_of(r))} {ours:.3f}, published {theirs:.3f}"
            gaps.setdefault(r.cell, (ours - theirs, words))
    if not gaps:
        return None
    return Finding(
        question="how far from published AUROCs?",
        finding=f"{mean(gap for gap, _ in gaps.values()):+.3f} on average over {len(gaps)} of them",
        figures=[f"furthest: {max(gaps.values(), key=lambda gap: abs(gap[0]))[1]}"],
    )


def _fits(record: Record, where: Mapping[str, str]) -> bool:
    """Whether a record is what a published entry speaks of: by labels, or by names of components."""
    facts = {**record.roles, "metric": record.metric}
    return all(
        any(word == pattern or fnmatchcase(word, pattern) for word in (facts.get(role, ""), record.uses.get(role, "")))
        for role, pattern in where.items()
    )
