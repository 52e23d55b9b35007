# SPDX-License-Identifier: Apache-2.0
"""What Sphinx does not do by itself for these pages: contents from the start page, names of the public surface, suite files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from lipbench import api, testing

from . import docstrings
from .suites import SuiteKeys

PUBLIC = (api, testing)


def contents(app: Sphinx, name: str, source: list[str]) -> None:
    """Make the lists of links on the start page the contents of the site, a part for each of its sections."""
    if name != app.config.root_doc:
        return
    for section in source[0].split("\n## ")[1:]:
        pages = re.findall(r"^- \[[^]]+\]\(([^)#]+\.md)\)", section, flags=re.M)
        source[0] += "\n".join(
            ["\n\n```{toctree}", ":hidden:", f":caption: {section.partition(chr(10))[0]}", "", *pages, "```\n"]
        )


def outside(app: Sphinx, name: str, source: list[str]) -> None:
    """Serve a Markdown file of the repository that is no page of the site, such as a published leaderboard, as it is."""
    here = Path(app.srcdir, name).parent

    def lead(link: re.Match[str]) -> str:
        file = (here / link[1]).resolve()
        page = file.relative_to(app.srcdir).with_suffix("").as_posix() if file.is_relative_to(app.srcdir) else ""
        return link[0] if page in app.env.found_docs or not file.is_file() else f"](path:{link[1]})"

    source[0] = re.sub(r"\]\(([^():#\s]+\.md)\)", lead, source[0])


def public_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement) -> nodes.reference | None:
    """Lead from the place where a class is defined, as type hints have it, to the public module that documents it."""
    if node.get("refdomain") != "py":
        return None
    last = node["reftarget"].rpartition(".")[2]
    for module in PUBLIC:
        if last in module.__all__:
            domain = env.domains["py"]
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", f"{module.__name__}.{last}", node, text)
    return None


def entrance(app: Sphinx, error: Exception | None) -> None:
    """The site's folder opens at the start page."""
    if error is None and app.builder.name == "html":
        page = f"{app.config.root_doc}.html"
        text = (
            f'<!doctype html><meta charset="utf-8"><title>lipbench</title><meta http-equiv="refresh" content="0; url={page}">'
        )
        Path(app.outdir, "index.html").write_text(f'{text}<a href="{page}">lipbench</a>\n')


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of it."""
    app.add_directive("suite-keys", SuiteKeys)
    app.connect("source-read", contents)
    app.connect("source-read", outside)
    app.connect("missing-reference", public_name)
    app.connect("build-finished", entrance)
    docstrings.connect(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
