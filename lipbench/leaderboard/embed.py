# SPDX-License-Identifier: Apache-2.0
"""Tables between the markers of a Markdown file; everything else in the file stays as it is, byte for byte.

A pair of markers stands on lines of its own:

    <!-- lipbench:begin suite=NAME table="TITLE" -->
    <!-- lipbench:end -->

Without `table` it holds all tables of the suite, without `suite` those of all suites. What stands in fenced code is no marker.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from lipbench.contract.errors import LipbenchError, did_you_mean
from lipbench.leaderboard.page import Board
from lipbench.leaderboard.render import markdown

_MARKER = re.compile(r"^\ufeff? {0,3}<!--\s*lipbench:(\S*)\s*(.*?)\s*-->\s*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}(?!.*`)|~{3,})")  # a line with more backticks is code within a paragraph
_HEADING = re.compile(r"^ {0,3}(#{1,6})(?:\s|$)")
_KEYS = ("suite", "table")


@dataclass(frozen=True, kw_only=True)
class Slot:
    """What stands between two markers."""

    line: int
    """Line of the first marker, from 1."""
    words: str
    """What the first marker says, as it is written."""
    suite: str | None
    table: str | None
    level: int
    """Level of the heading above, 0 where there is none."""
    start: int
    """First line between the markers, from 0."""
    end: int
    """Line of the last marker, from 0."""


def find_slots(text: str, name: str) -> list[Slot]:
    """All pairs of markers in a file.

    Args:
        text: The file.
        name: Its name, for errors.

    Raises:
        LipbenchError: A marker is missing, stands inside another pair, or says something unknown; or there is none.
    """
    slots: list[Slot] = []
    begin: tuple[int, str, dict[str, str], int] | None = None
    level = 0
    for number, line, heading in _outside_code(text):
        if begin is None:
            level = heading or level
        marker = _MARKER.match(line)
        if marker is None:
            continue
        where = f"{name}:{number}"
        if marker[1] == "begin":
            if begin is not None:
                raise LipbenchError(f"{where}: the markers that begin in line {begin[0]} have no end yet; write {_END} above")
            begin = number, marker[2], _parts(marker[2], where), level
        elif marker[1] == "end":
            if begin is None:
                raise LipbenchError(f"{where}: nothing begins above; write {_BEGIN} or delete this line")
            first, words, parts, above = begin
            slots.append(
                Slot(line=first, words=words, **{k: parts.get(k) for k in _KEYS}, level=above, start=first, end=number - 1)
            )
            begin = None
        else:
            raise LipbenchError(
                f"{where}: there is no marker lipbench:{marker[1]}; {did_you_mean(marker[1], ['begin', 'end'])}"
            )
    if begin is not None:
        raise LipbenchError(f"{name}:{begin[0]}: what begins here has no end; write {_END} below")
    if not slots:
        raise LipbenchError(f"{name} has no markers; write {_BEGIN} and, on a line below, {_END} where the tables belong")
    return slots


_BEGIN, _END = "<!-- lipbench:begin suite=NAME -->", "<!-- lipbench:end -->"


def _lines(text: str) -> list[str]:
    # Not splitlines, which takes form feeds and others for ends of lines.
    return text.split("\n")


def _outside_code(text: str) -> Iterator[tuple[int, str, int]]:
    """Lines outside fenced code with their numbers from 1, and the level of a line that is a heading."""
    fence = ""
    for number, line in enumerate(_lines(text), 1):
        mark = _FENCE.match(line)
        if fence:
            closes = mark is not None and mark[1][0] == fence[0] and len(mark[1]) >= len(fence)
            fence = "" if closes and not line.strip().strip(fence[0]) else fence
        elif mark is not None:
            fence = mark[1]
        else:
            heading = _HEADING.match(line)
            yield number, line, len(heading[1]) if heading else 0


def _parts(words: str, where: str) -> dict[str, str]:
    try:
        pairs = [word.partition("=") for word in shlex.split(words)]
    except ValueError as error:
        raise LipbenchError(f'{where}: {error} in {words!r}; write suite=NAME table="TITLE"') from None
    for key, sign, value in pairs:
        if key not in _KEYS:
            raise LipbenchError(f"{where}: markers know no {key!r}; {did_you_mean(key, _KEYS)}")
        if not sign or not value:
            raise LipbenchError(f"{where}: {key} of what? Write {key}=NAME")
    parts = {key: value for key, _, value in pairs}
    if "table" in parts and "suite" not in parts:
        raise LipbenchError(f"{where}: table of which suite? Write suite=NAME in front")
    return parts


def fill(text: str, name: str, suites: Sequence[str], board_of: Callable[[str], Board]) -> tuple[str, list[Slot]]:
    """The text with what belongs between its markers, and the pairs between which something else stood.

    Args:
        text: The file, with whichever ends of lines; they are kept.
        name: Its name, for errors.
        suites: Names of the suites that there are, in order.
        board_of: Makes the board of one.

    Raises:
        LipbenchError: As `find_slots`, or a marker names a suite or a table that is not there.
    """
    lines = _lines(text)
    stale: list[Slot] = []
    slots = find_slots(text, name)
    wanted = [_content(slot, f"{name}:{slot.line}", suites, board_of) for slot in slots]
    for slot, content in reversed(list(zip(slots, wanted, strict=True))):
        carriage = "\r" if lines[slot.start - 1].endswith("\r") else ""
        new = [f"{line}{carriage}" for line in content]
        if lines[slot.start : slot.end] != new:
            stale.insert(0, slot)
            lines[slot.start : slot.end] = new
    return "\n".join(lines), stale


def _content(slot: Slot, where: str, suites: Sequence[str], board_of: Callable[[str], Board]) -> list[str]:
    if slot.suite is not None and slot.suite not in suites:
        raise LipbenchError(f"{where}: there is no suite {slot.suite!r}; {did_you_mean(slot.suite, suites)}")
    boards = [board_of(suite) for suite in ([slot.suite] if slot.suite is not None else suites)]
    if slot.table is None:
        return _framed(_lower(markdown.render(boards), slot.level))
    tables = [table for table in boards[0].tables if table.title == slot.table]
    if not tables:
        titles = [table.title for table in boards[0].tables]
        raise LipbenchError(f"{where}: suite {slot.suite!r} has no table {slot.table!r}; {did_you_mean(slot.table, titles)}")
    bare = replace(boards[0], description="", citation="", tables=tables, findings=())
    return _framed("\n".join(line for line in markdown.render([bare]).split("\n") if not _HEADING.match(line)))


def _lower(text: str, level: int) -> str:
    """Headings one below the heading that stands above them; the renderer writes a number sign nowhere else in front."""
    return re.sub(r"^#+", lambda signs: "#" * min(6, len(signs[0]) + level), text, flags=re.M)


def _framed(text: str) -> list[str]:
    """Empty lines around, without which Markdown would take the markers and a table for one block."""
    return ["", *text.strip("\n").split("\n"), ""]
