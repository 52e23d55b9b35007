# SPDX-License-Identifier: Apache-2.0
"""The keys of a suite file, from the classes that check one."""

from __future__ import annotations

import json
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from lipbench.cli.show_ import type_words
from lipbench.suite import schema


class SuiteKeys(SphinxDirective):
    """``suite-keys:: CLASS``: a table of the fields of a class of `lipbench.suite.schema`: type, default, description."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A table in Markdown, read as a part of the page."""
        name = self.arguments[0]
        described = ModuleAnalyzer.for_module(schema.__name__)
        described.analyze()
        lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        for key, facts in getattr(schema, name).model_json_schema()["properties"].items():
            meaning = " ".join(described.attr_docs[name, key]).strip()
            cells = [f"`{key}`", _words(facts), _default(facts), meaning]
            lines.append(" | ".join(["", *(cell.replace("|", r"\|") for cell in cells), ""]).strip())
        return self.parse_text_to_nodes(StringList(lines, schema.__file__))


def _words(facts: dict[str, Any]) -> str:
    if "$ref" in facts:
        return "mapping, below"
    words = type_words(facts).removesuffix(" or null")
    for ours in (("string or object", "name or mapping"), ("list of object", "list of mappings"), ("object", "mapping")):
        words = words.replace(*ours)
    return words.replace("list of any", "list")


def _default(facts: dict[str, Any]) -> str:
    if "default" not in facts:
        return "required"
    empty = facts["default"] in (None, "", [], {}) or "$ref" in facts
    return "" if empty else f"`{json.dumps(facts['default'])}`"
