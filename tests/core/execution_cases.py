# SPDX-License-Identifier: Apache-2.0
"""What tests of the executor share: suites of awkward jobs, their records, and works without a plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import Cli, Done

from lipbench.api import Resources, Work

AWKWARD = Path(__file__).parents[1] / "toys" / "awkward.py"


@dataclass(frozen=True)
class Case:
    """A suite of awkward jobs in a folder of its own."""

    cli: Cli
    folder: Path

    @property
    def trace(self) -> Path:
        path = self.folder / "trace"
        path.mkdir(exist_ok=True)
        return path

    @property
    def file(self) -> Path:
        return self.folder / "results" / "awkward" / "records.jsonl"

    def write(self, task: str = "awkward", metrics: str = "[world]", extra: str = "", model: str = "slow", **axes: str) -> Path:
        matrix = ", ".join(f"{k}: {v}" for k, v in {"model": model, "data": "row", **axes}.items())
        path = self.folder / "suite.yaml"
        path.write_text(
            f"lipbench: 1\nsuite: awkward\ntask: {task}\nmatrix: {{{matrix}}}\nmetrics: {metrics}\n{extra}".replace(
                "TRACE", str(self.trace)
            )
        )
        return path

    def words(self, command: str, *words: str | Path) -> list[str | Path]:
        where: list[str | Path] = ["--plugin", AWKWARD, "--no-plugins", "--results", self.folder / "results"]
        return [command, self.folder / "suite.yaml", *where, *words]

    def run(self, *words: str) -> Done:
        return self.cli(*self.words("run", "--no-plots", *words))

    def plan(self, *words: str) -> Done:
        return self.cli(*self.words("plan", *words))

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def one(self) -> dict[str, Any]:
        (record,) = self.records()
        return record


def work(
    name: str, seconds: float = 1.0, needs: str = "", *, cells: str = "", shared: bool = False, uses: str = "", **more: Any
) -> Work:
    """A work without a plan; `needs`, `cells` and `uses` are names in one string."""
    payload = {"job": {"cells": [{"id": cell} for cell in cells.split()]}} if cells else {}
    return Work(
        id=name,
        title=name,
        payload=payload,
        cells=tuple(cells.split()),
        needs=frozenset(needs.split()),
        uses=frozenset((uses or needs).split()),
        shared=shared,
        seconds=seconds,
        **{"resources": Resources(), **more},
    )


def anywhere(_: object) -> bool:
    """There is room for all."""
    return True


Make = Callable[..., Work]
