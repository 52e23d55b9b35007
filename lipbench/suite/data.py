# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of data: the content of the files that a dataset or a model reads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lipbench.contract.context import data_root
from lipbench.contract.errors import AbsentData, LipbenchError, in_words
from lipbench.fingerprint import digest
from lipbench.registry import Registry

if TYPE_CHECKING:
    from lipbench.suite.uses import Use
    from lipbench.suite.yamltree import Node


def data_fingerprint(registry: Registry, use: Use, tree: Node, place: Sequence[str | int] = ()) -> str:
    """Digest of the files that a component reads, kept until one of them is touched; empty where it reads none.

    Raises:
        SuiteError: The component refuses its parameters.
        AbsentData: A file of it is missing.
    """
    key = f"data {use.code} {use.identity} {data_root().absolute()} {Path.cwd()}"
    kept = registry.recall(key)
    if kept is not None:
        return str(kept)
    from lipbench.signature import instantiate

    try:
        component = instantiate(registry.load(use.entry), dict(use.params))
    except (LipbenchError, OSError, ValueError) as error:
        raise tree.error(f"{use.kind} {use.label!r}: {in_words(error)}", place) from error
    try:
        files = sorted({Path(f).absolute() for f in component.files()})
        answer = _digest(files)
        registry.remember(key, answer, files)
    except (LipbenchError, OSError, ValueError) as error:
        where = tree.error(f"{use.kind} {use.label!r}: {in_words(error)}", place)
        raise AbsentData(where.message, where.file, where.line) from error
    return answer


def _digest(files: list[Path]) -> str:
    """Names below the common folder, since a folder may be a class label, and contents."""
    if not files:
        return ""
    top = os.path.commonpath([path.parent for path in files])
    parts: list[str] = []
    for path in files:
        parts.append(path.relative_to(top).as_posix())
        if path.is_dir():
            parts += sorted(p.name for p in path.iterdir())
        else:
            with path.open("rb") as stream:
                parts.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digest(*parts)
