# SPDX-License-Identifier: Apache-2.0
"""What one job could leave to the next in a process that they share, and how it is put back."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE)
"""Signals that components might handle; the others are left alone."""


class Surroundings:
    """The state of this process as it was when this was made: all that is cheap to put back.

    Variables, working folder, search path, standard output, filters of warnings, handlers of signals and timers, error states of
    numpy, and of torch the default dtype and device, gradients, threads, determinism and TF32. Not: modules that were changed,
    threads and files that were left open, caches of libraries, loggers, memory.
    """

    def __init__(self) -> None:
        self._folder, self._path = _folder(), list(sys.path)
        self._variables = dict(os.environ)
        self._filters = list(warnings.filters)
        self._numpy = np.geterr()
        self._torch = _torch_state()
        self._handlers = _handlers()
        self._streams = _Streams()

    def restore(self) -> bool:
        """Put it back; False where that is not possible, so that this process should do no other work."""
        try:
            self._streams.restore()
            if dict(os.environ) != self._variables:
                for name in set(os.environ) - set(self._variables):
                    del os.environ[name]
                os.environ.update(self._variables)
            sys.path[:] = self._path
            if warnings.filters != self._filters:
                warnings.filters[:] = self._filters  # type: ignore[index]
                warnings._filters_mutated()  # type: ignore[attr-defined]
            if self._folder is not None:
                os.chdir(self._folder)
            np.seterr(**self._numpy)
            for number, handler in self._handlers.items():
                if signal.getsignal(number) != handler:
                    signal.signal(number, handler)
            if self._handlers:
                signal.setitimer(signal.ITIMER_REAL, 0)
            _restore_torch(self._torch)
        except (OSError, RuntimeError, ValueError, TypeError):
            return False
        return True


def _folder() -> str | None:
    """The working folder; None where it has been removed."""
    try:
        return str(Path.cwd())
    except OSError:
        return None


def _handlers() -> dict[signal.Signals, Any]:
    """Handlers that were set from Python; only the main thread may change them."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {name: signal.getsignal(name) for name in _SIGNALS}
    return {name: handler for name, handler in found.items() if handler is not None}


def _torch_state() -> dict[str, Any]:
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "precision": torch.get_float32_matmul_precision(),
        "cudnn": (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "anomalies": torch.is_anomaly_enabled(),
    }


def _restore_torch(before: dict[str, Any]) -> None:
    now = _torch_state()
    if now == before:
        return
    torch.set_default_dtype(before["dtype"])
    if now["device"] != before["device"]:
        # What was set last is taken back, which leaves none: setting one again would slow down each call of torch.
        torch.set_default_device(None)
    torch.set_grad_enabled(before["gradients"])
    if now["threads"] != before["threads"]:
        torch.set_num_threads(before["threads"])
    torch.set_deterministic_debug_mode(before["deterministic"])
    torch.set_float32_matmul_precision(before["precision"])
    cudnn = torch.backends.cudnn
    cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = before["cudnn"]
    torch.autograd.set_detect_anomaly(before["anomalies"])


class _Streams:
    """Standard output and standard error, as objects and as handles of the system."""

    def __init__(self) -> None:
        self._objects = {1: ("stdout", sys.stdout), 2: ("stderr", sys.stderr)}
        self._kept = {handle: os.dup(handle) for handle in self._objects if _file(handle)}
        self._files = {handle: _file(handle) for handle in self._objects}

    def __del__(self) -> None:
        for handle in self._kept.values():
            with suppress(OSError):
                os.close(handle)

    def restore(self) -> None:
        """Put both back.

        Raises:
            OSError: What was kept of them has been closed too.
        """
        for handle, (name, stream) in self._objects.items():
            current = getattr(sys, name)
            with suppress(Exception):  # it may be anything
                current.flush()
            if _file(handle) != self._files[handle]:
                if handle not in self._kept or _file(self._kept[handle]) != self._files[handle]:
                    raise OSError("the file that was kept has been closed")
                os.dup2(self._kept[handle], handle)
            if getattr(stream, "closed", stream is None):
                stream = open(handle, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
                self._objects[handle] = (name, stream)
            setattr(sys, name, stream)


def _file(handle: int) -> tuple[int, int] | None:
    """Which file a handle is; None where it is closed."""
    try:
        found = os.fstat(handle)
    except OSError:
        return None
    return found.st_dev, found.st_ino
