# SPDX-License-Identifier: Apache-2.0
"""How long works will take, by what like ones took: from the costs in records and the facts of artifacts."""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from lipbench.files import canonical
from lipbench.suite.jobs import Fit, Job
from lipbench.suite.stages import Step

UNKNOWN_S = 1.0
"""What is assumed where nothing like it has been done."""

TAIL_BYTES = 16 * 2**20
"""Only so much of the end of the records is read: estimates get no better with more, and a run should begin."""

MOST_ARTIFACTS = 2000
"""Of so many artifacts the facts are read."""

Key = tuple[Hashable, ...]


class Durations:
    """Means of seconds, from the most to the least alike.

    Args:
        records: The file of records, which need not exist.
        artifacts: The folder of artifacts, which need not exist.
    """

    def __init__(self, records: Path, artifacts: Path) -> None:
        self._sums: dict[Key, tuple[float, int]] = {}
        for record in _tail(records):
            cost, labels = record.get("cost") or {}, canonical(record.get("roles"))
            if "evidence_seconds" in cost:
                self._add(("evidence", labels), cost["evidence_seconds"])
            if "seconds" in cost:
                self._add(("cell", record["metric"], labels), cost["seconds"])
        for facts in islice(_facts(artifacts), MOST_ARTIFACTS):
            kind, name, whole = ("fit", _name(facts["model"]), _fit_key(facts["model"], facts["data"])) if "model" in facts else (
                "step", facts.get("method"), canonical(facts.get("roles")))  # fmt: skip
            self._add((kind, name, whole), facts["seconds"])

    def _add(self, key: Key, seconds: Any) -> None:
        if not isinstance(seconds, (int, float)):
            return
        for end in range(1, len(key) + 1):
            total, count = self._sums.get(key[:end], (0.0, 0))
            self._sums[key[:end]] = total + seconds, count + 1

    def _get(self, key: Key, default: float = UNKNOWN_S) -> float:
        found = next((self._sums[key[:end]] for end in range(len(key), 0, -1) if key[:end] in self._sums), None)
        return default if found is None else found[0] / found[1]

    def fit(self, fit: Fit) -> float:
        """Seconds of a fit."""
        return self._get(("fit", fit.model.name, _fit_key(fit.model.to_json(), fit.data.to_json())))

    def step(self, step: Step) -> float:
        """Seconds of a step."""
        return self._get(("step", step.method, canonical({p: use.to_json() for p, use in step.roles.items()})))

    def job(self, job: Job, cells: Collection[str]) -> float:
        """Seconds of some cells of a job, its evidence included."""
        labels = canonical({role: use.label for role, use in job.roles.items()})
        metrics = (cell.metric.label for cell in job.cells if cell.id in cells)
        return self._get(("evidence", labels), 0.0) + sum(self._get(("cell", metric, labels)) for metric in metrics)


def _name(use: Any) -> Any:
    return use.get("name") if isinstance(use, Mapping) else None


def _fit_key(model: Any, data: Any) -> str:
    return canonical([model, data])


def _tail(path: Path) -> Iterator[dict[str, Any]]:
    """The last records of a file; what is no record is skipped, since here nothing hangs on it."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return
    for line in lines:
        try:
            raw = json.loads(line)
        except ValueError:
            continue
        if isinstance(raw, dict) and isinstance(raw.get("cost") or {}, dict) and isinstance(raw.get("metric"), str):
            yield raw


def _facts(folder: Path) -> Iterator[dict[str, Any]]:
    for path in folder.glob("*.json"):
        try:
            raw = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if isinstance(raw, dict) and "seconds" in raw:
            yield raw
