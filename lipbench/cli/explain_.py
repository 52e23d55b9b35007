# SPDX-License-Identifier: Apache-2.0
"""`lipbench explain`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lipbench.cli.options import open_registry, place_options, plugin_options, read_place_options, results_option
from lipbench.contract.components import KINDS
from lipbench.contract.errors import UsageError
from lipbench.files import canonical
from lipbench.suite.jobs import cell_id, device_key, job_id

if TYPE_CHECKING:
    from lipbench.contract.values import Record
    from lipbench.registry import Registry

ABSENT = "nothing"
MOST_THREADS = 1024
"""As many as a suite may ask for."""


@click.command()
@click.argument("cell")
@click.argument("suite", type=click.Path(path_type=Path))
@click.option("--profile", metavar="NAME", help="A profile of the suite.")
@click.option("--set", "settings", multiple=True, metavar="KEY.PATH=VALUE", help="Change a value of the suite.")
@results_option
@place_options
@plugin_options
def command(
    cell: str,
    suite: Path,
    profile: str | None,
    settings: tuple[str, ...],
    results: Path,
    device: str,
    executor: str,
    address: str | None,
    **chosen: Any,
) -> None:
    """CELL is the id of a recorded cell, or of one that `lipbench plan --json` shows; a unique beginning is enough."""
    from lipbench.execution.runner import identity
    from lipbench.results.store import read_records
    from lipbench.suite.load import load_suite
    from lipbench.suite.plan import make_plan

    registry = open_registry(**chosen)
    loaded = load_suite(suite, profile, settings)
    plan = make_plan(loaded, registry, read_place_options(registry, executor, device, address))
    place = {"device": plan.device, "threads": plan.limits.threads}
    planned = {c.id: {**identity(job, c), **place} for job, c in plan.cells()}
    recorded = {r.cell: r for r in read_records(results / loaded.name)}
    matches = sorted({i for i in [*planned, *recorded] if i.startswith(cell)})
    if len(matches) != 1:
        hint = "give more digits" if matches else "`lipbench plan --json` shows the ids of a suite"
        raise UsageError(f"{len(matches) or 'no'} cell ids in the plan or the records begin with {cell!r}; {hint}")
    key = matches[0]
    if key in planned and key in recorded:
        status = recorded[key].status
        again = "it would not run again" if status == "ok" else f"it would run again, because it {_ENDED[status]}"
        click.echo(f"{key}: recorded by run {recorded[key].run} and in the plan: {again}")
        return
    here, there = ("plan", "record") if key in planned else ("record", "plan")
    if not (recorded if key in planned else planned):
        click.echo(f"{key}: only in the {here}; there is no {there} to compare with")
        return
    facts = {i: _facts(r) for i, r in recorded.items()}
    mine, others = (planned[key], facts) if key in planned else (facts[key], planned)
    labels = ("roles", "metric")
    nearest = min(others, key=lambda i: (len(_differences(mine, others[i])), [mine[k] != others[i][k] for k in labels], i))
    click.echo(f"{key} is only in the {here}; the nearest in the {there} is {nearest}. They differ in:")
    old, new = (recorded[nearest], planned[key]) if key in planned else (recorded[key], planned[nearest])
    for name, was, is_ in _named(old, new):
        click.echo(f"  {name}: record {was}, plan {is_}{_version(registry, old, name, results / loaded.name)}")


_ENDED = {"failed": "failed", "timeout": "took too long"}


def _facts(record: Record) -> dict[str, Any]:
    """What a record says of what its id covers."""
    names = ("task", "roles", "params", "seed", "metric", "uses", "code", "data")
    return {**{n: getattr(record, n) for n in names}, "device": re.split("[:@]", record.device)[0]}


def _named(old: Record, new: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The name of each difference, with what the record and what the plan has there."""
    facts = _facts(old)
    for name, was, is_ in _differences(facts, new):
        yield name, _shown(was), _shown(is_)
    threads = _threads(old, facts)
    if threads is None:
        yield "form of the id", "of another version of lipbench", "of this one"
    elif threads != (new["threads"] or 0):
        yield "resources.cpus", str(threads or "as the task says"), str(new["threads"] or "as the task says")


def _threads(record: Record, facts: Mapping[str, Any]) -> int | None:
    """How many threads the suite of a record set, by what gives its id: 0 where it set none, None where nothing gives it."""
    uses, params, code, data = record.uses, record.params, record.code, record.data
    task = [uses["task"], params["task"], code["task"]]
    contents = {r: [uses[r], params[r], code[r], data.get(r, "")] for r in record.roles}
    for threads in range(MOST_THREADS + 1):
        job = job_id(device_key(facts["device"], threads or None), record.seed, task, contents)
        if cell_id(job, uses["metric"], params["metric"], code["metric"]) == record.cell:
            return threads
    return None


def _version(registry: Registry, record: Record, name: str, folder: Path) -> str:
    """For a difference in code: whether it is the version of the plugin, as far as the record's run tells."""
    part, _, use = name.partition(".")
    if part != "code":
        return ""
    found = [e for kind in KINDS for e in registry.all(kind) if e.component.name == record.uses.get(use)]
    with suppress(OSError, ValueError, KeyError, TypeError):
        before = json.loads((folder / "runs" / f"{record.run}.json").read_text())["plugins"]
        for plugin in (entry.plugin for entry in found):
            was = before[plugin.name]["version"]
            if was != plugin.version:
                return f" (plugin {plugin.name} was {was or 'without a version'}, is {plugin.version or 'without one'})"
    return " (its sources, or those that they import)"


def _shown(value: Any) -> str:
    return ABSENT if value is _NOTHING else repr(value)


_NOTHING = object()


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], name: str = "") -> list[tuple[str, Any, Any]]:
    """Leaves in which two keys differ; a label says no more than the parameters behind it."""
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys([*a, *b]):
        if key in ("roles", "metric", "threads") and not name:
            continue
        path = f"{name}.{key}" if name else key
        x, y = a.get(key, _NOTHING), b.get(key, _NOTHING)
        if isinstance(x, Mapping) and isinstance(y, Mapping):
            found += _differences(x, y, path)
        elif x is _NOTHING or y is _NOTHING or canonical(x) != canonical(y):  # 2 and 2.0 are equal, but not in an id
            found.append((path, x, y))
    return found
