# SPDX-License-Identifier: Apache-2.0
"""How far a float64 forward is from real arithmetic: a running error bound for dense chains, an estimate for other networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

from lipbench.api import NotApplicable

from .activations import activation_of_module, sorting_gain
from .ops import SCALE_TERMS, Diagonal
from .task import ORDER, NetworkOnRegion
from .tracing import has_hooks, read_network

UNIT = 2.0**-53
"""Unit roundoff of float64."""
PROBES = 32
"""Inputs on which the noise floor is measured."""
MOVED_PROBES = 8
"""How many of them are evaluated with every operation moved, which costs several forwards each."""
# Forward errors scale with the unit roundoff: 2^-53 / 2^-24.
_F32_TO_F64 = 2.0**-29
# Estimated errors are seen at a few inputs; others may be this many times worse.
_SAFETY = 4.0
# The name of the noise floor of a float64 network whose operations are moved.
_MOVED = "float64, moved"
# Sound activations are within 4 units in the last place of their result and of their argument (1 + erf(x) may cancel).
_ULPS = 4.0
# The bound itself is computed in float64: relative slack far above its own rounding, and a floor above underflow.
_SLACK = 1.0 + 1e-9
_TINY = 1e-290

Bounded = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(values, error bounds) before a layer -> the same after it."""

# Torch computes these within a few units in the last place; softplus is missing because it switches formulas with a jump.
_SOUND = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish)
_EXACT = (nn.Identity, nn.Flatten, nn.Dropout)


def lengths(v: Tensor, norm: str) -> Tensor:
    """(B,) norms of the rows of (B, ...); half precision is summed in float32, as its range is too small."""
    dtype = torch.float32 if v.dtype in (torch.float16, torch.bfloat16) else v.dtype
    return torch.linalg.vector_norm(v.flatten(1), ORDER[norm], dim=1, dtype=dtype)


def _gamma(n: int) -> float:
    return n * UNIT / (1 - n * UNIT)


def _size(v: Tensor) -> Tensor:
    return lengths(v, "l2")


