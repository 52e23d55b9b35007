# SPDX-License-Identifier: Apache-2.0
"""What all renderers share: harmless text, arrows, units."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from lipbench.contract.values import Column, Table

ARROWS = {"higher": "↑", "lower": "↓", "none": ""}
_JOINERS = "\u200c\u200d"
"""Invisible, but scripts such as Persian and combined signs need them; they reorder and hide nothing."""


def visible(text: str) -> str:
    r"""One line in which nothing is hidden: whitespace becomes a space, controls and bidi marks their code points.

    A right-to-left override would show a text in another order than it has, an escape character would speak to the terminal,
    and half a surrogate pair could not be written to a file.

    >>> visible("a\u202eb\n c")
    'a[U+202E]b c'
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_visible_sign, text))
    return " ".join(text.split())


def _visible_sign(sign: str) -> str:
    if sign.isspace():
        return " "
    if unicodedata.category(sign) in ("Cc", "Cf", "Cs") and sign not in _JOINERS:
        return f"[U+{ord(sign):04X}]"
    return sign


def paragraphs(text: str) -> list[str]:
    """Texts between empty lines, each as one line."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return [visible(" ".join(block)) for block in blocks if block]


def shown_unit(unit: str) -> str:
    """A unit in words; none for a pure number."""
    return "" if unit == "1" else visible(unit)


def shared_unit(table: Table) -> str:
    """The unit of all columns that have one, where there are several: said once instead of in every header."""
    units = [c.unit for c in table.columns if c.unit]
    return shown_unit(units[0]) if len(units) > 1 and len(set(units)) == 1 else ""


def own_unit(column: Column, shared: str) -> str:
    """The unit that belongs into a column's header."""
    unit = shown_unit(column.unit)
    return "" if unit == shared else unit


def numeric(table: Table) -> list[bool]:
    """Which columns hold numbers."""
    found = [False] * len(table.columns)
    for row in table.rows:
        for i, entry in enumerate(row):
            if entry.value is not None:
                found[i] = True
    return found


def unique_names(columns: Sequence[Column]) -> list[str]:
    """Names of the columns, a number behind those that come again."""
    names: list[str] = []
    seen: dict[str, int] = {}
    for column in columns:
        name = visible(column.name)
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names
