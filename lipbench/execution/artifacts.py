# SPDX-License-Identifier: Apache-2.0
"""Fitted models and stages of tasks on disk: tensors as safetensors, facts as JSON beside them; nothing is ever unpickled."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipbench.contract.errors import InvalidInput, LipbenchError
from lipbench.files import file_digest, replacing, write_atomic

if TYPE_CHECKING:
    from torch import Tensor


KEPT_BYTES = 256 * 2**20
"""Artifacts that a worker keeps in memory take no more than this."""

STALE_S = 24 * 3600.0
"""Files of half an artifact that are older than this are nobody's."""


class Kept:
    """The artifacts that were used last, so that jobs which share a worker do not read them again and again."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self.most, self.size = most, 0
        self._tensors: dict[str, Mapping[str, Tensor]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def get(self, name: str) -> Mapping[str, Tensor] | None:
        """What is kept under this id, which is then the last to be dropped."""
        found = self._tensors.pop(name, None)
        if found is not None:
            self._tensors[name] = found
        return found

    def put(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep an artifact; what was used longest ago goes."""
        self.drop(name)
        size = _bytes(tensors)
        if size > self.most:
            return
        while self.size + size > self.most:
            self.drop(next(iter(self._tensors)))
        self._tensors[name] = tensors
        self.size += size

    def drop(self, name: str) -> None:
        """Forget an artifact."""
        found = self._tensors.pop(name, None)
        self.size -= 0 if found is None else _bytes(found)


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(t.nbytes for t in tensors.values())


class Artifacts:
    """A folder of tensors by the hash of all that determines them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, fit: str) -> Path:
        """The file of tensors; it is renamed into place last, so where it is, the artifact is whole."""
        return self.folder / f"{fit}.safetensors"

    def has(self, fit: str) -> bool:
        """True where the artifact is stored."""
        return self.path(fit).is_file()

    def save(self, fit: str, state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Store a model's tensors and what is known of how they came to be."""
        with replacing(self.path(fit)) as temporary:
            _write(temporary, state)
            known = {**facts, "sha256": file_digest(temporary)}
            write_atomic(self.folder / f"{fit}.json", json.dumps(known, indent=1) + "\n")

    def check(self) -> None:
        """See whether something can be stored here.

        Raises:
            LipbenchError: It cannot.
        """
        try:
            with replacing(self.folder / ".check") as temporary:
                temporary.touch()
            (self.folder / ".check").unlink()
        except OSError as error:
            raise LipbenchError(
                f"{self.folder} cannot be written: {error.strerror}; choose another folder by --artifacts"
            ) from error

    def tidy(self) -> None:
        """Remove what writers that were killed have left half done; a younger file may be one that is being written."""
        for path in self.folder.glob(".*.*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()

    def checkpoint(self, fit: str) -> FitCheckpoint:
        """Where this fit keeps its state while it goes on."""
        return FitCheckpoint(self.folder / f"{fit}.partial")

    def load(self, fit: str) -> dict[str, Tensor]:
        """Read a model's tensors.

        Raises:
            InvalidInput: The file is missing, no safetensors file, or not the one that was stored.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            wanted = json.loads((self.folder / f"{fit}.json").read_text())["sha256"]
            if file_digest(self.path(fit)) != wanted:
                raise ValueError("its content is not what was stored")
            return load_file(self.path(fit))
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidInput(f"artifact {self.path(fit)} cannot be used: {error}") from error


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a file without a second copy of them in memory."""
    from safetensors.torch import save_file

    # safetensors refuses views and tensors that share memory, such as tied weights; only those are copied.
    seen: set[int] = set()
    plain = {}
    for name, tensor in tensors.items():
        found = tensor.detach().cpu().contiguous()
        storage = found.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != found.nbytes:
            found = found.clone()
        seen.add(found.untyped_storage().data_ptr())
        plain[name] = found
    save_file(plain, path)


class FitCheckpoint:
    """The state of an unfinished fit, one file that is renamed into place."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace what is kept."""
        with replacing(self.path) as temporary:
            _write(temporary, tensors)

    def load(self) -> dict[str, Tensor] | None:
        """What was saved last; None where there is nothing, or nothing that can be read: the fit then begins anew."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            return load(self.path.read_bytes())
        except (OSError, SafetensorError):
            return None

    def drop(self) -> None:
        """The fit is done."""
        self.path.unlink(missing_ok=True)
