# SPDX-License-Identifier: Apache-2.0
"""Docstrings of lipbench, which mark code as Markdown does, in the markup that Sphinx reads."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_held: list[str] = []
"""Lines of an attribute, which have no sections: what looks like `TYPE: DESCRIPTION` to Napoleon is a sentence with a colon."""


def to_rst(text: str) -> str:
    """One line. Code is left as it is; elsewhere no sign is markup."""
    parts = re.split(r"(`+[^`]+`+)", text)
    return "".join(f"``{part.strip('`')}``" if part.startswith("`") else re.sub(r"([*|])", r"\\\1", part) for part in parts)


def before(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Before Napoleon."""
    lines[:] = [to_rst(line) for line in lines]
    if what in ("attribute", "data"):
        _held[:] = lines
        lines.clear()


def after(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """After Napoleon."""
    if what in ("attribute", "data"):
        lines[:] = _held


def connect(app: Sphinx) -> None:
    """Napoleon has the priority 500."""
    app.connect("autodoc-process-docstring", before, priority=400)
    app.connect("autodoc-process-docstring", after, priority=600)
