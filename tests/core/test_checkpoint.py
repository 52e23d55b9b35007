# SPDX-License-Identifier: Apache-2.0
"""A fit that was killed goes on from its checkpoint, and leaves none behind."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Cli

PLUGIN = """
import os
from collections.abc import Iterable
from dataclasses import dataclass
import numpy as np
import torch
from lipbench.api import Component, Context, Dataset, DataSpec, Metric, Model, Split, Task, Value, hookimpl

class Rows(Dataset):
    "One row."
    def spec(self) -> DataSpec:
        return DataSpec(shape=(1,), low=0.0, high=1.0)
    def load(self, split: str, ctx: Context) -> Split:
        return Split(inputs=np.ones((1, 1), dtype=np.float32))

class Counter(Model):
    "Counts to four and dies once on the way."
    fitted = True
    def __init__(self, *, die: bool = True) -> None:
        self.die = die
    def build(self, spec: DataSpec, ctx: Context) -> None:
        self.steps, self.resumed = torch.zeros(()), torch.zeros(())
    def fit(self, data: Dataset, ctx: Context) -> None:
        kept = ctx.checkpoint.load()
        if kept is not None:
            self.steps, self.resumed = kept["steps"], kept["steps"].clone()
        while self.steps < 4:
            self.steps = self.steps + 1
            ctx.checkpoint.save({"steps": self.steps})
            if self.die and self.steps == 2 and kept is None:
                os._exit(9)
    def state(self):
        return {"steps": self.steps, "resumed": self.resumed}
    def load_state(self, state) -> None:
        self.steps, self.resumed = state["steps"], state["resumed"]

@dataclass(frozen=True)
class Counted:
    steps: float
    resumed: float

class Count(Task):
    "Reads the counter."
    fits = {"model": "data"}
    def evidence(self, model: Counter, data: Dataset, ctx: Context) -> Counted:
        assert ctx.checkpoint is None
        return Counted(float(model.steps), float(model.resumed))

class Steps(Metric):
    "How far it came."
    def compute(self, evidence: Counted, ctx: Context) -> Value:
        return Value(value=evidence.steps, direction="higher", unit="1", extras={"resumed": evidence.resumed})

@hookimpl
def lipbench_components() -> Iterable[Component]:
    yield Component(kind="dataset", name="rows", factory="counter:Rows", summary="one row")
    yield Component(kind="model", name="counter", factory="counter:Counter", summary="counts")
    yield Component(kind="task", name="count", factory="counter:Count", summary="reads")
    yield Component(kind="metric", name="steps", factory="counter:Steps", summary="how far")
"""


def _run(cli: Cli, folder: Path, model: str) -> tuple[int, list[dict[str, object]]]:
    # A module of its own for each test: what was imported once under a name stays imported.
    module = f"counter_{folder.name}"
    (folder / f"{module}.py").write_text(PLUGIN.replace('"counter:', f'"{module}:'))
    suite = folder / "suite.yaml"
    suite.write_text(f"lipbench: 1\nsuite: counted\ntask: count\nmatrix: {{model: {model}, data: rows}}\nmetrics: [steps]\n")
    code = cli("run", suite, "--plugin", folder / f"{module}.py", "--results", folder / "results").code
    lines = (folder / "results" / "counted" / "records.jsonl").read_text().splitlines()
    return code, [json.loads(line) for line in lines]


def test_a_killed_fit_goes_on_from_its_checkpoint(cli: Cli, tmp_path: Path) -> None:
    code, first = _run(cli, tmp_path, "counter")
    assert (code, first[-1]["status"]) == (1, "failed")
    assert len(list((tmp_path / "results" / "artifacts").glob("*.partial"))) == 1
    code, second = _run(cli, tmp_path, "counter")
    assert (code, second[-1]["value"], second[-1]["extras"]) == (0, 4.0, {"resumed": 2.0})
    assert list((tmp_path / "results" / "artifacts").glob("*.partial")) == []


def test_a_damaged_checkpoint_begins_anew(cli: Cli, tmp_path: Path) -> None:
    _run(cli, tmp_path, "counter")
    partial = next((tmp_path / "results" / "artifacts").glob("*.partial"))
    partial.write_bytes(partial.read_bytes()[:-3])
    # The damaged one is as good as none, so the counter dies at its second step again.
    code, records = _run(cli, tmp_path, "counter")
    assert (code, records[-1]["status"]) == (1, "failed")
    code, records = _run(cli, tmp_path, "counter")
    assert (code, records[-1]["extras"]) == (0, {"resumed": 2.0})


def test_an_unbroken_fit_leaves_no_checkpoint(cli: Cli, tmp_path: Path) -> None:
    code, records = _run(cli, tmp_path, "{use: counter, die: false}")
    assert (code, records[-1]["extras"]) == (0, {"resumed": 0.0})
    assert list((tmp_path / "results" / "artifacts").glob("*.partial")) == []
