# SPDX-License-Identifier: Apache-2.0
"""All that a component learns about the world it runs in."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch


def stable_seed(*parts: object) -> int:
    """A 128-bit seed from words and numbers, the same in every process and on every machine.

    >>> stable_seed("a", 1) == stable_seed("a", 1) != stable_seed("a", 2)
    True
    """
    text = "\x1f".join(str(p) for p in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def data_root(root: str | None = None) -> Path:
    """The folder with local data files: `root` where given, else `$LIPBENCH_DATA`, else `./data`."""
    return Path(root or os.environ.get("LIPBENCH_DATA") or "data").expanduser()


class Checkpoint(Protocol):
    """Where a long fit keeps what it needs to go on after it was killed."""

    def save(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Replace what is kept, in one step: a crash leaves the old or the new, never a part."""

    def load(self) -> Mapping[str, torch.Tensor] | None:
        """What was saved last by the same fit, None where there is nothing."""


def _silent(message: object) -> None:
    """Default of `Context.log` and its like: outside a run nobody listens."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the harness tells a component: device, seed, data folder, deadline, where to report.

    Every random draw of a component must come from `rng` or `generator`.
    """

    scope: str
    """Identity of the cell, job or fit in words; random streams depend on it and on `seed` alone."""
    seed: int = 0
    """The seed of the suite's matrix: 0, 1, 2, ..."""
    device: str = "cpu"
    """A torch device such as `cpu` or `cuda:0`."""
    deadline: float | None = None
    """`time.monotonic()` at which the harness kills this work; None for no limit."""
    checkpoint: Checkpoint | None = field(default=None, repr=False)
    """In `fit`: where a long one may save its state now and then; it is dropped when the fit is done. Else None."""
    batch_scale: float = 1.0
    """Share of the usual batch that may be used: 1, or 1/2, 1/4, ... after memory ran out. See `batch`."""
    on_batch: Callable[[int], None] = field(default=_silent, repr=False)
    """How the harness learns that a smaller batch can help; `batch` calls it."""
    log: Callable[[str], None] = field(default=_silent, repr=False)
    """Write a line to the log of the job."""
    report: Callable[[str], None] = field(default=_silent, repr=False)
    """Say in a few words how far the work is; shown on the progress bar."""

    def rng(self, stream: str = "") -> np.random.Generator:
        """A numpy generator; the same stream name gives the same numbers again."""
        import numpy as np  # here, so that listing plugins does not pay for it

        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(stable_seed(self.scope, self.seed, stream))))

    def generator(self, stream: str = "") -> torch.Generator:
        """A torch generator on the CPU, so that a draw is the same whatever the device; move what it draws."""
        import torch

        return torch.Generator().manual_seed(stable_seed(self.scope, self.seed, stream) % 2**63)

    def batch(self, rows: int) -> int:
        """How many rows to send through a network at once: `rows`, or less after memory ran out, at least 1.

        Where memory runs out in a component that has asked, the work is done again with half of it. It is for batches that
        leave a result the same up to rounding, and not for the batch of an optimiser's step.
        """
        given = max(1, int(rows * self.batch_scale))
        self.on_batch(given)
        return given

    def seconds_left(self) -> float:
        """Seconds until the deadline, infinite where there is none."""
        return float("inf") if self.deadline is None else self.deadline - time.monotonic()
