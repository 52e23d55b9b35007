# SPDX-License-Identifier: Apache-2.0
"""LaTeX tables with booktabs rules, to be put into a paper as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lipbench.contract.values import Column, Entry, Table
from lipbench.leaderboard.page import Board
from lipbench.leaderboard.render.text import numeric, own_unit, paragraphs, shared_unit, visible

_ARROWS = {"higher": r"$\uparrow$", "lower": r"$\downarrow$", "none": ""}
_PACKAGES = ("[T1]{fontenc}", "{textcomp}", "{booktabs}", "{graphicx}", "[normalem]{ulem}")
_WIDE = 8
"""A table of more columns than this is scaled to the width of the line."""
_SIGNS = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "`": r"\textasciigrave{}",
        "'": r"\textquotesingle{}",
        '"': r"\textquotedbl{}",
        # After the end of a row, a bracket would be read as the space to leave.
        "[": "{[}",
        "]": "{]}",
        "*": "{*}",
        "±": r"$\pm$",
        "·": r"$\cdot$",
        "×": r"$\times$",  # noqa: RUF001
        "≤": r"$\leq$",
        "≥": r"$\geq$",
        "∞": r"$\infty$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "→": r"$\rightarrow$",
        "ε": r"$\varepsilon$",
        "σ": r"$\sigma$",  # noqa: RUF001
        "…": r"\ldots{}",
    }
)
_DASH = re.compile(r"-(?=-)")
"""Two hyphens in a row would become a dash."""
_NEGATIVE = re.compile(r"(?<![\w.])-(?=\.?\d)")
_MINUS = "\ue000"
"""Stands for a minus sign while the text is escaped; of the private use area, which is removed from texts before."""


def render(boards: Sequence[Board]) -> str:
    """All tables of all boards."""
    lines = [rf"% needs \usepackage{package}" for package in _PACKAGES]
    for board in boards:
        lines += ["", f"% {visible(board.title or board.suite)}"]
        lines += [f"% {text}" for text in paragraphs(board.description)]
        if board.citation.strip():
            lines.append(f"% source: {visible(board.citation)}")
        lines += [f"% contradiction: {visible(finding)}" for finding in board.findings]
        for table in board.tables:
            lines += _table(table)
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that LaTeX sets as it is."""
    marked = _NEGATIVE.sub(_MINUS, visible(text).replace(_MINUS, ""))
    return _DASH.sub("-{}", marked.translate(_SIGNS)).replace(_MINUS, "$-$")


def _table(table: Table) -> Iterator[str]:
    unit = shared_unit(table)
    said = [f"{escape(table.title)}."]
    said += [f"Values in {escape(unit)}."] if unit else []
    said += [escape(text) for text in paragraphs(table.caption)]
    wide = len(table.columns) > _WIDE
    yield from ("", r"\begin{table}", r"\centering", rf"\caption{{{' '.join(said)}}}")
    if wide:
        yield r"\resizebox{\linewidth}{!}{%"
    yield rf"\begin{{tabular}}{{{''.join('r' if right else 'l' for right in numeric(table))}}}"
    yield r"\toprule"
    yield _line([_header(column, unit) for column in table.columns])
    yield r"\midrule"
    for row in table.rows:
        yield _line([_entry(entry) for entry in row])
    yield from (r"\bottomrule", r"\end{tabular}" + ("}" if wide else ""))
    if table.notes:
        yield r"\par\smallskip\footnotesize\raggedright"
        for number, note in enumerate(table.notes, 1):
            yield rf"\textsuperscript{{{number}}}~{escape(note)}\\"
    yield r"\end{table}"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _header(column: Column, shared: str) -> str:
    unit = own_unit(column, shared)
    return " ".join(filter(None, [escape(column.name), _ARROWS[column.direction], f"({escape(unit)})" if unit else ""]))


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    if text and entry.struck:
        text = rf"\sout{{{text}}}"
    if text and entry.best:
        text = rf"\textbf{{{text}}}"
    elif text and entry.second:
        text = rf"\underline{{{text}}}"
    return text if entry.note is None else rf"{text}\textsuperscript{{{entry.note}}}"
