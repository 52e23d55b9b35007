# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of data: the content of the files that a dataset or a model reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lipbench.contract.context import data_root
from lipbench.contract.errors import LipbenchError
from lipbench.fingerprint import digest
from lipbench.registry import Registry

if TYPE_CHECKING:
    from lipbench.suite.uses import Use
    from lipbench.suite.yamltree import Node


def data_fingerprint(registry: Registry, use: Use, tree: Node, place: Sequence[str | int] = ()) -> str:
    """Digest of the files that a component reads, kept until one of them is touched; empty where it reads none.

    Raises:
        SuiteError: The component refuses its parameters, or a file of it is missing.
    """
    key = f"data {use.code} {use.identity} {data_root().absolute()}"
    kept = registry.recall(key)
    if kept is not None:
        return str(kept)
    from lipbench.signature import instantiate

    try:
        component = instantiate(registry.load(use.entry), dict(use.params))
        files = sorted({Path(f).absolute() for f in component.files()})
        return str(registry.remember(key, lambda: _digest(files), files))
    except (LipbenchError, OSError, ValueError) as error:
        message = str(error) if isinstance(error, LipbenchError) else f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise tree.error(f"{use.kind} {use.label!r}: {message}", place) from error


def _digest(files: list[Path]) -> str:
    if not files:
        return ""
    parts: list[str] = []
    for path in files:
        if path.is_dir():
            parts += [path.name, *sorted(p.name for p in path.iterdir())]
            continue
        with path.open("rb") as stream:
            parts += [path.name, hashlib.file_digest(stream, "sha256").hexdigest()]
    return digest(*parts)
