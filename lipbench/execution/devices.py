# SPDX-License-Identifier: Apache-2.0
"""Which devices there are, asked without importing torch."""

from __future__ import annotations

import os
import shutil
import subprocess

from lipbench.contract.errors import LipbenchError

CLASSES = ("cpu", "cuda", "mps")


def gpu_count() -> int:
    """Number of NVIDIA GPUs that this process may see; 0 where there is no driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([v for v in visible.split(",") if v.strip() not in ("", "-1")])
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def device_class(wanted: str) -> str:
    """`cpu`, `cuda` or `mps` for what `--device` says; `auto` is a GPU where there is one.

    Raises:
        LipbenchError: No such device.
    """
    if wanted == "auto":
        return "cuda" if gpu_count() else "cpu"
    head = wanted.partition(":")[0]
    if head not in CLASSES:
        raise LipbenchError(f"--device {wanted}: write auto, cpu, cuda, cuda:0 or mps")
    if head == "cuda" and gpu_count() == 0:
        raise LipbenchError(f"--device {wanted}: no NVIDIA GPU is visible here; write --device cpu")
    return head


def slots(wanted: str, workers: int | None, cpus: int) -> list[str]:
    """One device a slot: each GPU once, or as many CPU slots as keep the cores busy.

    Args:
        wanted: What `--device` says.
        workers: What `--workers` says; None to choose.
        cpus: Threads of the widest job.
    """
    kind = device_class(wanted)
    if kind == "cpu":
        return ["cpu"] * (workers or max(1, len(os.sched_getaffinity(0)) // cpus))
    if ":" in wanted or kind == "mps":
        return [wanted] * (workers or 1)
    count = gpu_count()
    return [f"cuda:{i % count}" for i in range(workers or count)]
