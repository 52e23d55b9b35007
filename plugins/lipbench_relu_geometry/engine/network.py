# SPDX-License-Identifier: Apache-2.0
"""A fully connected ReLU network as float64 matrices, its bit vectors, and the affine maps of its cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import nn

from lipbench.api import InvalidInput, NotApplicable, NotFinite

FLAT = 1e-13
"""What is this share of the sizes that it is a sum of is rounding, and stands for 0."""
KNOWN = "Linear, ReLU, BatchNorm1d in eval mode, Flatten, Dropout and Identity"
Scaling = Callable[[nn.Module], tuple[float, float]]
"""Reads a module x -> scale * x + shift as (scale, shift)."""


@dataclass(frozen=True, kw_only=True)
class Cells:
    """B cells as inequalities rows . x <= bounds, and the affine map slope . x + offset that the network is on each."""

    rows: np.ndarray
    """(B, h, m)."""
    bounds: np.ndarray
    """(B, h)."""
    slope: np.ndarray
    """(B, n, m)."""
    offset: np.ndarray
    """(B, n)."""


@dataclass(frozen=True, eq=False)
class ReluNet:
    """f(x) = W_{L+1} phi(... phi(W_1 x + b_1) ...) + b_{L+1}, all arrays float64; phi is ReLU, or bends at 0 as ReLU does.

    Bits are ordered by layer, then by unit; a bit is 1 where the pre-activation is above 0, so zero counts as off, which is
    torch's derivative of ReLU at 0.
    """

    weights: tuple[np.ndarray, ...]
    """L + 1 matrices (out, in)."""
    biases: tuple[np.ndarray, ...]
    """L + 1 vectors (out,)."""
    below: tuple[float, ...] = ()
    """Slope of phi below 0 in each of the L hidden layers, 1 above: -1 is the absolute value; () is ReLU in all of them."""

    @property
    def inputs(self) -> int:
        """m, the dimension of the input."""
        return int(self.weights[0].shape[1])

    @property
    def outputs(self) -> int:
        """n, the number of outputs."""
        return len(self.weights[-1])

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return tuple(len(w) for w in self.weights[:-1])

    @property
    def units(self) -> int:
        """h, the number of hidden units and the length of a bit vector."""
        return sum(self.widths)

    def pre_activations(self, x: np.ndarray) -> np.ndarray:
        """(N, m) -> (N, h): what each hidden unit gets before its ReLU."""
        found = []
        for k, (w, b) in enumerate(zip(self.weights[:-1], self.biases[:-1], strict=True)):
            z = x @ w.T + b
            found.append(z)
            x = self.bend(k, z)
        return np.concatenate(found, axis=1) if found else np.zeros((len(x), 0))

    def bits(self, x: np.ndarray) -> np.ndarray:
        """(N, m) -> (N, h) uint8 bit vectors."""
        return (self.pre_activations(x) > 0).view(np.uint8)

    def steady_bits(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bit vectors that rounding does not decide, by the affine functions that the units are around each point.

        A unit that is 0 everywhere around a point is off there, where `bits` may read a sum that is 0 but for rounding.

        Args:
            x: (N, m) points; each costs as much as m + 1 passes of the network.

        Returns:
            (N, h) uint8 bits, and (N,) bool: whether the point lies on the boundary of a unit, to rounding.
        """
        count, m = len(x), self.inputs
        # Affine functions as (value at the point, gradient), and the sums of the sizes of what they are sums of.
        value = np.concatenate([x[:, :, None], np.broadcast_to(np.eye(m), (count, m, m))], axis=2)
        size, found, edge = np.abs(value), [], np.zeros(count, dtype=bool)
        for k, (w, b) in enumerate(zip(self.weights[:-1], self.biases[:-1], strict=True)):
            value, size = w @ value, np.abs(w) @ size
            value[:, :, 0] += b
            size[:, :, 0] += np.abs(b)
            value[np.abs(value) <= FLAT * size] = 0.0
            on, flat = value[:, :, 0] > 0, (value[:, :, 1:] == 0).all(axis=2)
            edge |= ((value[:, :, 0] == 0) & ~flat).any(axis=1)
            found.append(on)
            slope = np.where(on, 1.0, self.below[k] if self.below else 0.0)[:, :, None]
            value, size = slope * value, np.abs(slope) * size
        return (np.concatenate(found, axis=1) if found else np.zeros((count, 0), dtype=bool)).view(np.uint8), edge

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(N, m) -> (N, n)."""
        for k, (w, b) in enumerate(zip(self.weights[:-1], self.biases[:-1], strict=True)):
            x = self.bend(k, x @ w.T + b)
        return x @ self.weights[-1].T + self.biases[-1]

    def bend(self, layer: int, z: np.ndarray) -> np.ndarray:
        """The activation of one hidden layer, for values of its units in the last axis."""
        return np.maximum(z, 0.0) if not self.below else np.where(z > 0, z, self.below[layer] * z)

    def slopes_of(self, bits: np.ndarray) -> list[np.ndarray]:
        """(B, h) bits -> one (B, width) array for each hidden layer: the slope of phi, which without `below` is the bit."""
        layers = np.split(np.asarray(bits), np.cumsum(self.widths)[:-1].tolist(), axis=1) if self.units else []
        return [np.where(on, 1.0, low) for on, low in zip(layers, self.below, strict=True)] if self.below else layers

    def affine(self, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The pre-activations of all units and the outputs as affine functions, where the bits hold.

        Args:
            bits: (B, h), 0 or 1; they need not belong to a point.

        Returns:
            (B, h, m) and (B, h) of the hidden units, (B, n, m) and (B, n) of the outputs.
        """
        count = len(bits)
        slope = np.broadcast_to(np.eye(self.inputs), (count, self.inputs, self.inputs))
        offset = np.zeros((count, self.inputs))
        slopes: list[np.ndarray] = []
        offsets: list[np.ndarray] = []
        for w, b, on in zip(self.weights[:-1], self.biases[:-1], self.slopes_of(bits), strict=True):
            # The first layer is the same for all; later ones are products of the rows that are on.
            slope = w @ slope if slopes else np.broadcast_to(w, (count, *w.shape))
            offset = offset @ w.T + b
            slopes.append(slope)
            offsets.append(offset)
            slope, offset = slope * on[:, :, None], offset * on
        hidden = np.concatenate(slopes, axis=1) if slopes else np.zeros((count, 0, self.inputs))
        level = np.concatenate(offsets, axis=1) if offsets else np.zeros((count, 0))
        return hidden, level, self.weights[-1] @ slope, offset @ self.weights[-1].T + self.biases[-1]

    def jacobian(self, bits: np.ndarray, rows: Sequence[int] | None = None) -> np.ndarray:
        """(B, q, m) Jacobians of q outputs, of all or of those named, where bits (B, h) hold: no other product is made.

        They are arrays of their own, multiplied from the side that has fewer rows or columns. The relative error is at most
        gamma_k |W_{L+1}| |D_L| ... |W_1|, elementwise, for sums of k = h + L + 1 products.
        """
        last = self.weights[-1] if rows is None else self.weights[-1][list(rows)]
        slopes, count = self.slopes_of(bits), len(bits)
        if not slopes:
            return np.repeat(last[None], count, axis=0)
        if len(last) <= self.inputs:
            found = np.broadcast_to(last, (count, *last.shape))
            for w, slope in zip(reversed(self.weights[:-1]), reversed(slopes), strict=True):
                found = (found * slope[:, None, :]) @ w
            return found
        found = np.broadcast_to(np.eye(self.inputs), (count, self.inputs, self.inputs))
        for w, slope in zip(self.weights[:-1], slopes, strict=True):
            found = slope[:, :, None] * (w @ found)
        return last @ found

    def cells(self, bits: np.ndarray) -> Cells:
        """The closed polyhedra {x: rows . x <= bounds} of bit vectors (B, h), and the affine maps on them."""
        slope, offset, out_slope, out_offset = self.affine(bits)
        sign = 1.0 - 2.0 * np.asarray(bits, dtype=np.float64)
        return Cells(rows=sign[:, :, None] * slope, bounds=-sign * offset, slope=out_slope, offset=out_offset)

    def without_output(self) -> ReluNet:
        """What the output layer sees as a network: x (N, m) -> (N, width of the last hidden layer, or m without one)."""
        width = self.weights[-1].shape[1]
        return replace(self, weights=(*self.weights[:-1], np.eye(width)), biases=(*self.biases[:-1], np.zeros(width)))

    def in_units(self, unit: float) -> ReluNet:
        """The network of inputs that are measured in another unit: u (m,) -> f(unit . u)."""
        return self if unit == 1 else replace(self, weights=(unit * self.weights[0], *self.weights[1:]))

    def on_plane(self, origin: np.ndarray, directions: np.ndarray) -> ReluNet:
        """The network on an affine subspace: t (k,) -> f(origin + t . directions).

        Args:
            origin: (m,).
            directions: (k, m); with 2 rows, the slice is a plane.
        """
        w, b = self.weights[0], self.biases[0]
        return replace(self, weights=(w @ directions.T, *self.weights[1:]), biases=(w @ origin + b, *self.biases[1:]))


