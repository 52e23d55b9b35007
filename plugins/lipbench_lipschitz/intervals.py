# SPDX-License-Identifier: Apache-2.0
"""Interval arithmetic on dense chains: pre-activations, slopes and Jacobians that hold on whole boxes, rounded outwards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from .activations import Activation
from .chain import Dense
from .spectral import operator_norm, pullback
from .task import Norm

UNIT = 2.0**-53
# Input coordinates up to which the Jacobian is accumulated from the input side, which is the tighter order.
MAX_FORWARD = 1024
# Where the slope of a smooth activation has its extreme values, and which of the two it is there. Between these points and
# beyond them the slope is monotone.
_TURNS: Mapping[str, tuple[tuple[float, str], ...]] = {
    **dict.fromkeys(("tanh", "sigmoid", "softsign", "atan", "arctan", "erf"), ((0.0, "high"),)),
    **dict.fromkeys(("softplus", "logsigmoid", "log_sigmoid"), ()),
    **dict.fromkeys(("elu", "celu"), ()),
    "selu": ((0.0, "high"),),
    "gelu": ((-math.sqrt(2), "low"), (math.sqrt(2), "high")),
    "gelu_tanh": ((-1.418502, "low"), (1.418502, "high")),
    "silu": ((-2.399358, "low"), (2.399358, "high")),
}
KINKED = ("relu", "leaky_relu", "abs")
"""Activations with one kink, at zero, and one slope on either side of it."""
# Allowance for the position of a turn, and for the rounding of a slope.
_NEAR, _SLOPE_ERROR = 1e-5, 1e-12


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Centre and half width, elementwise; every real number that is meant lies within."""

    mid: Tensor
    rad: Tensor

    @staticmethod
    def between(low: Tensor, high: Tensor) -> Interval:
        """The smallest such interval around [low, high], rounded outwards."""
        mid = (low + high) / 2
        return Interval(mid=mid, rad=torch.maximum(high - mid, mid - low) * (1 + 4 * UNIT) + 4 * UNIT * mid.abs())

    @property
    def low(self) -> Tensor:
        """Lower ends."""
        return self.mid - self.rad

    @property
    def high(self) -> Tensor:
        """Upper ends."""
        return self.mid + self.rad

    def magnitude(self) -> Tensor:
        """Largest absolute values."""
        return self.mid.abs() + self.rad


def _gamma(terms: int) -> float:
    """Twice the relative error of a sum of so many products, and a few operations more."""
    return 2 * (terms + 8) * UNIT


def affine(x: Interval, weight: Tensor, bias: Tensor | None = None, error: float = 0.0) -> Interval:
    """W x + b for an interval (..., in) and a matrix (out, in) that is known up to an error of this spectral norm."""
    g = _gamma(weight.shape[1])
    mid = x.mid @ weight.T
    rad = (x.rad + g * x.mid.abs()) @ weight.abs().T
    if bias is not None:
        mid, rad = mid + bias, rad + g * bias.abs()
    if error:
        rad = rad + error * torch.linalg.vector_norm(x.magnitude(), dim=-1, keepdim=True)
    return Interval(mid=mid, rad=rad * (1 + g))


def _scaled(x: Interval, slope: Interval) -> Interval:
    """Elementwise product of two intervals of the same shape: the hull of the four corner products."""
    corners = torch.stack([a * b for a in (x.low, x.high) for b in (slope.low, slope.high)])
    hull = Interval.between(corners.amin(0), corners.amax(0))
    return Interval(mid=hull.mid, rad=hull.rad + 4 * UNIT * hull.magnitude())


def activation_range(step: Activation, x: Interval) -> Interval:
    """Values of an activation on intervals."""
    low, high = x.low, x.high
    if step.name in KINKED:
        below, above = kink_slopes(step)
        ends = torch.stack([_either(z > 0, above, below, z) * z for z in (low, high)])
        over_zero = (low < 0) & (high > 0)
        top = torch.where(over_zero, ends.amax(0).clamp_min(0), ends.amax(0))
        bottom = torch.where(over_zero, ends.amin(0).clamp_max(0), ends.amin(0))
        return Interval.between(bottom, top)
    if step.low >= 0:
        bottom, top = _values(step, low), _values(step, high)
        margin = 8 * UNIT * (bottom.abs() + top.abs() + low.abs() + high.abs())
        return Interval.between(bottom - margin, top + margin)
    mid = _values(step, x.mid)
    return Interval(mid=mid, rad=step.lipschitz * x.rad * (1 + 4 * UNIT) + 8 * UNIT * (mid.abs() + x.mid.abs()))


def _values(step: Activation, z: Tensor) -> Tensor:
    assert step.function is not None, step.name  # noqa: S101  (every step of a chain has its function)
    return step.function(z.clone())  # a module may work in place


