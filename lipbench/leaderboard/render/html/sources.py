# SPDX-License-Identifier: Apache-2.0
"""What stands in a suite's folder beside its records: runs, the suite as it ran, logs of what failed."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lipbench.contract.errors import StoreError
from lipbench.contract.values import JSON, Record
from lipbench.leaderboard.render.text import visible

_TAIL = 4000
"""Bytes of a log that are kept."""
_LOGS = 8
"""So many logs of one run are kept."""
_NAMED = re.compile(r"[\w.-]+\.log")


def read_runs(folder: Path, records: Sequence[Record]) -> dict[str, Mapping[str, Any]]:
    """The facts of the runs that made these records, by id; a run whose file is lost is left out.

    Raises:
        StoreError: A file of a run is damaged.
    """
    runs: dict[str, Mapping[str, Any]] = {}
    for run in sorted({record.run for record in records if record.run}):
        path = folder / "runs" / f"{run}.json"
        if Path(run).name != run or not path.is_file():
            continue
        try:
            facts = json.loads(path.read_text())
        except ValueError as error:
            raise StoreError(f"{path}: this is no JSON; delete it, and its records lose their provenance") from error
        if isinstance(facts, dict):
            runs[run] = facts
    return runs


def suite_yaml(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """The suite as its latest run resolved it, in YAML; empty where no run says it."""
    from ruamel.yaml import YAML

    suite = next((runs[run]["suite"] for run in sorted(runs, reverse=True) if runs[run].get("suite")), None)
    if suite is None:
        return ""
    yaml, out = YAML(), io.StringIO()
    yaml.default_flow_style = None
    yaml.width = 110
    yaml.dump(suite, out)
    return lines(out.getvalue())


def words_of_run(facts: Mapping[str, Any]) -> dict[str, JSON]:
    """A run in words: pairs of a name and a text for each section of what its file says."""
    git = facts.get("git") or {}
    commit = str(git.get("commit") or "")
    packages = {"lipbench": facts.get("lipbench"), "python": facts.get("python"), **_mapping(facts.get("packages"))}
    plugins = {name: _plugin(said) for name, said in _mapping(facts.get("plugins")).items()}
    machine = {
        "device": facts.get("device"),
        "processor": facts.get("processor"),
        "cores": facts.get("cores"),
        "cores allowed": facts.get("cores_allowed"),
        "memory": _gib(facts.get("memory_bytes")),
        "GPUs": ", ".join(map(str, facts.get("gpus") or ())),
        "GPU driver": facts.get("gpu_driver"),
        "platform": facts.get("platform"),
    }
    command = facts.get("command")
    return {
        "started": visible(str(facts.get("started") or "")),
        "command": visible(" ".join(map(str, command)) if isinstance(command, list) else str(command or "")),
        "commit": visible(commit + (" with changes" if commit and git.get("dirty") else "")),
        "profile": visible(str(facts.get("profile") or "")),
        "machine": _pairs(machine),
        "environment": _pairs(_mapping(facts.get("environment"))),
        "packages": _pairs(packages),
        "plugins": _pairs(plugins),
    }


def read_logs(folder: Path, records: Sequence[Record]) -> dict[str, list[JSON]]:
    """By run the ends of its logs, as name and text, of runs in which a cell failed; those that a message names come first."""
    named: dict[str, dict[str, None]] = {}
    for record in records:
        if record.error is not None:
            found = _NAMED.findall(str(record.error.get("message", "")))
            named.setdefault(record.run, {}).update(dict.fromkeys(found))
    logs: dict[str, list[JSON]] = {}
    for run, names in named.items():
        there = {path.name: path for path in sorted((folder / "logs").glob("*.log")) if path.name.startswith(f"{run}-")}
        chosen = [*(name for name in names if name in there), *(name for name in there if name not in names)][:_LOGS]
        ends = [[visible(name), _end(there[name])] for name in chosen]
        if any(text for _, text in ends):
            logs[run] = [end for end in ends if end[1]]
    return logs


def lines(text: str) -> str:
    """A text of several lines in which nothing is hidden; indentation stays."""
    return "\n".join(line[: len(line) - len(line.lstrip(" "))] + visible(line) for line in text.splitlines())


def _end(path: Path) -> str:
    content = path.read_bytes()
    text = content[-_TAIL:].decode(errors="replace")
    if len(content) > _TAIL:
        text = text[text.find("\n") + 1 :]
    return lines(text.strip("\n"))


def _plugin(said: Any) -> str:
    said = _mapping(said)
    return " ".join(str(said[name]) for name in ("distribution", "version") if said.get(name))


def _gib(size: Any) -> str:
    return f"{size / 2**30:.1f} GiB" if isinstance(size, int) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _pairs(facts: Mapping[str, Any]) -> list[JSON]:
    return [[visible(name), visible(str(value))] for name, value in facts.items() if value not in (None, "")]
