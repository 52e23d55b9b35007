# SPDX-License-Identifier: Apache-2.0
"""One line of the table of findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line."""

    question: str
    finding: str
    figures: Sequence[str] = ()
    published: str = ""
    """The same of the source of the method."""