def kink_slopes(step: Activation) -> tuple[float, float]:
    """Slopes below and above zero of an activation with one kink, at zero."""
    if step.name == "abs":
        return -1.0, 1.0
    return (step.low if step.high == 1.0 else step.high), 1.0


def _either(condition: Tensor, yes: float, no: float, like: Tensor) -> Tensor:
    """Two numbers chosen elementwise in the precision of `like`; torch.where would round plain numbers to float32."""
    return torch.where(condition, like.new_tensor(yes), like.new_tensor(no))


def slope_range(step: Activation, x: Interval) -> Interval:
    """Slopes of an activation that occur on intervals."""
    low, high = x.low, x.high
    if step.name in KINKED:
        below, above = kink_slopes(step)
        slopes = torch.stack([_either(low < 0, below, above, low), _either(high > 0, above, below, low)])
        return Interval.between(slopes.amin(0), slopes.amax(0))
    if step.name not in _TURNS or (step.name == "elu" and (step.low, step.high) != (0.0, 1.0)):
        return Interval.between(torch.full_like(low, step.low), torch.full_like(low, step.high))
    ends = [pullback(partial(_values, step), z)[1](torch.ones_like(z)) for z in (low, high)]
    least, most = torch.minimum(*ends) - _SLOPE_ERROR, torch.maximum(*ends) + _SLOPE_ERROR
    for place, extreme in _TURNS[step.name]:
        inside = (low - _NEAR <= place) & (high + _NEAR >= place)
        if extreme == "high":
            most = torch.where(inside, step.high, most)
        else:
            least = torch.where(inside, step.low, least)
    return Interval.between(least.clamp_min(step.low), most.clamp_max(step.high))


@dataclass(frozen=True, kw_only=True)
class Balls:
    """Balls of one radius in a norm."""

    centres: Tensor
    """(N, n) float64."""
    radius: float
    norm: Norm

    def through(self, layer: Dense) -> Interval:
        """Values of a layer on the balls: centre and radius times the dual norm of each row."""
        order = {"l2": 2.0, "l1": math.inf, "linf": 1.0}[self.norm]
        dual = torch.linalg.vector_norm(layer.weight, order, dim=1) + layer.rounding * layer.weight.shape[1] ** 0.5
        point = affine(Interval(mid=self.centres, rad=torch.zeros_like(self.centres)), layer.weight, layer.bias, layer.rounding)
        return Interval(mid=point.mid, rad=(point.rad + self.radius * dual) * (1 + _gamma(layer.weight.shape[1])))


def preactivations(chain: Sequence[Dense | Activation], box: Interval, balls: Balls | None = None) -> list[Interval]:
    """Inputs (N, width) of each activation of a chain.

    Args:
        chain: The network.
        box: Boxes (N, n).
        balls: Balls that the boxes are around, where the region is the ball in each box.
    """
    found = []
    for i, step in enumerate(chain):
        if isinstance(step, Activation):
            found.append(box)
            box = activation_range(step, box)
            continue
        box = affine(box, step.weight, step.bias, step.rounding)
        if i == 0 and balls is not None:
            ball = balls.through(step)
            box = Interval.between(torch.maximum(box.low, ball.low), torch.minimum(box.high, ball.high))
    return found


def jacobian_range(chain: Sequence[Dense | Activation], slopes: Sequence[Interval]) -> Interval:
    """Jacobians (N, m, n) that occur on boxes, given the slopes (N, width) of each activation there.

    The product is taken from the input side for up to 1024 inputs, else from the output side, which is cheaper there.
    """
    count = len(slopes[0].mid) if slopes else 1
    shape = [s.weight.shape for s in chain if isinstance(s, Dense)]
    forward = shape[0][1] <= MAX_FORWARD
    start = torch.eye(shape[0][1] if forward else shape[-1][0], dtype=torch.float64).expand(count, -1, -1)
    # Held transposed from the input side: rows are inputs and the last axis is the width of the layer.
    J = Interval(mid=start, rad=torch.zeros_like(start))
    waiting = list(slopes)
    for step in chain if forward else reversed(chain):
        if isinstance(step, Activation):
            slope = waiting.pop(0 if forward else -1)
            J = _scaled(J, Interval(mid=slope.mid[:, None], rad=slope.rad[:, None]))
        else:
            J = affine(J, step.weight if forward else step.weight.T, error=step.rounding)
    return Interval(mid=J.mid.mT, rad=J.rad.mT) if forward else J


def norm_bound(J: Interval, norm: Norm) -> Tensor:
    """(N,) upper bounds on the operator norms of all matrices of intervals (N, m, n)."""
    m, n = J.mid.shape[-2:]
    slack = 1 + 8 * (m + 8) * (n + 8) * UNIT
    entries = operator_norm(J.magnitude(), norm)
    if norm == "l2":
        entries = torch.minimum(entries, operator_norm(J.mid, norm) + operator_norm(J.rad, norm))
    return entries * slack
