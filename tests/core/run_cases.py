# SPDX-License-Identifier: Apache-2.0
"""What tests of a run share: its records, and their values by cell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Suite = Callable[..., Path]


def records(results: Path, suite: str = "toys") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (results / suite / "records.jsonl").read_text().splitlines()]


def values(results: Path) -> dict[str, float]:
    return {r["cell"]: r["value"] for r in records(results)}
