# SPDX-License-Identifier: Apache-2.0
"""Where numbers came from: machine, versions, git state, command. Taken once a run."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lipbench import __version__
from lipbench.registry import Registry

_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "scikit-image", "safetensors", "pydantic", "matplotlib")


def provenance(registry: Registry) -> dict[str, Any]:
    """Facts about this run, JSON-able; nothing in it names a user or a folder."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [os.path.basename(sys.argv[0]), *sys.argv[1:]],  # noqa: PTH119
        "lipbench": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": {name: v for name in _PACKAGES if (v := _version(name))},
        "plugins": {
            p.name: {"distribution": p.distribution, "version": p.version, "status": p.status} for p in registry.plugins
        },
        "git": _git(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as info:  # noqa: PTH123
            return next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())
    except OSError:
        return platform.processor() or platform.machine()


def _git() -> dict[str, Any] | None:
    """Commit of the working folder and whether it has changes; None outside a repository."""

    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603, S607
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    return None if commit is None else {"commit": commit, "dirty": bool(ask("status", "--porcelain"))}