def net_of(layers: Iterable[tuple[np.ndarray, np.ndarray]], below: Sequence[float] = ()) -> ReluNet:
    """A network of (W, b) pairs, the last of them the output.

    Args:
        layers: The pairs, (out, in) and (out,).
        below: Slope below 0 of the activation of each hidden layer; () for ReLU.

    Raises:
        InvalidInput: The shapes do not fit.
        NotFinite: A weight is NaN or infinite.
    """
    pairs = [(np.asarray(w, dtype=np.float64), np.asarray(b, dtype=np.float64)) for w, b in layers]
    if not pairs:
        raise InvalidInput("a network needs at least one linear layer")
    for i, (w, b) in enumerate(pairs):
        if w.ndim != 2 or b.shape != w.shape[:1] or (i and w.shape[1] != len(pairs[i - 1][0])):
            raise InvalidInput(f"layer {i + 1}: weight {w.shape} and bias {b.shape} do not fit what is before them")
        if not (np.isfinite(w).all() and np.isfinite(b).all()):
            raise NotFinite(f"layer {i + 1} holds NaN or infinite weights")
    if len(below) not in (0, len(pairs) - 1) or not np.isfinite(below).all():
        raise InvalidInput(f"{len(pairs) - 1} hidden layers need as many finite slopes below 0, or none; found {list(below)}")
    return ReluNet(tuple(w for w, _ in pairs), tuple(b for _, b in pairs), tuple(below) if any(below) else ())


