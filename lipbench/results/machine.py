# SPDX-License-Identifier: Apache-2.0
"""What this machine is: processor, memory, GPUs and their driver, asked without importing torch or starting CUDA."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NVIDIA = Path("/proc/driver/nvidia")
CONTAINER = Path("/sys/fs/cgroup")
"""Limits of the control group that a container lives in."""
ENVIRONMENT = (
    "ATEN_CPU_CAPABILITY", "CUBLAS_WORKSPACE_CONFIG", "CUDA_VISIBLE_DEVICES", "GOMP_CPU_AFFINITY", "MKL_CBWR", "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS", "OMP_PLACES", "OMP_PROC_BIND", "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED",
    "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ENABLE_MPS_FALLBACK", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)  # fmt: skip
"""Variables that change numbers, speed or devices. No other is ever recorded: some hold secrets, some name people."""


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """NVIDIA GPUs as their driver tells of them, whatever torch can do with them."""

    names: tuple[str, ...] = ()
    driver: str | None = None
    """Version of the driver, such as 570.86.15; None where there is none."""
    cuda: tuple[int, int] | None = None
    """The newest CUDA that the driver can run."""

    @property
    def there(self) -> bool:
        """Whether there is a driver; some places, such as containers, show only parts of it."""
        return bool(self.names or self.driver or self.cuda)


@dataclass(frozen=True, kw_only=True)
class Torch:
    """The installed torch, read from its files and not imported."""

    version: str
    cuda: tuple[int, int] | None
    """The CUDA that it was built with; None in a build without."""


def processor() -> str:
    """Name of the processor's model."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> float:
    """CPU cores that this process gets: those that it may run on, less what its container does not give."""
    allowed = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with suppress(OSError, ValueError):
        quota, period = (CONTAINER / "cpu.max").read_text().split()
        allowed = min(allowed, int(quota) / int(period))
    return allowed


def memory_bytes() -> int:
    """Main memory that this process gets: that of the machine, less what its container does not give."""
    import psutil

    total = int(psutil.virtual_memory().total)
    with suppress(OSError, ValueError):
        return min(total, int((CONTAINER / "memory.max").read_text()))
    return total


def environment() -> dict[str, str]:
    """Those of `ENVIRONMENT` that are set."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}


def gpus() -> Gpus:
    """What the NVIDIA driver says of all GPUs that its tool lists or, where that is not there, of those of the machine."""
    names = list(_listed(shutil.which("nvidia-smi")))
    with suppress(OSError):
        for info in () if names else sorted((NVIDIA / "gpus").glob("*/information")):
            names += re.findall(r"^Model:\s*(.+?)\s*$", info.read_text(), flags=re.M)
    driver = None
    with suppress(OSError):
        found = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)\s", (NVIDIA / "version").read_text())
        driver = found[1] if found else None
    return Gpus(names=tuple(names), driver=driver, cuda=_driver_cuda())


def visible_gpus() -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that this process may use.

    What the driver's files say does not count: in a container they show GPUs of the machine that it cannot reach.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(v.strip() for v in visible.split(",") if v.strip() not in ("", "-1"))
    return tuple(map(str, range(len(_listed(shutil.which("nvidia-smi"))))))


@cache
def _listed(tool: str | None) -> tuple[str, ...]:
    """Names of the GPUs that nvidia-smi lists; it may take a second, so it is asked once."""
    if tool is None:
        return ()
    try:
        said = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=False).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(re.findall(r"^GPU \d+: (.+?)(?: \(UUID: .*)?$", said, flags=re.M))


def _driver_cuda() -> tuple[int, int] | None:
    """From libcuda, whose version call needs no initialisation."""
    try:
        library, version = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
        if library.cuDriverGetVersion(ctypes.byref(version)) != 0 or version.value == 0:
            return None
    except (OSError, AttributeError):
        return None
    return version.value // 1000, version.value % 1000 // 10


def installed_torch() -> Torch | None:
    """The torch that a worker would import; None where its files cannot be found."""
    spec = importlib.util.find_spec("torch")
    for place in (spec.submodule_search_locations or []) if spec else []:
        with suppress(OSError):
            text = (Path(place) / "version.py").read_text()
            version = re.search(r"""^__version__\s*=\s*['"](.+?)['"]""", text, flags=re.M)
            cuda = re.search(r"""^cuda\b.*?=\s*['"](\d+)\.(\d+)""", text, flags=re.M)
            return Torch(version=version[1] if version else "?", cuda=(int(cuda[1]), int(cuda[2])) if cuda else None)
    return None
