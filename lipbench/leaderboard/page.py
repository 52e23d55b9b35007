# SPDX-License-Identifier: Apache-2.0
"""What a renderer is given: the tables of one suite and the words around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lipbench.contract.values import Table


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
