# SPDX-License-Identifier: Apache-2.0
"""Results of several machines as one folder; the same inputs give the same bytes in whatever order they are named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipbench.contract.errors import StoreError
from lipbench.files import file_digest, replacing, write_atomic
from lipbench.results.folders import suite_folders
from lipbench.results.merge_plans import join_plans
from lipbench.results.merge_records import Conflict, Joined, Keep
from lipbench.results.store import PLAN, RECORDS, Store

ARTIFACTS, RUNS = "artifacts", "runs"
_MADE = ("leaderboard.md", "plots")
"""Made from the records, so they are not joined."""


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What became of one suite."""

    suite: str
    folders: Sequence[Path]
    cells: int
    shared: int
    """Cells that more than one folder has."""
    conflicts: Sequence[Conflict]


def merge(out: Path, sources: Sequence[Path], keep: Keep | None = None) -> list[Merged]:
    """Join folders of results: records, plans, runs, logs and other files of each suite, and artifacts.

    Args:
        out: Where to; a folder that has results already is one of the sources, named first.
        sources: Folders of results.
        keep: Which record of a cell with two values counts; None to write nothing where there is such a cell.

    Returns:
        One entry a suite. Nothing was written where there are conflicts and `keep` is None.

    Raises:
        StoreError: A folder cannot be read or written, or plans or runs contradict each other; nothing was written.
    """
    own = suite_folders(out, may_be_empty=True) if out.exists() else {}
    places = list({folder.resolve(): folder for folder in ([out] if own else []) + list(sources)}.values())
    found = [own if folder == out and own else suite_folders(folder) for folder in places]
    with ExitStack() as stack:
        for folder in own.values():  # a run that is at work would go on writing to a file that was replaced
            stack.enter_context(Store(folder))
        joined: list[tuple[Joined, dict[str, Any], dict[Path, Path]]] = []
        for suite in sorted({name for suites in found for name in suites}):
            folders = [suites[suite] for suites in found if suite in suites]
            records = stack.enter_context(Joined(suite, folders, keep))
            joined.append((records, join_plans(folders), _files(folders)))
        artifacts = _artifacts([folder / ARTIFACTS for folder in places])
        if keep is not None or not any(records.conflicts for records, _, _ in joined):
            for records, plan, files in joined:
                _write(out / records.suite, records, plan, files)
            _copy(artifacts, out / ARTIFACTS)
    return [
        Merged(suite=r.suite, folders=r.folders, cells=len(r), shared=r.shared, conflicts=r.conflicts) for r, _, _ in joined
    ]


def _write(folder: Path, records: Joined, plan: dict[str, Any], files: dict[Path, Path]) -> None:
    # The records come last: where they are, all that they name is there.
    _copy(files, folder)
    if plan:
        write_atomic(folder / PLAN, json.dumps(plan, indent=1, ensure_ascii=False) + "\n")
    with replacing(folder / RECORDS) as temporary, temporary.open("wb") as file:
        file.writelines(records.lines())


def _copy(files: dict[Path, Path], folder: Path) -> None:
    for name, source in files.items():
        if source != folder / name:
            with replacing(folder / name) as temporary:
                shutil.copyfile(source, temporary)


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder, without hidden ones, such as locks and half written files, and without links."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path


def _files(folders: Sequence[Path]) -> dict[Path, Path]:
    """Runs, logs and whatever else stands beside the records: name to the file that is taken.

    Raises:
        StoreError: Two runs have one name but not the same facts.
    """
    chosen: dict[Path, Path] = {}
    for folder in folders:
        for path in _walk(folder):
            name = path.relative_to(folder)
            if name.parts[0] in (RECORDS, PLAN, *_MADE):
                continue
            known = chosen.setdefault(name, path)
            if known != path and file_digest(known) != file_digest(path):
                if name.parts[0] == RUNS:
                    raise StoreError(f"{known} and {path} differ, but a run has its name for itself; delete the wrong one")
                chosen[name] = max(known, path, key=lambda p: (p.stat().st_size, file_digest(p)))
    return chosen


def _artifacts(folders: Sequence[Path]) -> dict[Path, Path]:
    """Whole artifacts, both files of each from one folder."""
    chosen: dict[str, Path] = {}
    for folder in folders:
        for tensors in sorted(folder.glob("[!.]*.safetensors")):
            if not _facts_file(tensors).is_file():
                continue
            # The facts hold a digest of the tensors, so they are all there is to compare.
            chosen[tensors.stem] = max(chosen.get(tensors.stem, tensors), tensors, key=_facts)
    return {Path(p.name): p for tensors in chosen.values() for p in (_facts_file(tensors), tensors)}


def _facts_file(tensors: Path) -> Path:
    return tensors.with_suffix(".json")


def _facts(tensors: Path) -> bytes:
    return _facts_file(tensors).read_bytes()
