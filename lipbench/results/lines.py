# SPDX-License-Identifier: Apache-2.0
"""One line of `records.jsonl`: how it is written, checked and read."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import MISSING
from functools import cache
from typing import Any

from lipbench.contract.values import Record


def write_line(record: Record) -> bytes:
    """A record as JSON; a lone surrogate, as in a name that is no UTF-8, becomes its escape."""
    return json.dumps(record.to_json(), ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"


def read_line(line: bytes) -> dict[str, Any]:
    """All fields of a line that was checked, or another JSON object."""
    from pydantic_core import from_json

    try:
        return from_json(line, cache_strings="all")
    except ValueError:
        return json.loads(line)


def check_line(line: bytes) -> dict[str, Any]:
    """The fields that say what a line is about, checked; objects in it are checked to be objects and come back empty.

    Raises:
        ValueError: It is no record, or a field that readers compute with is not of its type; an edited file may hold anything.
    """
    try:
        fields = _checker().validate_json(line)
    except ValueError:
        # The fast parser refuses lone surrogates, which a message may hold.
        fields = _checker().validate_python(json.loads(line))
    if fields["status"] == "ok" and fields.get("value") is None:
        raise ValueError("a good record has a value")
    return fields


@cache
def _checker() -> Any:
    """Parses and checks in one pass and makes no objects of what it passes over: a million lines take seconds."""
    from pydantic_core import SchemaValidator
    from pydantic_core import core_schema as core

    text, whole = core.str_schema(strict=True), core.int_schema(strict=True)
    number = core.float_schema(strict=True, allow_inf_nan=False)

    def thing(required: bool, **fields: Any) -> Any:
        inner = {name: core.typed_dict_field(schema, required=required) for name, schema in fields.items()}
        return core.typed_dict_schema(inner, extra_behavior="ignore")

    known = {
        **dict.fromkeys(("cell", "suite", "task", "metric"), text),
        **dict.fromkeys(("roles", "uses", "code", "data"), core.dict_schema(text, text)),
        "params": core.dict_schema(text, thing(True)),
        "seed": whole,
        "run": text,
        "status": core.literal_schema(["ok", "failed", "timeout"]),
        "value": core.nullable_schema(number),
        "interval": core.nullable_schema(thing(True, low=number, high=number)),
        "cost": core.nullable_schema(thing(False, seconds=number)),
        **dict.fromkeys(("extras", "error"), core.nullable_schema(thing(True))),
    }
    needed = {f.name for f in dataclasses.fields(Record) if f.default is MISSING and f.default_factory is MISSING}
    fields = {name: core.typed_dict_field(schema, required=name in needed) for name, schema in known.items()}
    return SchemaValidator(core.typed_dict_schema(fields, extra_behavior="ignore"))