def read(module: nn.Module, inputs: int, scalings: Mapping[type[nn.Module], Scaling] | None = None) -> ReluNet:
    """Read an `nn.Sequential` into float64 matrices; affine layers in a row are merged.

    Args:
        module: Linear, ReLU, BatchNorm1d in eval mode, Flatten, Dropout and Identity, in any nesting of Sequential.
        inputs: Numbers in one input.
        scalings: Further modules that are read, those that change units.

    Raises:
        NotApplicable: Another module, or one in a place or mode where the network is not piecewise affine.
        InvalidInput: The shapes do not fit.
        NotFinite: A weight is NaN or infinite.
    """
    done: list[tuple[np.ndarray, np.ndarray]] = []
    weight, bias, plain = np.eye(inputs), np.zeros(inputs), True
    for part in _parts(module):
        if _is(part, nn.ReLU):
            # A second ReLU on top of one changes nothing.
            if not (plain and done):
                done.append((weight, bias))
                weight, bias, plain = np.eye(len(bias)), np.zeros(len(bias)), True
            continue
        w, b = _affine(part, len(bias), scalings or {})
        if w is None:
            continue
        weight, bias = (w @ weight, w @ bias + b) if w.ndim == 2 else (w[:, None] * weight, w * bias + b)
        plain = False
    return net_of([*done, (weight, bias)])


def _parts(module: nn.Module) -> Iterable[nn.Module]:
    if _is(module, nn.Sequential):
        for child in module.children():
            yield from _parts(child)
    else:
        yield module


def _is(part: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether it is such a module and computes what that one does: a subclass may have a `forward` of its own."""
    forward = getattr(part.forward, "__func__", None)
    return any(isinstance(part, kind) and forward is kind.forward for kind in kinds)


def _affine(part: nn.Module, width: int, scalings: Mapping[type[nn.Module], Scaling]) -> tuple[np.ndarray | None, np.ndarray]:
    """A matrix (out, in), or a diagonal (in,), with its shift; None for what changes nothing."""
    nothing = np.zeros(0)
    if _is(part, nn.Flatten, nn.Identity, nn.Dropout):
        if isinstance(part, nn.Dropout) and part.training and part.p > 0:
            raise NotApplicable("Dropout in training mode is random; call eval() on the network first")
        return None, nothing
    if type(part) in scalings:
        scale, shift = scalings[type(part)](part)
        return np.full(width, scale), np.full(width, shift)
    if isinstance(part, nn.Linear) and _is(part, nn.Linear):
        if part.in_features != width:
            raise InvalidInput(f"a Linear layer takes {part.in_features} numbers, but {width} arrive at it")
        w = _double(part.weight)
        return w, np.zeros(len(w)) if part.bias is None else _double(part.bias)
    if isinstance(part, nn.BatchNorm1d) and _is(part, nn.BatchNorm1d):
        return _batch_norm(part, width)
    raise NotApplicable(f"{type(part).__name__} is not read here; the geometry of a network is read for {KNOWN}")


def _batch_norm(part: nn.BatchNorm1d, width: int) -> tuple[np.ndarray, np.ndarray]:
    if part.training or part.running_mean is None or part.running_var is None:
        raise NotApplicable("BatchNorm1d without stored statistics, or in training mode, mixes rows; call eval() first")
    if part.num_features != width:
        raise InvalidInput(f"a BatchNorm1d takes {part.num_features} numbers, but {width} arrive at it")
    scale = 1 / np.sqrt(_double(part.running_var) + part.eps)
    shift = -_double(part.running_mean) * scale
    if part.affine:
        gain = _double(part.weight)
        scale, shift = scale * gain, shift * gain + _double(part.bias)
    return scale, shift


def _double(tensor: torch.Tensor) -> np.ndarray:
    found: np.ndarray = tensor.detach().cpu().double().numpy()
    return found


def stacked(nets: Sequence[ReluNet]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Networks of one architecture as (R, out, in) and (R, out) arrays, one for each layer.

    Raises:
        InvalidInput: There is none, or their shapes differ.
    """
    if not nets or any(
        n.below != nets[0].below or [w.shape for w in n.weights] != [w.shape for w in nets[0].weights] for n in nets
    ):
        raise InvalidInput("networks that are handled together must have the same layers")
    depth = len(nets[0].weights)
    return [np.stack([n.weights[k] for n in nets]) for k in range(depth)], [
        np.stack([n.biases[k] for n in nets]) for k in range(depth)
    ]
