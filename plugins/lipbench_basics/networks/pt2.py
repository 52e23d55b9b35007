# SPDX-License-Identifier: Apache-2.0
"""Reading a torch.export file as data: nothing in it gets the chance to run.

`torch.export.load` (torch 2.13) runs code of the file by more ways than one. Weights, constants and opaque objects marked
`use_pickle`, and archives in the older layout, go through `torch.load(weights_only=False)`; so do the sample inputs when a
first try with `weights_only=True` fails. Folders of compiled code are loaded as shared libraries. In the JSON of the graph,
symbolic sizes go through `sympy.sympify`, which evaluates Python; names become lines of generated code; guards are compiled;
operators and tree specifications are looked up, the latter by importing the module that they name. So an archive is never
handed over as it is: members and strings that are on the lists below are copied into a new archive in memory, everything that
torch can do without is left out, and anything else is refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from lipbench.api import InvalidInput

_MODEL, _SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
_WEIGHTS, _CONSTANTS = "data/weights/", "data/constants/"
_TABLES = {_WEIGHTS: "model_weights_config.json", _CONSTANTS: "model_constants_config.json"}
_MARKERS = ("archive_format", "archive_version", "byteorder", ".data/version")
_IGNORED = (".data/", "extra/")

_WORD = re.compile(r"[\w.+,<>= -]{0,1000}", re.ASCII)
_NAME = re.compile(r"(?:[A-Za-z_]\w{0,500})?", re.ASCII)
# Operators of torch's own library; from_file is the one that reads and makes files.
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!__|_?from_file)[a-z_][a-z0-9_]*\.[A-Za-z]\w*"
    r"|torch\.sym_(?:max|min|int|float|not)"
    r"|_operator\.(?:getitem|add|sub|mul|floordiv|truediv|mod|neg|eq|ne|lt|le|gt|ge|and_|or_)",
    re.ASCII,
)
_FUNCTIONS = (
    "Symbol Integer Add Mul Max Min Mod PythonMod FloorDiv CeilDiv CleanDiv IntTrueDiv FloorToInt CeilToInt TruncToInt "
    "Eq Ne Lt Le Gt Ge And Or Not positive nonnegative integer True False"
)
_EXPRESSION = re.compile(
    rf"(?:'[a-z]{{1,3}}\d{{1,9}}'|[su]\d{{1,9}}\b|-?\d{{1,18}}\b|(?:{'|'.join(_FUNCTIONS.split())})\b|[(),= ]){{1,400}}",
    re.ASCII,
)
_TREE = re.compile(r'(?:"(?:type|context|children_spec|null|\[\]|builtins\.(?:tuple|list|dict))"|null|1|[\[\]{}:, ]){1,2000}')
_REFUSED = frozenset({"as_custom_obj", "as_operator", "as_graph", "custom_obj", "namedtuple_fields"})


def load_program(path: Path) -> torch.export.ExportedProgram:
    """An exported program from a file that `torch.export.save` wrote.

    Args:
        path: The `.pt2` file.

    Returns:
        The program, without sample inputs, guards, and notes on where its lines came from.

    Raises:
        InvalidInput: Not such a file, damaged, or something in it that is not plain weights and plain operators.
    """
    clean = _rewritten(path)
    try:
        return torch.export.load(clean)
    except Exception as error:  # torch raises whatever its parsers do
        reason = (str(error).splitlines() or [""])[0]
        raise InvalidInput(f"{path} cannot be loaded by torch {torch.__version__}: {type(error).__name__} {reason}") from error


def _rewritten(path: Path) -> io.BytesIO:
    """A new archive with what was checked, and nothing else."""
    members = _members(path)
    wanted = {name: members[name] for name in _MARKERS if name in members}
    wanted[_SAMPLES] = b""
    wanted[_MODEL] = _json_bytes(_checked(_parsed(path, members[_MODEL]), path))
    for folder, table in _TABLES.items():
        if folder + table not in members:
            raise InvalidInput(f"{path} has no {folder}{table}; save it again by torch.export.save of torch 2.8 or newer")
        payloads = _checked(_parsed(path, members[folder + table]), path)
        wanted[folder + table] = _json_bytes(payloads)
        for file in _payload_files(payloads, path):
            if folder + file not in members:
                raise InvalidInput(f"{path} is damaged: {folder}{file} is missing")
            wanted[folder + file] = members[folder + file]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in wanted.items():
            archive.writestr(f"program/{name}", content)
    out.seek(0)
    return out


def _members(path: Path) -> dict[str, bytes]:
    """Contents of the archive by name below its top folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise InvalidInput(f"{path} is no torch.export archive, or it is damaged: {error}") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
    if found.get("archive_format") != b"pt2" or _MODEL not in found:
        raise InvalidInput(
            f"{path} is no file of torch.export.save (torch 2.8 or newer); torch.save and TorchScript are not read"
        )
    folders = (*_TABLES, *_IGNORED)
    for name in found:
        if name not in {*_MARKERS, _MODEL, _SAMPLES} and not name.startswith(folders):
            raise InvalidInput(f"{path} holds {name!r}, which is more than one exported program; it is not loaded")
    return found


def _parsed(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is damaged: a part of it is no JSON ({error})") from error


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def _payload_files(table: Any, path: Path) -> list[str]:
    """Names of the raw tensors in a table of weights or constants."""
    entries = table.get("config") if isinstance(table, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise InvalidInput(f"{path} is damaged: its table of tensors cannot be read")
    for name, entry in entries.items():
        file = str(entry.get("path_name"))
        if entry.get("use_pickle") is not False or not re.fullmatch(r"(?:weight|tensor)_\d+", file, re.ASCII):
            raise InvalidInput(f"{path} holds {name!r} as a Python object, which could run code; save plain tensors only")
    return [str(entry["path_name"]) for entry in entries.values()]


def _checked(value: Any, path: Path, key: str = "") -> Any:
    """The same JSON with every string checked, and without what may be left out."""
    if key in {"guards_code", "metadata", "treespec_namedtuple_fields"}:
        return [] if key == "guards_code" else {}
    if key in _REFUSED and value is not None:
        raise InvalidInput(f"{path} uses {key}, which is not plain weights and operators; it is not loaded")
    if isinstance(value, dict):
        for name in value:
            _check_string(name, path, "")
        return {name: _checked(item, path, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_checked(item, path, key) for item in value]
    if isinstance(value, str):
        _check_string(value, path, key)
    return value


def _check_string(text: str, path: Path, key: str) -> None:
    """Refuse a string that is not of the form that its place in the file allows."""
    forms = {"target": _OPERATOR, "expr_str": _EXPRESSION, "in_spec": _TREE, "out_spec": _TREE, "name": _NAME, "as_name": _NAME}
    if forms.get(key, _WORD).fullmatch(text) is None:
        kind = "operator" if key == "target" else (key or "name")
        raise InvalidInput(f"{path} uses the {kind} {text[:80]!r}, which is not known to be harmless; it is not loaded")
