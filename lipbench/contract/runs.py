# SPDX-License-Identifier: Apache-2.0
"""What lifecycle hooks are told of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lipbench.contract.values import JSON


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of one suite that has something to compute, as it begins."""

    id: str
    """Such as `20260131-120000-a1b2c3`: UTC, and six digits that keep two runs of one second apart."""
    suite: str
    profile: str | None
    device: str
    """Device class: `cpu`, `cuda` or `mps`."""
    folder: Path
    """`RESULTS/<suite>`, where `records.jsonl` is. Only lipbench writes to its files."""
    cells: int
    """How many cells it is to compute."""
    reused: int
    """How many cells have a good record already."""
    facts: Mapping[str, JSON]
    """What `runs/<id>.json` says: command, versions, git state, machine, environment, the resolved suite."""


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """What a run came to."""

    status: Literal["done", "interrupted", "broken"]
    """`done` also where cells failed; `broken` where the run could not go on, such as with a full disk."""
    computed: int
    """Records written, of good and of failed cells."""
    failed: int
    """Those of failed cells."""
    seconds: float
    """Wall time from start to end."""
