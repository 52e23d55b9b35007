# SPDX-License-Identifier: Apache-2.0
"""Whether what stands in a suite's folder is of the form in which a run writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lipbench.contract.errors import StoreError
from lipbench.contract.values import Record
from lipbench.results.store import PLAN, RECORDS, checked_lines, read_plan

_ID = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class _Form(BaseModel):
    model_config = ConfigDict(strict=True)  # what a newer version writes besides is no fault


class _Planned(_Form):
    roles: dict[str, str]
    varying: dict[str, Any]
    seed: int
    blocks: list[str] = []
    cells: dict[str, str]


class _Threshold(_Form):
    absolute: float | None = None
    relative: float | None = None


class _Thresholds(_Form):
    metrics: dict[str, _Threshold] | None = None
    costs: dict[str, _Threshold] | None = None


class _Spec(_Form):
    compare: _Thresholds | None = None


class _Jobs(_Form):
    jobs: list[_Planned]
    leaderboard: _Spec | None = None


class _Job(_Planned):
    cells: dict[_ID, str]


class _Reference(_Form):
    entries: list[dict[str, Any]]


class _Plan(_Form):
    suite: str
    title: str
    description: str
    citation: str
    profile: str | None
    task: str
    leaderboard: dict[str, Any]
    reference: _Reference | None
    jobs: list[_Job]


class _Run(_Form):
    started: str
    command: list[str]
    lipbench: str
    suite: dict[str, Any]


def sound_plan(folder: Path) -> dict[str, Any]:
    """The plan of a suite's folder, whose jobs and thresholds are of the right form; empty where there is none.

    Raises:
        StoreError: It is no plan.
    """
    plan = read_plan(folder)
    if plan:
        try:
            _Jobs.model_validate({"jobs": plan.get("jobs"), "leaderboard": plan.get("leaderboard")})
        except ValidationError as error:
            raise StoreError(
                f"{folder / PLAN}: this is no plan ({_words(error)}); run the suite again to write it anew"
            ) from None
    return plan


def form_faults(folder: Path) -> Iterator[str]:
    """What is wrong with records, plan and runs of a suite's folder, a line each.

    Raises:
        StoreError: A line is no record.
    """
    if not (folder / PLAN).exists():
        yield f"{folder / PLAN}: there is no such file; run the suite again to write it"
    else:
        yield from _file_faults(folder / PLAN, _Plan)
    runs: dict[str, int] = {}
    reader = TypeAdapter(Record)
    for number, (_, line, fields) in enumerate(checked_lines(folder), 1):
        where = f"{folder / RECORDS}:{number}"
        try:
            record = reader.validate_json(line)
        except ValidationError as error:
            yield f"{where}: {_words(error)}"
            continue
        runs.setdefault(record.run, number)
        if fields["suite"] != folder.name:
            yield f"{where}: the record is of suite {record.suite!r}, but stands in the folder {folder.name!r}"
    for run, number in runs.items():
        if not (folder / "runs" / f"{run}.json").is_file():
            yield f"{folder / RECORDS}:{number}: of the run {run!r} nothing is known, since runs/{run}.json is missing"
    for path in sorted((folder / "runs").glob("*.json")):
        yield from _file_faults(path, _Run)


def _file_faults(path: Path, form: type[BaseModel]) -> Iterator[str]:
    try:
        form.model_validate_json(path.read_bytes())
    except ValidationError as error:
        yield f"{path}: {_words(error)}"


def _words(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return " ".join(f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}".split())
