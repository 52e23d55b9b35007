# SPDX-License-Identifier: Apache-2.0
"""A comparison for machines that test: JUnit XML, and annotations and the step summary of GitHub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from lipbench.leaderboard.compare import REGRESSIONS, Comparison, Line
from lipbench.leaderboard.compare_render import numbers, ordered, place, reasons
from lipbench.leaderboard.render.text import visible

ANNOTATIONS = 10
"""GitHub shows no more errors of one step."""
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not have, even escaped."""
_SKIPPED = ("incomparable", "untested", "gone", "new", "changed")


def render_junit(comparison: Comparison) -> str:
    """A test suite for each suite and a test case for each metric of a row; a regression is a failure."""
    root = ElementTree.Element("testsuites", name="lipbench compare")
    for suite in comparison.suites:
        dear = [cost for cost in suite.costs if cost.regression]
        bad = sum(line.verdict in REGRESSIONS for line in suite.lines) + len(dear)
        skipped = sum(line.verdict in _SKIPPED for line in suite.lines)
        node = ElementTree.SubElement(
            root, "testsuite", name=_text(suite.suite), tests=str(len(suite.lines) + len(dear)), failures=str(bad),
            errors="0", skipped=str(skipped),
        )  # fmt: skip
        for line in suite.lines:
            case = _case(node, suite.suite, line.row, line.metric)
            if line.verdict in REGRESSIONS:
                ElementTree.SubElement(case, "failure", type=line.verdict, message=_message(line)).text = _message(line)
            elif line.verdict in _SKIPPED:
                ElementTree.SubElement(case, "skipped", message=_message(line))
        for cost in dear:
            case = _case(node, suite.suite, cost.row, f"{cost.metric}: {cost.name}")
            ElementTree.SubElement(case, "failure", type="cost", message=f"{cost.base!r} to {cost.new!r}")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(node: ElementTree.Element, suite: str, row: tuple[str, ...], metric: str) -> ElementTree.Element:
    return ElementTree.SubElement(node, "testcase", classname=_text(".".join([suite, *row])), name=_text(metric))


def _message(line: Line) -> str:
    return _text(": ".join(filter(None, [line.verdict, numbers(line), reasons(line)])))


def _text(text: str) -> str:
    return _NO_XML.sub("\ufffd", visible(text))


def error_commands(comparison: Comparison) -> Iterator[str]:
    """Workflow commands that make regressions visible on the page of a run, the first few of them."""
    found = [
        _command(f"{line.verdict}: {suite.suite}", ": ".join(filter(None, [place(line), numbers(line), reasons(line)])))
        for suite in comparison.suites
        for line in ordered(suite)
        if line.verdict in REGRESSIONS
    ]
    found += [
        _command(f"cost: {suite.suite}", f"{place(c)}: {c.name} {c.base!r} to {c.new!r}")
        for suite in comparison.suites
        for c in suite.costs
        if c.regression
    ]
    if len(found) > ANNOTATIONS:
        left = len(found) - ANNOTATIONS + 1
        found = [*found[: ANNOTATIONS - 1], _command("lipbench compare", f"{left} more regressions; the log has them")]
    yield from found


def _command(title: str, message: str) -> str:
    return f"::error title={_escaped(title, property=True)}::{_escaped(message)}"


def _escaped(text: str, *, property: bool = False) -> str:
    escaped = visible(text).replace("%", "%25")
    return escaped.replace(":", "%3A").replace(",", "%2C") if property else escaped
