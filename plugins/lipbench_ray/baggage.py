# SPDX-License-Identifier: Apache-2.0
"""What a machine of the cluster needs besides its works: plugins that are not installed, where things are, and the same code."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipbench.api import LipbenchError, Work

_PASSED_ON = ("LIPBENCH_DATA",)
"""Variables that mean the same on all machines."""


@dataclass(frozen=True, kw_only=True)
class Baggage:
    """Packed by the run, unpacked once by each process that runs works for it."""

    name: str
    """Unique in all runs."""
    places: tuple[tuple[str, bytes | None], ...]
    """Plugins that are not installed: a module, or a file with its content."""
    folder: str
    """The working directory, which file names in a suite may be relative to."""
    path: tuple[str, ...]
    """Where modules are looked for."""
    environment: Mapping[str, str]
    sources: Mapping[str, str]
    """Package to the digest of its sources."""


_UNPACKED: dict[str, tuple[str, ...]] = {}


def pack(name: str, places: Sequence[str], works: Sequence[Work]) -> Baggage:
    """What the works need on other machines."""
    return Baggage(
        name=name,
        places=tuple((p, Path(p).read_bytes() if p.endswith(".py") else None) for p in places),
        folder=str(Path.cwd()),
        path=tuple(p for p in sys.path if p),
        environment={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        sources={name: digest for name in sorted(_packages(works)) if (digest := _sources(name))},
    )


def unpack(baggage: Baggage, machine: str) -> tuple[str, ...]:
    """Make this process like the one that packed; gives the plugins as they are named here.

    Raises:
        LipbenchError: The code that is installed here is not the code that the records would name.
    """
    if baggage.name in _UNPACKED:
        return _UNPACKED[baggage.name]
    if Path(baggage.folder).is_dir():
        os.chdir(baggage.folder)
    os.environ.update(baggage.environment)
    sys.path.extend(p for p in baggage.path if p not in sys.path and Path(p).exists())
    for name, wanted in baggage.sources.items():
        found = _sources(name)
        if found != wanted:
            what = "is another version of it" if found else "is not installed"
            raise LipbenchError(f"package {name} on machine {machine} {what}; install there what the run was started with")
    _UNPACKED[baggage.name] = tuple(_place(*place) for place in baggage.places)
    return _UNPACKED[baggage.name]


def _place(name: str, content: bytes | None) -> str:
    """The plugin as it is found here: a file where it lies on a shared disk, else a copy of it."""
    if content is None or (Path(name).is_file() and Path(name).read_bytes() == content):
        return name
    copy = Path(tempfile.mkdtemp(prefix="lipbench-plugin-")) / Path(name).name
    copy.write_bytes(content)
    return str(copy)


def _packages(works: Iterable[Work]) -> set[str]:
    """The top-level packages of all components that the works name, and our own."""
    factories = {factory for work in works for factory in _factories(work.payload)}
    return {"lipbench", *(factory.partition(":")[0].partition(".")[0] for factory in factories)}


def _factories(payload: Any) -> Iterator[str]:
    if isinstance(payload, Mapping):
        if isinstance(factory := payload.get("factory"), str) and "params" in payload:
            yield factory  # and no further: parameters are what the suite says
            return
        payload = list(payload.values())
    if isinstance(payload, (list, tuple)):
        for value in payload:
            yield from _factories(value)


def _sources(package: str) -> str:
    """Digest of the sources of a package; empty where there is none, and for a single file, which travels with the run."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:
        return ""  # a module that was imported from a file by hand
    found = hashlib.sha256()
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    for file in sorted(f for folder in folders for f in Path(folder).rglob("*.py")):
        found.update(str(file.relative_to(folders[0])).encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest() if folders else ""
