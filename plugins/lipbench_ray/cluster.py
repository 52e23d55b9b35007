# SPDX-License-Identifier: Apache-2.0
"""A connection to a Ray cluster, or a cluster of this machine alone, and what there is on it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from typing import Any

from lipbench.api import LipbenchError, Resources

_OBJECTS = 100 * 2**20
"""Bytes of shared memory of a cluster that we start: what goes through it are messages."""

_PATIENCE_S = 10.0
"""How long the head of a cluster may take to answer."""

_QUIET = {
    # Nothing is told to anybody.
    "RAY_USAGE_STATS_ENABLED": "0",
    # What will be the default: a task without a GPU keeps what it sees.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A run says itself what it waits for.
    "RAY_SCHEDULER_EVENTS": "0",
}


def alone(address: str | None) -> bool:
    """Whether `connect` would start a cluster on this machine."""
    return (address or os.environ.get("RAY_ADDRESS") or "local") == "local"


def connect(address: str | None) -> Any:
    """The module `ray`, connected to the cluster.

    Args:
        address: What `--address` says; None for the cluster that `RAY_ADDRESS` names, else a new one on this machine.

    Raises:
        LipbenchError: There is no Ray, or no cluster there.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address.startswith("ray://"):
        raise LipbenchError(
            f"--address {address}: Ray Client cannot stream results; start the run on a machine of the cluster, "
            "with --address auto, or by `ray job submit`"
        )
    _knock(address)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise LipbenchError("executor 'ray' needs the package ray: pip install 'lipbench[ray]'") from error
    if not ray.is_initialized():
        _connect(ray, address)
    return ray


def _knock(address: str) -> None:
    """Ray itself would wait for many minutes for somebody to answer."""
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        raise LipbenchError(f"--address {address}: nothing answers there: {error}") from error


def _connect(ray: Any, address: str) -> None:
    ours: dict[str, Any] = {}
    if address == "local":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        ours = {"num_cpus": cores, "object_store_memory": _OBJECTS, "include_dashboard": False}
    # Ray sets a handler of its own that leaves at once; ours stops the run.
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **ours)
    except Exception as error:
        # Also plain `Exception`, where a machine is too busy to start one in time.
        reason = " ".join(str(error).split())
        raise LipbenchError(f"--address {address}: no Ray cluster can be reached or started: {reason}") from error
    finally:
        signal.signal(signal.SIGTERM, before)


def machines(ray: Any) -> list[dict[str, float]]:
    """What each machine has that is there now: `CPU`, `GPU` and `memory` (bytes)."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def options(asked: Resources, device: str, found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Resources of a task as Ray calls them.

    Like on one machine, a work that asks for more threads or memory than there are gets a machine to itself.

    Args:
        asked: What the work asks for.
        device: `cpu` or `cuda`.
        found: What `machines` gives.
    """
    wanted = {"CPU": float(asked.cpus), "memory": float(asked.memory)}
    most = {name: max((machine.get(name, 0.0) for machine in found), default=0.0) for name in wanted}
    fitting = {name: min(value, most[name] or value) for name, value in wanted.items()}
    chosen = {"num_cpus": fitting["CPU"]}
    if fitting["memory"]:
        chosen["memory"] = float(int(fitting["memory"]))
    if device == "cuda":
        chosen["num_gpus"] = asked.gpus
    return chosen


_NAMES = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}


def slots(chosen: dict[str, float], found: Sequence[dict[str, float]]) -> int:
    """How many tasks with these options run at once."""
    return sum(
        min(int(machine.get(_NAMES[name], 0.0) / value + 1e-9) for name, value in chosen.items() if value) for machine in found
    )
