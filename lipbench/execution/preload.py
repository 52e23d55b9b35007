# SPDX-License-Identifier: Apache-2.0
"""Imported once by the server that workers are forked from: what every worker needs and is slow to import.

It must run no parallel region and touch no GPU: a forked child inherits what its server did.

The server is also who outlives them all: it adopts the orphans of workers that die, and when it ends, which it does with the
parent, however that died, it ends all that is left.
"""

import atexit
import gc
import os
import warnings
from typing import Annotated

import numpy.random
import psutil
import safetensors.torch
import torch.func
from pydantic import Field

import lipbench.api
import lipbench.execution.job
import lipbench.execution.process
from lipbench.execution.process import adopt, kill_below
from lipbench.execution.worker import pools
from lipbench.signature import instantiate


class _Example:
    """Made once, so that pydantic has loaded what it loads at the first use."""

    def __init__(self, *, size: Annotated[int, Field(ge=1)] = 1, names: list[str] | None = None) -> None:
        self.size, self.names = size, names


instantiate(_Example, {"size": 2, "names": ["a"]})
pools()
__all__ = ["lipbench", "numpy", "safetensors", "torch"]


def _end_all(server: int) -> None:
    if os.getpid() == server:
        kill_below(psutil.Process())


adopt()
atexit.register(_end_all, os.getpid())
# What multiprocessing says of the end of a process that it did not fork, such as an orphan that was adopted.
warnings.filterwarnings("ignore", message="forkserver: waitpid returned unexpected pid")
# What is loaded now lives as long as any worker: a worker's collector need not walk it, nor copy its pages.
gc.freeze()
