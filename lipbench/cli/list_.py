# SPDX-License-Identifier: Apache-2.0
"""`lipbench list`."""

from __future__ import annotations

import json
from typing import Any

import click

from lipbench.cli.options import open_registry, plugin_options
from lipbench.contract.components import KINDS, Kind

_WHAT: dict[str, Kind] = {f"{kind}s": kind for kind in KINDS}


@click.command()
@click.argument("what", required=False, type=click.Choice([*_WHAT, "executors", "formats", "plugins"]))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@plugin_options
def command(what: str | None, as_json: bool, **chosen: Any) -> None:
    """Without an argument, everything. No component is imported."""
    registry = open_registry(**chosen)
    if what in (None, *_WHAT):
        for words, kind in _WHAT.items():
            if what in (None, words):
                rows = [
                    {"kind": kind, "name": r.component.name, "plugin": r.plugin.name, "summary": r.component.summary}
                    for r in registry.all(kind)
                ]
                _print(rows, ("name", "plugin", "summary"), as_json, None if what else words)
    if what in (None, "executors"):
        rows = [{"name": e.name, "plugin": p.name, "summary": e.summary} for e, p in registry.executors()]
        _print(rows, ("name", "plugin", "summary"), as_json, None if what else "executors")
    if what in (None, "formats"):
        rows = [{"name": f.name, "plugin": p.name, "summary": f.summary} for f, p in registry.formats()]
        _print(rows, ("name", "plugin", "summary"), as_json, None if what else "formats")
    if what in (None, "plugins"):
        columns = ("name", "status", "distribution", "version", "file", "reason")
        rows = [{c: getattr(p, c) for c in columns} for p in registry.plugins]
        _print(rows, columns, as_json, None if what else "plugins")


def _print(rows: list[dict[str, str]], columns: tuple[str, ...], as_json: bool, title: str | None) -> None:
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    if title and rows:
        click.echo(f"{title}:")
    if not title and not rows:
        click.echo("none; see `lipbench list plugins`", err=True)
    widths = [max((len(row[c]) for row in rows), default=0) for c in columns]
    for row in rows:
        line = "  ".join(row[c].ljust(w) for c, w in zip(columns, widths, strict=True)).rstrip()
        click.echo(f"  {line}" if title else line)
