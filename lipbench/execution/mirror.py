# SPDX-License-Identifier: Apache-2.0
"""Artifacts at a URL, such as a bucket that many machines reach; each keeps copies of what it has used."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipbench.contract.errors import LipbenchError, text_of
from lipbench.execution.artifacts import Artifacts, FitCheckpoint
from lipbench.files import file_digest, replacing
from lipbench.fingerprint import digest
from lipbench.registry import cache_folder

if TYPE_CHECKING:
    from torch import Tensor


def artifacts_at(place: str | Path) -> Artifacts:
    """The artifacts in a folder, or at a URL of fsspec such as `s3://bucket/artifacts`.

    Raises:
        LipbenchError: As `Mirror`.
    """
    return Mirror(str(place)) if "://" in str(place) else Artifacts(Path(place))


class Mirror(Artifacts):
    """Artifacts at a URL, behind a folder of this machine that has copies.

    Raises:
        LipbenchError: fsspec does not know such URLs, or lacks a package for them, or other processes do not see what is there.
    """

    def __init__(self, url: str) -> None:
        super().__init__(cache_folder() / "artifacts" / digest(url))
        self._url, self._far = url, _Far(url)

    @cached_property
    def _listed(self) -> frozenset[str]:
        try:
            return self._far.names()
        except Exception as error:  # each file system has errors of its own
            raise LipbenchError(
                f"{self._url} cannot be listed: {text_of(error)}; choose another place by --artifacts"
            ) from error

    def check(self) -> None:
        """See `Artifacts`; both the copies and the URL, so that no fit finds out when it is done."""
        super().check()
        try:
            with replacing(self.folder / ".check") as probe:
                self._far.publish(probe)
                self._far.drop(probe)
            (self.folder / ".check").unlink()
        except Exception as error:
            raise LipbenchError(
                f"{self._url} cannot be written: {text_of(error)}; choose another place by --artifacts"
            ) from error

    def has(self, fit: str) -> bool:
        """True where the artifact was at the URL when this was first asked of any."""
        return self.path(fit).name in self._listed

    def save(self, fit: str, state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """See `Artifacts`; the tensors are published last, so where they are, the artifact is whole."""
        super().save(fit, state, facts)
        self._far.publish(self.folder / f"{fit}.json")
        self._far.publish(self.path(fit))

    def load(self, fit: str) -> dict[str, Tensor]:
        """See `Artifacts`; fetches what this machine has no good copy of."""
        facts = self.folder / f"{fit}.json"
        if self._far.fetch(facts):
            wanted = json.loads(facts.read_text()).get("sha256")
            if not self.path(fit).is_file() or file_digest(self.path(fit)) != wanted:
                self._far.fetch(self.path(fit))
        return super().load(fit)

    def checkpoint(self, fit: str) -> FitCheckpoint:
        """See `Artifacts`; another machine can go on from it."""
        return _FarCheckpoint(super().checkpoint(fit).path, self._far)


class _FarCheckpoint(FitCheckpoint):
    def __init__(self, path: Path, far: _Far) -> None:
        super().__init__(path)
        self._far = far

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        super().save(tensors)
        self._far.publish(self.path)

    def load(self) -> dict[str, Tensor] | None:
        return super().load() if self._far.fetch(self.path) else None

    def drop(self) -> None:
        self._far.drop(self.path)
        super().drop()


class _Far:
    """The files at a URL; they have the names of those here."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        try:
            self._system, self._root = url_to_fs(url)
        except (ImportError, ValueError, OSError) as error:
            raise LipbenchError(f"{url}: {error}; write a folder, or a URL that fsspec knows") from error
        protocol = self._system.protocol
        if "memory" in ([protocol] if isinstance(protocol, str) else protocol):
            raise LipbenchError(
                f"{url}: each process has a memory of its own and would fit again; write a folder, or another URL"
            )

    def names(self) -> frozenset[str]:
        """What is there."""
        self._system.invalidate_cache()
        try:
            return frozenset(Path(name).name for name in self._system.ls(self._root, detail=False))
        except FileNotFoundError:
            return frozenset()

    def publish(self, path: Path) -> None:
        """Put a file there under its name; until it is there as a whole, what had that name stays."""
        self._system.makedirs(self._root, exist_ok=True)
        temporary = f"{self._root}/.{path.name}.{secrets.token_hex(4)}"
        self._system.put_file(str(path), temporary)
        self._system.mv(temporary, f"{self._root}/{path.name}")

    def fetch(self, path: Path) -> bool:
        """Get the file of that name, in place of what is here; False where there is none."""
        try:
            with replacing(path) as temporary:
                self._system.get_file(f"{self._root}/{path.name}", str(temporary))
        except FileNotFoundError:
            return False
        return True

    def drop(self, path: Path) -> None:
        """Remove the file of that name, if there is one."""
        try:
            self._system.rm_file(f"{self._root}/{path.name}")
        except FileNotFoundError:
            return