class _Dense:
    """E -> ||W|| E + gamma_{n+1} ( || |W||v| + |b| || + || |W| || E )."""

    def __init__(self, layer: nn.Linear) -> None:
        self.weight, self.bias = layer.weight, layer.bias
        self.abs_weight = layer.weight.abs()
        self.abs_bias = None if layer.bias is None else layer.bias.abs()
        # The largest singular value is backward stable, so a relative slack makes it an upper bound; for |W| the geometric
        # mean of row and column sums is one, and nearly tight.
        self.norm = float(torch.linalg.matrix_norm(layer.weight, 2)) * _SLACK
        self.abs_norm = math.sqrt(float(self.abs_weight.sum(0).max()) * float(self.abs_weight.sum(1).max())) * _SLACK
        self.gamma = _gamma(layer.in_features + 1)

    def __call__(self, v: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        rounding = self.gamma * (_size(linear(v.abs(), self.abs_weight, self.abs_bias)) + self.abs_norm * e)
        return linear(v, self.weight, self.bias), (self.norm * e + rounding) * _SLACK + _TINY


class _Activate:
    """E -> L E + 4 u ( ||sigma(a)|| + ||a|| ); ReLU adds no rounding."""

    def __init__(self, module: nn.Module, lipschitz: float) -> None:
        self.module, self.lipschitz = module, lipschitz
        self.ulps = 0.0 if isinstance(module, (nn.ReLU, nn.ReLU6)) else _ULPS

    def __call__(self, v: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        out = self.module(v)
        return out, (self.lipschitz * e + self.ulps * UNIT * (_size(out) + _size(v))) * _SLACK


class _Scale:
    """x -> s x + t coordinate by coordinate, however it is put into operations: E -> |s| E + gamma (|s||x| + |t|)."""

    def __init__(self, module: nn.Module, scale: Tensor, shift: Tensor, roundings: int) -> None:
        self.module, self.scale, self.shift = module, scale, shift
        self.norm, self.gamma = float(scale.max()), _gamma(roundings)

    def __call__(self, v: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        rounding = self.gamma * _size(v.abs() * self.scale + self.shift)
        return self.module(v), (self.norm * e + rounding) * _SLACK + _TINY


class _Exact:
    """A layer that moves or drops numbers, does not round, and whose Lipschitz constant is 1."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, v: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        return self.module(v), e


def _pointwise(module: nn.Module, like: Tensor) -> Bounded | None:
    """A change of units or a batch normalisation, read off the operations that it is made of."""
    try:
        ops = [step.op for step in read_network(nn.Sequential(module), tuple(like.shape[1:]))[1:]]
    except NotApplicable:
        return None
    scale, shift = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for op in ops:
        if not isinstance(op, Diagonal):
            return None
        # Sums of absolute values at every step bound all intermediate results, also where they cancel later.
        scale, shift = scale * op.scale.abs(), shift * op.scale.abs() + op.offset.abs()
    return _Scale(module, scale.to(like.device), shift.to(like.device), (SCALE_TERMS + 2) * (len(ops) + 1))


def _leaf(module: nn.Module, like: Tensor) -> Bounded | None:
    if isinstance(module, _EXACT) or sorting_gain(module) == 1.0:
        return _Exact(module)
    if type(module) is nn.Linear:
        return _Dense(module)
    activation = activation_of_module(module) if type(module) in _SOUND else None
    return _pointwise(module, like) if activation is None else _Activate(module, activation.lipschitz)


def chain_of(module: nn.Module, shape: tuple[int, ...]) -> list[Bounded] | None:
    """A plain chain of dense layers, changes of units and pointwise activations; None for any other network.

    Args:
        module: A float64 network in eval mode.
        shape: Shape of one input.
    """
    if has_hooks(module):
        return None
    steps: list[Bounded] = []
    value = torch.zeros((1, *shape), dtype=torch.float64, device=next(module.parameters(), torch.zeros(1)).device)
    for part in module if type(module) is nn.Sequential else [module]:
        inner = chain_of(part, tuple(value.shape[1:])) if type(part) is nn.Sequential else _leaf(part, value)
        if inner is None:
            return None
        steps += inner if isinstance(inner, list) else [inner]
        value = part(value)
    return steps


class _Shaken(TorchFunctionMode):
    """While it is entered, the result of every float64 operation is moved by a unit or two in its last place, up or down.

    Monte Carlo arithmetic: what this does to the output of a network is what its rounding may do, also where intermediate
    results cancel. The directions are drawn from a fixed seed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name.startswith("__i") or (name.endswith("_") and not name.endswith("__")):
            if isinstance(result, Tensor) and result.dtype == torch.float64:
                result.mul_(self.factors(result))
            return result
        # A view must stay one, and what was only passed on has been moved before.
        given = {t.untyped_storage().data_ptr() for t in _tensors(args)}
        return _mapped(result, lambda t: t if t.untyped_storage().data_ptr() in given else t * self.factors(t))

    def factors(self, like: Tensor) -> Tensor:
        """1 + 2^-52 or 1 - 2^-52 at random; infinities and zeros stay what they are."""
        up = torch.randint(0, 2, like.shape, generator=self.generator, dtype=torch.uint8)
        return 1 + (up.to(device=like.device, dtype=torch.float64) * 2 - 1) * (2 * UNIT)


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    found = [v for v in values if isinstance(v, Tensor)]
    return found + [t for v in values if isinstance(v, (tuple, list)) for t in _tensors(v)]


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The float64 tensors of a result changed, also in a plain tuple or list."""
    if isinstance(value, Tensor):
        return change(value) if value.dtype == torch.float64 else value
    return type(value)([_mapped(v, change) for v in value]) if type(value) in (tuple, list) else value


class Reference:
    """The network in float64, each result with a bound on (or an estimate of) its distance to real arithmetic.

    Args:
        evidence: The network, where it is searched, and the norm of all errors.

    Attributes:
        rigorous: True where the errors are a proof. False where they are an estimate: 4 times the larger of
            2^-29 max ||f32(q) - f64(q)|| and max ||f64'(q) - f64(q)|| over probe inputs q, where f64' is the network with
            every operation moved in its last place. The first knows sums of many terms, the second sees float64 itself.
    """

    def __init__(self, evidence: NetworkOnRegion) -> None:
        own = evidence.probe
        self.evidence = evidence
        self.probe = own if own.dtype == torch.float64 else own.at(torch.float64)
        with torch.inference_mode():
            self.steps = chain_of(self.probe.module, self.probe.shape)
        self.rigorous = self.steps is not None
        self._paid: set[torch.dtype] = set()

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Points (B, *shape) -> float64 outputs (B, m) and their errors (B,) in the norm of the task, on the CPU."""
        if self.steps is None:
            out = self.probe(x).cpu()
            return out, torch.full((len(x),), self.estimate, dtype=torch.float64)
        self.probe.meter.forwards += len(x)
        parts = [self._bounded(self.steps, part) for part in x.split(max(1, self.probe.chunk // 2))]
        # ||v||_inf <= ||v||_2 and ||v||_1 <= sqrt(m) ||v||_2.
        factor = math.sqrt(self.probe.outputs) * _SLACK if self.evidence.norm == "l1" else 1.0
        return torch.cat([p[0] for p in parts]), factor * torch.cat([p[1] for p in parts])

    @torch.inference_mode()
    def _bounded(self, steps: Sequence[Bounded], x: Tensor) -> tuple[Tensor, Tensor]:
        v = x.to(device=self.probe.device, dtype=torch.float64)
        e = torch.zeros(len(v), dtype=torch.float64, device=v.device)
        for step in steps:
            v, e = step(v, e)
        out: Tensor = self.probe.checked(v.flatten(1), "the network's output")
        return out.cpu(), e.cpu()

    @property
    def estimate(self) -> float:
        """The estimated error of a float64 forward; costs 32 forwards in float32 and 40 in float64, once."""
        gap = self._gap(torch.float32)
        return _SAFETY * max(_F32_TO_F64 * gap, self.evidence.noise[_MOVED])

    def noise_floor(self) -> float:
        """Largest distance between a forward of the search and the truth, over 32 probe inputs (eps_out).

        In float64 there is no better network to compare with, so the error of the reference itself is given.
        """
        dtype = self.evidence.probe.dtype
        if dtype == torch.float64:
            return float(self(probe_inputs(self.evidence))[1].max())
        return self._gap(dtype)

    def _gap(self, dtype: torch.dtype) -> float:
        """Largest distance between the network in a precision and in float64, over the probe inputs.

        Where an estimate is needed, the float64 network is compared with itself moved, too.
        """
        meter, known = self.evidence.probe.meter, self.evidence.noise
        moved = dtype == torch.float32 and not self.rigorous
        before = meter.forwards
        if dtype not in known:
            self._measure(dtype, moved)
        # Measured once for all estimators of a job, but part of what each of them costs when it runs alone.
        meter.forwards = before + (0 if dtype in self._paid else 2 * PROBES + (MOVED_PROBES if moved else 0))
        self._paid.add(dtype)
        return known[dtype]

    def _measure(self, dtype: torch.dtype, moved: bool) -> None:
        own, known, norm = self.evidence.probe, self.evidence.noise, self.evidence.norm
        q = probe_inputs(self.evidence).to(dtype)
        low, still = own if own.dtype == dtype else own.at(dtype), self.probe(q).cpu()
        known[dtype] = float(lengths(low(q).cpu().double() - still, norm).max())
        if moved:
            some = slice(None, None, PROBES // MOVED_PROBES)
            with _Shaken() as mode:
                # The inputs too, as no more may be seen of a network that computes outside torch.
                shaken = self.probe(q[some].double() * mode.factors(q[some])).cpu()
            known[_MOVED] = float(lengths(shaken - still[some], norm).max())


def probe_inputs(evidence: NetworkOnRegion) -> Tensor:
    """32 inputs where a search may go: the first points, then places spread evenly along the segments."""
    points = evidence.points[: PROBES // 2].to(torch.float64)
    count = PROBES - len(points)
    index = torch.arange(count) % len(evidence.pairs)
    # Steps of the golden ratio cover [0, 1) evenly for any count.
    t = ((torch.arange(count) * 0.6180339887498949) % 1.0).to(torch.float64).reshape(-1, *(1,) * len(evidence.spec.shape))
    x, y = (ends.to(torch.float64) for ends in evidence.pairs.take(index))
    return torch.cat([points, x + t * (y - x)])


def d_min(noise: float, ratio: float, tau: float) -> float:
    """The distance 2 eps_out / (tau k) below which rounding noise may exceed the share `tau` of a ratio k; inf where k = 0."""
    if noise == 0.0:
        return 0.0
    return 2 * noise / (tau * ratio) if ratio > 0 else math.inf
