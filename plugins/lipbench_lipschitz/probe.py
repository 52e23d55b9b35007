# SPDX-License-Identifier: Apache-2.0
"""A network as a counted function: forwards, Jacobian-vector products and their cost, in chunks that fit the cache."""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import jvp, vjp

from lipbench.api import NotFinite

# Activations of one chunk that still sit in a core's share of the cache. Chosen by a rule, never by a stopwatch, because
# the size of a batch changes the last bits of a sum and a value must not depend on how busy the machine was.
CHUNK_BYTES = 8 * 2**20


@dataclass
class Meter:
    """What a cell has spent."""

    forwards: int = 0
    """Inputs sent through the network; a tangent counts as one more."""
    backwards: int = 0
    """Cotangents sent back."""


class Probe:
    """A network (B, *shape) -> (B, m) in one precision, that counts what it is asked.

    Args:
        module: The network in eval mode; it is copied, so that a change of precision does not leak.
        shape: Shape of one input.
        dtype: Precision of weights, inputs and results.
        device: Where it runs.
        meter: Where costs are added up; shared between precisions of one cell.
    """

    def __init__(
        self, module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, device: str = "cpu", meter: Meter | None = None
    ) -> None:
        self.source = module
        self.module = copy.deepcopy(module).eval().requires_grad_(False).to(device=device, dtype=dtype)
        self.shape, self.dtype, self.device = shape, dtype, torch.device(device)
        # Convolutions run fastest on a CPU with channels last, but float64 depthwise ones several times slower.
        conv = any(isinstance(m, nn.Conv2d) for m in self.module.modules())
        self.channels_last = conv and len(shape) == 3 and dtype != torch.float64
        if self.channels_last:
            self.module = self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.meter = meter or Meter()
        self.inputs = int(torch.Size(shape).numel())
        with torch.inference_mode():
            self.chunk, self.outputs = self._measure()

    def _measure(self) -> tuple[int, int]:
        """Rows a chunk and outputs a row, from the sizes of all intermediate results of one row."""
        largest = 1

        def watch(_: nn.Module, inputs: tuple[object, ...], result: object) -> None:
            nonlocal largest
            sizes = [t.numel() * t.element_size() for t in (*inputs, result) if isinstance(t, Tensor)]
            largest = max(largest, sum(sizes))

        hooks = [m.register_forward_hook(watch) for m in self.module.modules()]
        result = self.module(self._take(torch.zeros((1, *self.shape))))
        for hook in hooks:
            hook.remove()
        return max(1, min(4096, CHUNK_BYTES // largest)), int(result[0].numel())

    def at(self, dtype: torch.dtype) -> Probe:
        """The same stored weights in another precision, sharing the meter; float32 -> float64 is exact."""
        return Probe(self.source, self.shape, dtype, str(self.device), self.meter)

    def _take(self, x: Tensor) -> Tensor:
        x = x.to(device=self.device, dtype=self.dtype)
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last and x.dim() == 4 else x

    def checked(self, y: Tensor, what: str) -> Tensor:
        """The result itself.

        Raises:
            NotFinite: A row holds NaN or an infinite value.
        """
        # One pass in the usual case: a sum is finite only where all its terms are.
        if not math.isfinite(float(y.sum())):
            finite = torch.isfinite(y).flatten(1).all(1)
            if not bool(finite.all()):
                raise NotFinite(f"{what} is not finite for input row {int((~finite).nonzero()[0])} of {len(y)}")
        return y

    def __call__(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, m), no gradient.

        Raises:
            NotFinite: The network gave NaN or an infinite value.
        """
        self.meter.forwards += len(x)
        # Between forwards of a small network every call is felt, so neither a mode nor a chunk is entered without need.
        if torch.is_inference_mode_enabled():
            return self._rows(x)
        with torch.inference_mode():
            return self._rows(x)

    def _rows(self, x: Tensor) -> Tensor:
        if len(x) <= self.chunk:
            return self.checked(self.module(self._take(x)).flatten(1), "the network's output")
        rows = [self.module(self._take(part)).flatten(1) for part in x.split(self.chunk)]
        return self.checked(torch.cat(rows), "the network's output")

    def differentiable(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, m) with gradient, one batch; the caller counts its own backwards."""
        self.meter.forwards += len(x)
        return self.module(self._take(x)).flatten(1)

    def jvp(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """f(x) (B, m) and J(x) u (B, m) for points and directions (B, *shape). Costs 2 forwards a row."""
        self.meter.forwards += 2 * len(x)
        with warnings.catch_warnings():
            # The first call makes torch load rules of its own in a way that it calls deprecated.
            warnings.filterwarnings("ignore", ".*torch.jit.script.*", DeprecationWarning)
            pairs = [
                jvp(self._flat, (self._take(a),), (self._take(b),))
                for a, b in zip(x.split(self.chunk), u.split(self.chunk), strict=True)
            ]
        return (
            self.checked(torch.cat([p[0] for p in pairs]), "the network's output"),
            self.checked(torch.cat([p[1] for p in pairs]), "the Jacobian-vector product"),
        )

    def vjp(self, x: Tensor, v: Tensor) -> Tensor:
        """J(x)^T v (B, *shape) for points (B, *shape) and covectors (B, m). Costs 1 forward and 1 backward a row."""
        self.meter.forwards += len(x)
        self.meter.backwards += len(x)
        rows = [
            vjp(self._flat, self._take(a))[1](self._take(b))[0]
            for a, b in zip(x.split(self.chunk), v.split(self.chunk), strict=True)
        ]
        return self.checked(torch.cat(rows), "the vector-Jacobian product")

    def _flat(self, x: Tensor) -> Tensor:
        return self.module(x).flatten(1)
