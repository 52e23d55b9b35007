# SPDX-License-Identifier: Apache-2.0
"""Puts the page together: one file, the same bytes for the same folder."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources.abc import Traversable
from typing import Any

from lipbench import __version__
from lipbench.contract.values import JSON, Record
from lipbench.files import canonical
from lipbench.leaderboard.page import Board
from lipbench.leaderboard.render.html.images import Image, pack, read_images, share
from lipbench.leaderboard.render.html.records import pack_records
from lipbench.leaderboard.render.html.sources import read_logs, read_runs, suite_yaml, words_of_run
from lipbench.leaderboard.render.html.tables import pack_tables
from lipbench.leaderboard.render.text import paragraphs, visible

_PAGE = 2_950_000
"""Bytes that a page should not have more of."""
_PLOTS = 1_000_000
"""But so many are left to its plots, however long its tables are."""


def render(boards: Sequence[Board]) -> str:
    """The page of all boards."""
    images: dict[str, Image] = {}
    suites = [_suite(board, images) for board in boards]
    shared, short = share(list(images.values()))
    blobs = [pack(canonical(suite).encode("utf-8", "backslashreplace")) for suite in suites]
    plots = [
        (key, pack(content) if content else image.packed, content is not None)
        for (key, image), content in zip(images.items(), short, strict=True)
    ]
    vendor, script, style = _text("vendor/vendor.js"), _script(), _text("assets/style.css")
    return _template().render(
        version=__version__,
        policy=_policy([vendor, script], [style]),
        style=style,
        vendor=vendor,
        script=script,
        suites=[{**suite["about"], "name": suite["name"], "title": suite["title"]} for suite in suites],
        blobs=blobs,
        images=_fitting(plots, max(_PLOTS, _PAGE - sum(map(len, [*blobs, vendor, script, style])))),
        shared=pack(canonical(shared).encode()),
    )


def _fitting(plots: Sequence[tuple[str, str, bool]], room: int) -> list[tuple[str, str, bool]]:
    """Plots that there is room for, in order of their keys. The largest give way, which are few: the page says where they are."""
    kept = sorted(plots, key=lambda plot: (len(plot[1]), plot[0]))
    while sum(len(packed) for _, packed, _ in kept) > room:
        kept.pop()
    return sorted(kept)


def _suite(board: Board, images: dict[str, Image]) -> dict[str, JSON]:
    """All that the page says of a suite; its plots go into `images`, each once however many suites show it."""
    source = board.source
    records = source.read() if source else ()
    plan = source.plan if source else {}
    runs = read_runs(source.folder, records) if source else {}
    plots = read_images(source.folder / "plots") if source else []
    return {
        "name": visible(board.suite),
        "title": visible(board.title or board.suite),
        "description": paragraphs(board.description),
        "citation": visible(board.citation),
        "findings": [visible(finding) for finding in board.findings],
        "tables": pack_tables(board, plan, records),
        "records": pack_records(records),
        "runs": {visible(run): words_of_run(facts) for run, facts in runs.items()},
        "logs": read_logs(source.folder, records) if source else {},
        "yaml": suite_yaml(runs),
        "plots": [_plot(image, images) for image in plots],
        "about": _about(plan, records, len(plots))
        | {"findings": len(board.findings), "description": paragraphs(board.description)},
    }


def _plot(image: Image, images: dict[str, Image]) -> dict[str, JSON]:
    key = hashlib.sha256(image.content).hexdigest()[:16]
    images.setdefault(key, image)
    return {"name": visible(image.name), "kind": image.kind, "image": key, "width": image.width, "height": image.height}


def _about(plan: Mapping[str, Any], records: Sequence[Record], plots: int) -> dict[str, JSON]:
    """Counts for the overview."""
    statuses = Counter(record.status for record in records)
    planned = sum(len(job["cells"]) for job in plan.get("jobs") or ())
    seconds = sum(float((record.cost or {}).get("seconds") or 0.0) for record in sorted(records, key=lambda r: r.cell))
    return {
        "task": visible(str(plan.get("task") or "")),
        "profile": visible(str(plan.get("profile") or "")),
        "cells": planned or len(records),
        "done": statuses["ok"],
        "failed": statuses["failed"] + statuses["timeout"],
        "seeds": len({record.seed for record in records}),
        "seconds": float(f"{seconds:.3g}"),
        "devices": sorted({visible(record.device) for record in records}),
        "latest": max((visible(record.run)[:8] for record in records), default=""),
        "plots": plots,
    }


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """What the browser may do with this page: run these scripts, apply these styles, show images that are in it. No more."""
    rules = {
        "default-src": ["'none'"],
        "script-src": [_hash(text) for text in scripts],
        "style-src": [_hash(text) for text in styles],
        "img-src": ["data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(values)}" for name, values in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _folder() -> Traversable:
    return importlib.resources.files("lipbench.leaderboard.render.html")


@cache
def _text(name: str) -> str:
    return _folder().joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _script() -> str:
    """The files of our own script in order of their names, as one that leaves no name behind."""
    names = sorted(f"assets/{file.name}" for file in (_folder() / "assets").iterdir() if file.name.endswith(".js"))
    return '"use strict";\n(() => {\n' + "\n".join(map(_text, names)) + "})();\n"


@cache
def _template() -> Any:
    import jinja2  # a quarter of a second that no other format has to wait for

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    return environment.from_string(_text("assets/page.html.j2"))
