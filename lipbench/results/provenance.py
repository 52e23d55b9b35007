# SPDX-License-Identifier: Apache-2.0
"""Where numbers came from: command, versions, git state, machine, environment. Taken once a run."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from lipbench import __version__
from lipbench.registry import Registry
from lipbench.results import machine


def provenance(registry: Registry) -> dict[str, Any]:
    """Facts about this run, JSON-able; apart from the command, nothing in it names a user or a folder."""
    gpus = machine.gpus()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [os.path.basename(sys.argv[0]), *sys.argv[1:]],  # noqa: PTH119
        "lipbench": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": machine.processor(),
        "cores": os.cpu_count(),
        "cores_allowed": machine.cores(),
        "memory_bytes": machine.memory_bytes(),
        "gpus": list(gpus.names),
        "gpu_driver": gpus.driver,
        "environment": machine.environment(),
        "packages": {name: v for name, v in package_versions(registry).items() if v is not None},
        "plugins": {
            p.name: {"distribution": p.distribution, "version": p.version, "status": p.status} for p in registry.plugins
        },
        "git": _git(),
    }


def package_versions(registry: Registry) -> dict[str, str | None]:
    """Versions of what lipbench and the loaded plugins ask for, extras included; None where it is not installed."""
    names: set[str] = set()
    for distribution in {"lipbench", *(p.distribution for p in registry.plugins if p.status == "ok")}:
        try:
            wanted = requires(distribution) or []
        except PackageNotFoundError:  # a plugin in one file
            continue
        names |= {found[0] for line in wanted if (found := re.match(r"[A-Za-z0-9._-]+", line))}
    return {name: _version(name) for name in sorted(names - {"lipbench"}, key=str.lower)}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Commit of the working folder and whether it has changes; None outside a repository."""
    words = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    lines = done.stdout.splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), "")
    return {"commit": commit, "dirty": any(not line.startswith("#") for line in lines)}
