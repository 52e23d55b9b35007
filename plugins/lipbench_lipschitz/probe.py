# SPDX-License-Identifier: Apache-2.0
"""A network as a counted function: forwards, Jacobian-vector products and their cost, in chunks that fit the cache."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import vjp

from lipbench.api import NotFinite

# Activations of one chunk that still sit in a core's share of the cache. Chosen by a rule, never by a stopwatch, because
# the size of a batch changes the last bits of a sum and a value must not depend on how busy the machine was.
CHUNK_BYTES = 20 * 2**20


@dataclass
class Meter:
    """What a cell has spent."""

    forwards: int = 0
    """Inputs sent through the network; a tangent counts as one more."""
    backwards: int = 0
    """Cotangents sent back."""


def duplicate(module: nn.Module) -> nn.Module:
    """A copy of a network, also of one that keeps results of an earlier forward, as the old weight_norm does."""
    kept = [t for m in module.modules() for t in vars(m).values() if isinstance(t, Tensor) and not t.is_leaf]
    return copy.deepcopy(module, {id(t): t.detach().clone() for t in kept})


def _out_of_place(chain: nn.Module) -> None:
    """Make the in-place activations of a plain chain ordinary ones: nothing reads twice there, so its output stays."""
    for part in chain if type(chain) is nn.Sequential else ():
        if vars(part).get("inplace") is True:
            part.inplace = False  # type: ignore[assignment]
        _out_of_place(part)


class _Fresh(nn.Module):
    """A network that writes into its input, on a copy of the input."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """The network's output."""
        return self.inner(x.clone())


class Probe:
    """A network (B, *shape) -> (B, m) in one precision, that counts what it is asked.

    Args:
        module: The network in eval mode; it is copied, so that a change of precision does not leak. One that writes into
            its input works on a copy of it.
        shape: Shape of one input.
        dtype: Precision of weights, inputs and results.
        device: Where it runs.
        meter: Where costs are added up; shared between precisions of one cell.
    """

    def __init__(
        self, module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, device: str = "cpu", meter: Meter | None = None
    ) -> None:
        self.source = module
        self.module = duplicate(module).eval().requires_grad_(False).to(device=device, dtype=dtype)
        _out_of_place(self.module)
        self.shape, self.dtype, self.device = shape, dtype, torch.device(device)
        # Convolutions run fastest on a CPU with channels last, but float64 depthwise ones several times slower.
        conv = any(isinstance(m, nn.Conv2d) for m in self.module.modules())
        self.channels_last = conv and len(shape) == 3 and dtype != torch.float64
        if self.channels_last:
            self.module = self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.meter = meter or Meter()
        self.inputs = int(torch.Size(shape).numel())
        with torch.no_grad():  # not inference mode, in which nobody counts the writes into a tensor
            self.chunk, self.outputs = self._measure()

    def _measure(self) -> tuple[int, int]:
        """Rows a chunk and outputs a row, from the sizes of all intermediate results of one row.

        The same forward shows whether the network writes into its input, and if so wraps it.
        """
        largest = 1

        def watch(_: nn.Module, inputs: tuple[object, ...], result: object) -> None:
            nonlocal largest
            sizes = [t.numel() * t.element_size() for t in (*inputs, result) if isinstance(t, Tensor)]
            largest = max(largest, sum(sizes))

        hooks = [m.register_forward_hook(watch) for m in self.module.modules()]
        row = self._take(torch.zeros((1, *self.shape)))
        writes = row._version
        result = self.module(row)
        for hook in hooks:
            hook.remove()
        if row._version != writes:
            self.module = _Fresh(self.module)
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
        """f(x) (B, m) and J(x) u (B, m) for points and directions (B, *shape). Counts as 2 forwards a row.

        The product is the derivative of the linear map v -> J^T v along u: forward mode is defined for fewer networks, and
        its first use loads rules for a second.
        """
        self.meter.forwards += 2 * len(x)
        pairs = [self._tangent(a, b) for a, b in zip(x.split(self.chunk), u.split(self.chunk), strict=True)]
        return (
            self.checked(torch.cat([p[0] for p in pairs]), "the network's output"),
            self.checked(torch.cat([p[1] for p in pairs]), "the Jacobian-vector product"),
        )

    def _tangent(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        # Plain autograd, as the first use of torch.func loads rules as well.
        with torch.inference_mode(False), torch.enable_grad():
            x, u = self._take(x).detach().clone().requires_grad_(), self._take(u).clone()
            y = self._flat(x)
            if not y.requires_grad:  # the output does not depend on the input
                return y, torch.zeros_like(y)
            v = torch.zeros_like(y, requires_grad=True)
            (back,) = torch.autograd.grad(y, x, v, create_graph=True, materialize_grads=True)
            if not back.requires_grad:
                return y.detach(), torch.zeros_like(y)
            return y.detach(), torch.autograd.grad(back, v, u, materialize_grads=True)[0]

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
