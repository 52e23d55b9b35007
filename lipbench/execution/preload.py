# SPDX-License-Identifier: Apache-2.0
"""Imported once by the server that workers are forked from: what every worker needs and is slow to import.

It must run no parallel region and touch no GPU: a forked child inherits what its server did.
"""

import gc
from typing import Annotated

import numpy.random
import safetensors.torch
import torch.func
from pydantic import Field

import lipbench.api
import lipbench.execution.job
import lipbench.execution.process
from lipbench.signature import instantiate


class _Example:
    """Made once, so that pydantic has loaded what it loads at the first use."""

    def __init__(self, *, size: Annotated[int, Field(ge=1)] = 1, names: list[str] | None = None) -> None:
        self.size, self.names = size, names


instantiate(_Example, {"size": 2, "names": ["a"]})
__all__ = ["lipbench", "numpy", "safetensors", "torch"]
# What is loaded now lives as long as any worker: a worker's collector need not walk it, nor copy its pages.
gc.freeze()
