# SPDX-License-Identifier: Apache-2.0
"""One error hierarchy: every message is one line that says what is wrong, what was found and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LipbenchError(Exception):
    """Base of all errors that a user can mend; shown as one line, without a traceback."""


class InvalidInput(LipbenchError):
    """A parameter, file or array cannot be used: missing, truncated, mislabelled, out of range, not finite."""


class NotApplicable(LipbenchError):
    """A component cannot do what the suite asks of it, such as a region count on a network that is not ReLU."""


class NotFinite(LipbenchError):
    """A network or a metric gave NaN or an infinite value."""


class PluginError(LipbenchError):
    """A plugin is missing, broken, or claims a name that another one has."""


class StoreError(LipbenchError):
    """A results folder cannot be read, written or locked."""


class SuiteError(LipbenchError):
    """A suite file is wrong.

    Args:
        message: What is wrong and what to write instead.
        file: The suite file, or another name for the source such as `--set`.
        line: The line in that file, from 1; None where no line is to blame.
    """

    def __init__(self, message: str, file: str | None = None, line: int | None = None) -> None:
        place = "" if file is None else (f"{file}: " if line is None else f"{file}:{line}: ")
        super().__init__(place + message)
        self.message, self.file, self.line = message, file, line


class UsageError(SuiteError):
    """The command line names what cannot be or is not there; as with a suite, nothing was run and the exit code is 2."""


class AbsentData(SuiteError):
    """A component of a suite is right, but a file that it reads is missing or cannot be read."""


def text_of(error: BaseException) -> str:
    """What an exception says, in one line; one whose own code fails at that must not cause another."""
    try:
        return " ".join(str(error).split())
    except Exception:
        return "it cannot be put into words"


def in_words(error: BaseException) -> str:
    """Any exception in one line; ours say enough without their type."""
    words = text_of(error)
    return words if isinstance(error, LipbenchError) else f"{type(error).__name__}: {words}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The closest known word as a question, or the known words where none is close.

    >>> did_you_mean("meen", ["mean", "largest"])
    "did you mean 'mean'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names)}" if names else "none is known here"
