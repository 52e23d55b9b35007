# SPDX-License-Identifier: Apache-2.0
"""What an exception in a component comes to: the class in the record, whether to try again, and what it leaves behind."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch

from lipbench.contract.errors import LipbenchError, NotFinite, text_of
from lipbench.execution.dispatch import Hint

PASSING = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.EBUSY,
        errno.EAGAIN,
        errno.ENFILE,
        errno.ETIMEDOUT,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
    }
)
"""Errors of the system that a moment's patience may mend: a network file system, a network, a machine that is short of handles."""


def fault(error: Exception) -> dict[str, str]:
    """The class of a fault and one line about it; the traceback of what we did not foresee goes to the log."""
    line = text_of(error)[:1000]
    if isinstance(error, NotFinite):
        return {"class": "nan", "message": line}
    if isinstance(error, LipbenchError):
        return {"class": "invalid", "message": line}
    traceback.print_exception(error, file=sys.stderr)
    sys.stderr.flush()
    kind = "oom" if _out_of_memory(error) else "crash"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return {"class": kind, "message": f"{type(error).__name__}: {line}{place}"[:500]}


def hint(error: Exception, batches: Sequence[int]) -> Hint | None:
    """Whether another try makes sense.

    Args:
        error: What was raised.
        batches: What `Context.batch` gave before.
    """
    if _out_of_memory(error):
        if max(batches, default=1) > 1:
            return "smaller"
        # Others may have filled the device; main memory that one process could not get it will not get again.
        return "later" if isinstance(error, torch.OutOfMemoryError) else None
    if isinstance(error, (ConnectionError, TimeoutError)):
        return "later"
    return "later" if isinstance(error, OSError) and error.errno in PASSING else None


def spoils(error: Exception) -> bool:
    """Whether no later use of the device in this process can be trusted, as after an assertion on a GPU."""
    return isinstance(error, torch.AcceleratorError) and not _out_of_memory(error)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError))
