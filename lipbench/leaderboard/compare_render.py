# SPDX-License-Identifier: Apache-2.0
"""A comparison as text, as Markdown for a pull request, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lipbench.leaderboard.compare import REGRESSIONS, VERDICTS, Comparison, Cost, Line, SuiteComparison, Verdict
from lipbench.leaderboard.numbers import format_number
from lipbench.leaderboard.render.markdown import escape
from lipbench.leaderboard.render.text import visible

DIGITS = 4
LISTED = 50
"""So many lines of a suite are listed as text, and in all tables of a Markdown comment; JSON has all of them."""
COSTS_LISTED = 10
COMMENT = 60_000
"""Characters; a comment on GitHub takes 65,536 bytes."""


def headline(comparison: Comparison) -> str:
    """One sentence on all of it."""
    counts: dict[Verdict, int] = {}
    for suite in comparison.suites:
        for verdict, count in suite.counts().items():
            counts[verdict] = counts.get(verdict, 0) + count
    bad = sum(counts.get(v, 0) for v in REGRESSIONS)
    dear = sum(cost.regression for suite in comparison.suites for cost in suite.costs)
    parts = [f"{bad} regression{'' if bad == 1 else 's'}", *([f"{dear} costs above their threshold"] if dear else [])]
    return f"{', '.join(parts)}: {_counts(counts)}"


def _counts(counts: Mapping[Verdict, int]) -> str:
    return ", ".join(f"{counts[v]} {v}" for v in VERDICTS if v in counts) or "nothing to compare"


def place(line: Line | Cost) -> str:
    """Row and metric in words."""
    return visible(" · ".join([*line.row, line.metric]))


def numbers(line: Line) -> str:
    """Base, new, and their difference."""
    if line.base is None or line.new is None:
        value = line.base if line.new is None else line.new
        return "" if value is None else format_number(value, DIGITS)
    unit = "" if line.unit == "1" else f" {visible(line.unit)}"
    return f"{_pair(line.base, line.new)}{unit}"


def _pair(base: float, new: float) -> str:
    share = f" ({(new - base) / abs(base):+.2%})" if base else ""
    texts = [format_number(v, DIGITS) for v in (base, new)]
    if texts[0] == texts[1] and base != new:
        texts = [repr(v) for v in (base, new)]
    return f"{' → '.join(texts)}{share}"


def reasons(line: Line) -> str:
    """The test and all remarks."""
    test = [line.test + (f", p = {line.p:.2g}" if line.p is not None else "")] if line.test else []
    return visible("; ".join([*test, *line.remarks]))


def ordered(suite: SuiteComparison) -> list[Line]:
    """All that is not the same, the most serious first."""
    return sorted((line for line in suite.lines if line.verdict != "same"), key=lambda line: VERDICTS.index(line.verdict))


def _absent(suite: SuiteComparison) -> str:
    return f"only in {suite.there.upper()}, {len(suite.lines)} values" if suite.there != "both" else ""


def render_text(comparison: Comparison) -> str:
    """Lines for a terminal or a log."""
    return "".join(f"{line}\n" for line in _text(comparison))


def _text(comparison: Comparison) -> Iterator[str]:
    for suite in comparison.suites:
        yield f"{visible(suite.suite)}: {_absent(suite) or _counts(suite.counts())}"
        lines = ordered(suite) if suite.there == "both" else []
        for line in lines[:LISTED]:
            yield "  ".join(filter(None, [f"    {line.verdict:9}", place(line), numbers(line), reasons(line)]))
        if len(lines) > LISTED:
            yield f"    ... and {len(lines) - LISTED} more; --format json has all of them"
        yield from (f"    {text}" for text in _costs(suite))
    yield headline(comparison)


def _costs(suite: SuiteComparison) -> Iterator[str]:
    listed = sorted(suite.costs, key=lambda cost: (not cost.regression, not cost.higher))
    for cost in listed[:COSTS_LISTED]:
        kind = "cost" if not cost.gated else "dearer" if cost.higher else "cheaper"
        yield f"{kind:9}  {place(cost)}  {cost.name} {_pair(cost.base, cost.new)}"
    if len(listed) > COSTS_LISTED:
        yield f"... and {len(listed) - COSTS_LISTED} more costs; --format json has all of them"


def render_markdown(comparison: Comparison) -> str:
    """Short, with the details folded; cut where a comment on a pull request would be too long."""
    out = [f"### lipbench: {escape(headline(comparison))}", ""]
    room, left_out = LISTED, 0
    for suite in comparison.suites:
        if suite.there != "both":
            out += [f"**{escape(suite.suite)}**: {escape(_absent(suite))}", ""]
            continue
        lines = ordered(suite)
        bad = [line for line in lines if line.verdict in REGRESSIONS]
        rest = lines[len(bad) :]
        shown = bad[:room], rest[: max(0, room - len(bad))]
        room = max(0, room - len(bad) - len(rest))
        left_out += len(bad) + len(rest) - sum(map(len, shown))
        out += [f"**{escape(suite.suite)}**: {escape(_counts(suite.counts()))}", "", *_rows(shown[0])]
        costs = [f"- {escape(' '.join(text.split()))}" for text in _costs(suite)]
        if shown[1] or costs:
            words = ", ".join(filter(None, [f"{len(shown[1])} other differences" * bool(shown[1]), "costs" * bool(costs)]))
            out += [f"<details><summary>{words}</summary>", "", *_rows(shown[1]), *costs, "", "</details>", ""]
    if left_out:
        out += [f"{left_out} more differences; `--format json` has all of them.", ""]
    out += [
        f"<sub>Chance that equal code with other seeds gets any verdict of better or worse: {comparison.alpha:g} at most. "
        "`same` also means: no difference beyond noise was found.</sub>"
    ]
    # In a comment, an at sign before a name would notify whoever has it; the invisible space keeps GitHub from that.
    text = ("\n".join(out) + "\n").replace("@", "@&#8203;")
    if len(text.encode("utf-8", "replace")) <= COMMENT:
        return text
    counts = [f"- **{escape(s.suite)}**: {escape(_absent(s) or _counts(s.counts()))}"[:500] for s in comparison.suites[:LISTED]]
    return "\n".join([out[0], "", *counts, "", "The list is too long for a comment; `--format json` has it.", ""])


def _rows(lines: Sequence[Line]) -> Iterator[str]:
    if lines:
        yield from ("| | where | base → new | why |", "| --- | --- | ---: | --- |")
        for line in lines:
            yield f"| {line.verdict} | {escape(place(line))} | {escape(numbers(line))} | {escape(reasons(line))} |"
        yield ""


def document(comparison: Comparison) -> dict[str, Any]:
    """All of it as JSON-able data."""
    return {"alpha": comparison.alpha, "headline": headline(comparison), "suites": [_suite(s) for s in comparison.suites]}


def _suite(suite: SuiteComparison) -> dict[str, Any]:
    rows: dict[tuple[str, ...], list[Line]] = {}
    for line in suite.lines:
        rows.setdefault(line.row, []).append(line)
    return {
        "suite": visible(suite.suite),
        "there": suite.there,
        "counts": suite.counts(),
        "rows": [
            {
                "row": _row(suite, row),
                "verdict": min((line.verdict for line in lines), key=VERDICTS.index),
                "metrics": [_line(line) for line in lines],
            }
            for row, lines in rows.items()
        ],
        "costs": [
            {
                "row": _row(suite, c.row), "metric": visible(c.metric), "cost": c.name, "base": c.base, "new": c.new,
                "regression": c.regression,
            }
            for c in suite.costs
        ],
    }  # fmt: skip


def _row(suite: SuiteComparison, row: Sequence[str]) -> dict[str, str]:
    return {visible(key): visible(label) for key, label in zip(suite.keys, row, strict=True)}


def _line(line: Line) -> dict[str, Any]:
    return {
        "metric": visible(line.metric), "verdict": line.verdict, "base": line.base, "new": line.new, "unit": visible(line.unit),
        "direction": line.direction, "test": line.test, "p": line.p, "remarks": [visible(r) for r in line.remarks],
        "seeds": [vars(seed) for seed in line.seeds],
    }  # fmt: skip


def render_json(comparison: Comparison) -> str:
    """JSON for programs, with every cell."""
    return json.dumps(document(comparison), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
