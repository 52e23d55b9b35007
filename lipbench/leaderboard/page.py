# SPDX-License-Identifier: Apache-2.0
"""What a renderer is given: the tables of one suite and the words around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipbench.contract.values import Record, Table
from lipbench.leaderboard.overall import Overall


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the tables of a suite were made from, for renderers that show where numbers come from."""

    folder: Path
    """Folder of the suite."""
    plan: Mapping[str, Any]
    read: Callable[[], Sequence[Record]]
    """Gives the records of the plan in its order; most renderers need none of them."""
    overall: Sequence[Overall] = ()
    """The average ranks behind the table of them."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """All that is shown of one suite."""

    suite: str
    title: str = ""
    description: str = ""
    citation: str = ""
    tables: Sequence[Table] = ()
    findings: Sequence[str] = ()
    """Sentences of the audits: contradictions among the records."""
    source: Source | None = None
