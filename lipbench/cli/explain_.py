# SPDX-License-Identifier: Apache-2.0
"""`lipbench explain`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lipbench.cli.options import place_options, plugin_options, read_plugin_options, results_option
from lipbench.contract.errors import StoreError


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
    from lipbench.registry import load_registry
    from lipbench.results.store import read_records
    from lipbench.suite.load import load_suite
    from lipbench.suite.plan import make_plan

    registry = load_registry(read_plugin_options(**chosen))
    loaded = load_suite(suite, profile, settings)
    plan = make_plan(loaded, registry, registry.load_executor(executor).device_class(device, address))
    planned = {c.id: {**identity(job, c), "device": plan.device} for job, c in plan.cells()}
    recorded = {r.cell: r for r in read_records(results / loaded.name)}
    matches = sorted({i for i in [*planned, *recorded] if i.startswith(cell)})
    if len(matches) != 1:
        hint = "give more digits" if matches else "`lipbench plan --json` shows the ids of a suite"
        raise StoreError(f"{len(matches) or 'no'} cell ids in the plan or the records begin with {cell!r}; {hint}")
    key = matches[0]
    if key in planned and key in recorded:
        status = recorded[key].status
        again = "it would not run again" if status == "ok" else f"it would run again, because it {status}"
        click.echo(f"{key}: recorded by run {recorded[key].run} and in the plan: {again}")
        return
    facts = {i: _facts(r) for i, r in recorded.items()}
    ours, others = (planned[key], facts) if key in planned else (facts[key], planned)
    here, there = ("plan", "record") if key in planned else ("record", "plan")
    if not others:
        click.echo(f"{key}: only in the {here}; there is no {there} to compare with")
        return
    labels = ("roles", "metric")
    nearest = min(others, key=lambda i: (len(_differences(ours, others[i])), [ours[k] != others[i][k] for k in labels], i))
    click.echo(f"{key} is only in the {here}; the nearest in the {there} is {nearest}. They differ in:")
    for name, mine, theirs in _differences(ours, others[nearest]):
        click.echo(f"  {name}: {here} {mine!r}, {there} {theirs!r}")


def _facts(record: Any) -> dict[str, Any]:
    names = ("task", "roles", "params", "seed", "metric", "uses", "code", "data")
    return {**{n: getattr(record, n) for n in names}, "device": re.split("[:@]", record.device)[0]}


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], name: str = "") -> list[tuple[str, Any, Any]]:
    """Leaves in which two keys differ; a label says no more than the parameters behind it."""
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys([*a, *b]):
        if key in ("roles", "metric") and not name:
            continue
        path = f"{name}.{key}" if name else key
        x, y = a.get(key), b.get(key)
        if isinstance(x, Mapping) and isinstance(y, Mapping):
            found += _differences(x, y, path)
        elif x != y:
            found.append((path, x, y))
    return found
