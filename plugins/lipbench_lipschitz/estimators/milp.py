# SPDX-License-Identifier: Apache-2.0
"""LipMIP: the exact l-infinity gain of a small ReLU network as a mixed-integer linear program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from lipbench_relu_geometry.engine.network import net_of
from pydantic import Field
from scipy.sparse import diags_array, eye_array
from torch import Tensor

from lipbench.api import Context, NotApplicable, Value

from ..activations import Activation
from ..chain import Dense, dense_chain
from ..intervals import Interval, affine, jacobian_range, preactivations, slope_range
from ..mixed_integer import Program
from ..patterns import Inside, Pattern, look_inside
from ..result import Estimator, bound
from ..task import NetworkOnRegion
from .interval import region_boxes

# What HiGHS may violate a row or an integer by; the dual bound is off by up to this share of the big-M constants.
SOLVER_TOLERANCE = 1e-6
# Kinks that are known no better than this share of the box leave no exact value.
WORST_RESOLUTION = 1e-6
# Points whose gradients set the scale of the objective.
SAMPLES = 64
MAX_WITNESS = 1000


class Milp(Estimator):
    """Exact K in linf of a small ReLU network on the box or on linf balls: max over x of ||J(x)||_inf.

    For one output this is the largest ||grad f||_1; for more it is the largest over the outputs, one program each. Neurons
    are on or off by binary variables, the products of the backward pass are written with big-M rows, the constants of which
    come from interval bounds, and signs of the gradient are binary as well. Each neuron is scaled to values of about 1, as
    the solver's tolerances are absolute.

    On a kink both states of a neuron are feasible, so the winning pattern may belong to no piece of the network at all. A
    linear program therefore looks for the largest cube in its piece. Where the cube is narrower than `resolution` (in the
    extras, a share of the box) the states in conflict are excluded and the program is solved again. The value is the float64
    gradient at a point inside the winning piece (`witness`); the upper end of the interval is the solver's dual bound,
    widened by its tolerance. If the node limit or `rounds` ends this first, or the solver's numbers do not fit together, the
    dual bound is reported as an upper bound that is not ranked.

    Cost: no pass through the network; exponential in the number of neurons that are unstable on the region, seconds for 20.

    Source: Jordan & Dimakis 2020 (NeurIPS), LipMIP; solved by HiGHS through scipy.

    Args:
        node_limit: Largest number of branch-and-bound nodes for each program (a time limit would make values depend on the
            machine).
        gap: Relative gap between the dual bound and the best solution at which a program is solved.
        outputs: Largest number of outputs, as each is a program of its own.
        rounds: Largest number of times that each program is solved, to exclude patterns that hold on kinks only.
    """

    def __init__(
        self,
        *,
        node_limit: Annotated[int, Field(ge=1)] = 100_000,
        gap: Annotated[float, Field(ge=0, lt=1)] = 1e-6,
        outputs: Annotated[int, Field(ge=1)] = 16,
        rounds: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        self.node_limit, self.gap, self.outputs, self.rounds = node_limit, gap, outputs, rounds

    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """Solve one program for each box and output."""
        if evidence.norm != "linf":
            raise NotApplicable(f"milp solves norm: linf, the task has norm: {evidence.norm}; use regions or schur")
        if evidence.probe.outputs > self.outputs:
            raise NotApplicable(f"milp is set to at most {self.outputs} outputs, here there are {evidence.probe.outputs}")
        chain = dense_chain(evidence.probe.source, evidence.spec.shape)
        layers = _layers(chain)
        boxes = region_boxes(evidence)
        starts = ctx.rng("scale").uniform(-1.0, 1.0, (SAMPLES, evidence.probe.inputs))
        solved = []
        for i in range(len(boxes.mid)):
            problem = _Problem(chain, layers, Interval(mid=boxes.mid[i : i + 1], rad=boxes.rad[i : i + 1]), starts)
            solved += [self._solve(problem, row) for row in range(evidence.probe.outputs)]
        best = max(solved, key=lambda s: s.value)
        dual = max(s.dual for s in solved)
        reason = next((s.reason for s in solved if s.reason is not None and s.dual > best.value), None)
        return bound(
            evidence,
            best.value if reason is None else dual,
            kind="exact" if reason is None else "upper",
            scope="box" if evidence.radius is None else "ball",
            certified=reason is None,
            unranked=reason,
            interval=(best.value, max(best.value, dual), "mixed-integer gap"),
            witness=best.point.tolist() if len(best.point) <= MAX_WITNESS else None,
            resolution=max(s.resolution for s in solved),
            nodes=sum(s.nodes for s in solved),
            binaries=max(s.binaries for s in solved),
            programs=len(solved),
            excluded=sum(s.excluded for s in solved),
        )

    def _solve(self, problem: _Problem, row: int) -> _Solved:
        """Maximise the l1 norm of the gradient of one output over one box."""
        best = problem.attained(row, problem.samples)
        program = _Encoded(problem, row, best.value)
        turns: list[_Found] = []
        resolution = 0.0
        reason: str | None = f"after {self.rounds} rounds the best activation pattern still holds on a kink only"
        while len(turns) < self.rounds:
            found = program.solve(self.node_limit, self.gap)
            turns.append(found)
            if found.pattern is None or found.stopped is not None:
                reason = found.stopped
                break
            inside = look_inside(problem.layers, found.pattern, problem.free, problem.box)
            resolution = max(resolution, inside.needed)
            if inside.point is not None:
                best = max(best, problem.attained(row, inside.point[None]), key=lambda b: b.value)
                reason = _doubt(best.value, found.dual, self.gap, program.slack, resolution)
                break
            if not inside.conflicts:
                reason = "the linear program that looks inside the best piece failed"
                break
            program.exclude(found.pattern, inside)
        return _Solved(
            value=best.value,
            point=best.point,
            # without an answer the first bound is taken, which has no piece excluded
            dual=turns[-1 if reason is None else 0].dual,
            reason=reason,
            resolution=resolution,
            nodes=sum(t.nodes for t in turns),
            binaries=program.binaries,
            excluded=len(turns) - 1,
        )


@dataclass(frozen=True, kw_only=True)
class _Attained:
    value: float
    """||grad||_1 of one output at a point."""
    point: np.ndarray


@dataclass(frozen=True, kw_only=True)
class _Found:
    pattern: Pattern | None
    dual: float
    """No pattern that is left has a larger gradient."""
    nodes: int
    stopped: str | None
    """Why the program was not solved to the gap."""


@dataclass(frozen=True, kw_only=True)
class _Solved:
    value: float
    point: np.ndarray
    dual: float
    reason: str | None
    """Why the value is not known to be the largest."""
    resolution: float
    nodes: int
    binaries: int
    excluded: int


def _doubt(value: float, dual: float, gap: float, slack: float, resolution: float) -> str | None:
    """Why an attained value and a dual bound do not make an exact value."""
    if resolution > WORST_RESOLUTION:
        return f"rounding leaves the kinks uncertain by {resolution:.1g} of the box"
    if value > dual:
        return "the solver's dual bound is below a gradient that is attained"
    if value < (1 - gap) * dual - 3 * slack:
        return "the gradient of the solver's best pattern is below the value that the solver gave it"
    return None


def _layers(chain: Sequence[Dense | Activation]) -> list[Dense]:
    """The affine layers of a ReLU network that ends with one of them."""
    for step in chain:
        if isinstance(step, Activation) and step.name != "relu":
            raise NotApplicable(f"milp needs ReLU activations, the network has {step.name}; use interval_jacobian or schur")
    if isinstance(chain[-1], Activation):
        raise NotApplicable("milp needs a network that ends with a linear layer; use regions or interval_jacobian")
    if len(chain) == 1:
        raise NotApplicable("milp needs at least one hidden layer; a linear network's constant is its spectral_product")
    return [s for s in chain if isinstance(s, Dense)]


def _power(size: np.ndarray | float) -> np.ndarray:
    """The nearest powers of two, which scale without rounding; 1 for 0."""
    size = np.asarray(size, dtype=np.float64)
    return np.exp2(np.clip(np.round(np.log2(np.where(size > 0, size, 1.0))), -300, 300))


class _Problem:
    """A network on one box, scaled: inputs within [-1, 1], neurons of size 1 and those that are always on around zero."""

    def __init__(self, chain: Sequence[Dense | Activation], layers: Sequence[Dense], box: Interval, starts: np.ndarray) -> None:
        self.layers, self.box = layers, box
        self.net = net_of((layer.weight.numpy(), layer.bias.numpy()) for layer in layers)
        mid, rad = box.mid[0].numpy(), box.rad[0].numpy()
        self.samples = mid + rad * starts
        inputs = preactivations(chain, box)
        self.states = [slope_range(s, x) for s, x in zip([s for s in chain if isinstance(s, Activation)], inputs, strict=True)]
        self.free = [_flat(s.rad) > 0.25 for s in self.states]
        self.most = jacobian_range(chain, self.states).magnitude()[0].sum(1).numpy()
        """No gradient of an output has a larger l1 norm."""
        self.unit = float(_power(rad.max()))
        self.matrices, self.biases, self.ranges = [], [], []
        scale, shift, first = 1.0 / rad, mid, layers[0].weight.numpy()
        for layer, z, state in zip(layers[:-1], inputs, self.states, strict=True):
            weight, on = layer.weight.numpy(), _flat(state.low) > 0.5
            offset = np.where(on, _flat(z.mid), 0.0)
            low, high = _flat(z.low) - offset, _flat(z.high) - offset
            size = 1.0 / _power(np.maximum(np.abs(low), np.abs(high)))
            self.matrices.append(size[:, None] * weight / scale)
            self.biases.append(size * (layer.bias.numpy() + weight @ shift - offset))
            self.ranges.append((np.minimum(size * low, 0.0), np.maximum(size * high, 0.0)))
            if layer is layers[0]:
                self.first = size[:, None] * first * self.unit
                """The first layer as it is met by the gradient."""
            scale, shift = size, offset
        self.last = layers[-1].weight.numpy() / scale

    def attained(self, row: int, points: np.ndarray) -> _Attained:
        """The largest gradient at some points (N, n)."""
        sizes = np.abs(self.net.jacobian(self.net.bits(points), [row])).sum((1, 2))
        best = int(np.argmax(sizes))
        return _Attained(value=float(sizes[best]), point=points[best])


class _Encoded:
    """The program of one output on one box."""

    def __init__(self, problem: _Problem, row: int, sample: float) -> None:
        self.problem, self.program = problem, Program()
        self.most = float(problem.most[row])
        self.slack = SOLVER_TOLERANCE * self.most
        # the objective is about 1 for a gradient like the sample's, as the absolute gap is fixed
        self.size = float(_power(max(sample, self.most / 64) * problem.unit))
        x = self.program.variables(-np.ones(problem.first.shape[1]), np.ones(problem.first.shape[1]))
        self.switches: list[slice] = []
        for k in range(len(problem.matrices)):
            x, on = _neurons(self.program, x, problem, k)
            _join_twins(self.program, problem.layers[k], on)
            self.switches.append(on)
        v, size = _backward(self.program, problem, self.switches, problem.last[row] / self.size)
        self.total = _absolute(self.program, problem.first.T, v, size)

    @property
    def binaries(self) -> int:
        """Number of binary variables."""
        return int(sum(k.sum() for k in self.program.integral))

    def solve(self, node_limit: int, gap: float) -> _Found:
        """Maximise; the dual bound is widened by the solver's tolerance."""
        solution, dual, nodes, stopped = self.program.maximise(self.total, node_limit, gap)
        pattern = None if solution is None else [np.round(solution[on]) for on in self.switches]
        dual = min(dual * self.size / self.problem.unit + self.slack, self.most)
        return _Found(pattern=pattern, dual=dual, nodes=nodes, stopped=stopped)

    def exclude(self, pattern: Pattern, inside: Inside) -> None:
        """Forbid each of the conflicts together with the pattern's states of all layers below."""
        below = [self._states(k, self.problem.free[k], pattern[k]) for k in range(inside.layer)]
        for conflict in inside.conflicts:
            on = np.zeros(len(pattern[inside.layer]))
            chosen = np.zeros(len(on), dtype=bool)
            chosen[list(conflict)] = True
            on[list(conflict)] = list(conflict.values())
            parts = [*below, self._states(inside.layer, chosen, on)]
            self.program.at_most([(where, row) for where, row, _ in parts], np.array([sum(ones for *_, ones in parts) - 1.0]))

    def _states(self, k: int, chosen: np.ndarray, on: np.ndarray) -> tuple[slice, np.ndarray, float]:
        """A row that is as large as the last number where the chosen neurons have these states, and less elsewhere."""
        return self.switches[k], np.where(chosen, 2 * on - 1, 0.0)[None], float(on[chosen].sum())


def _flat(t: Tensor) -> np.ndarray:
    return t.flatten().numpy()


def _neurons(program: Program, x: slice, problem: _Problem, k: int) -> tuple[slice, slice]:
    """Add h = relu(W x + b) with a binary a for each neuron, fixed where the neuron is stable: where h and a are."""
    weight, bias, (low, high), state = problem.matrices[k], problem.biases[k], problem.ranges[k], problem.states[k]
    least, most = np.round(_flat(state.low)), np.round(_flat(state.high))
    one = eye_array(len(bias), format="csr")
    h = program.variables(low * least, high * most)
    on = program.variables(least, most, integral=True)
    program.at_most([(x, weight), (h, -one)], -bias)  # h >= z
    program.at_most([(x, -weight), (h, one), (on, diags_array(-low))], bias - low)  # h <= z - low (1 - a)
    program.at_most([(h, one), (on, diags_array(-high))], np.zeros(len(bias)))  # h <= high a
    return h, on


def _join_twins(program: Program, layer: Dense, on: slice) -> None:
    """Neurons that are multiples of one another have one kink: equal states, or opposite ones for a negative factor."""
    rows = torch.cat([layer.weight, layer.bias[:, None]], 1).numpy()
    unit = np.arange(len(rows))
    pivot = np.abs(rows).argmax(1)
    top = rows[unit, pivot]
    for i in unit[top != 0]:
        rest = unit[i + 1 :]
        same = (rows[rest] * top[i] == rows[i] * rows[rest, pivot[i]][:, None]).all(1) & (rows[rest, pivot[i]] != 0)
        if same.any():
            j = rest[same][0]  # the others follow from their own pairs
            agree = top[i] * rows[j, pivot[i]] > 0
            row = np.zeros((1, len(rows)))
            row[0, i], row[0, j] = 1.0, -1.0 if agree else 1.0
            program.equal([(on, row)], np.array([0.0 if agree else 1.0]))


def _backward(program: Program, problem: _Problem, switches: Sequence[slice], last: np.ndarray) -> tuple[slice, Interval]:
    """Add the backward pass of one output down to the outputs of the first layer's neurons: variables and their range."""
    top = torch.from_numpy(last)[None]
    g = Interval(mid=top, rad=torch.zeros_like(top))
    fixed = _with_zero(g)
    v = program.variables(_flat(fixed.low), _flat(fixed.high))
    one = eye_array(len(last), format="csr")
    program.equal([(switches[-1], diags_array(-last)), (v, one)], np.zeros(len(last)))  # v = a g, and g is constant
    for k in range(len(switches) - 2, -1, -1):
        # g arrives from above, v = a g leaves
        transposed = problem.matrices[k + 1].T
        fixed = _with_zero(affine(fixed, torch.from_numpy(np.ascontiguousarray(transposed))))
        left = program.variables(_flat(fixed.low), _flat(fixed.high))
        _product(program, transposed, v, switches[k], left, fixed)
        v = left
    return v, fixed


def _with_zero(g: Interval) -> Interval:
    zeros = torch.zeros_like(g.mid)
    return Interval.between(torch.minimum(g.low, zeros), torch.maximum(g.high, zeros))


def _product(program: Program, transposed: np.ndarray, v: slice, on: slice, left: slice, size: Interval) -> None:
    """Add left = a * g with g = W^T v, where g and 0 lie within `size`."""
    low, high = _flat(size.low), _flat(size.high)
    one = eye_array(len(low), format="csr")
    zero = np.zeros(len(low))
    program.at_most([(left, one), (on, diags_array(-high))], zero)  # left <= high a
    program.at_most([(left, -one), (on, diags_array(low))], zero)  # left >= low a
    program.at_most([(v, -transposed), (left, one), (on, diags_array(-low))], -low)  # left <= g - low (1 - a)
    program.at_most([(v, transposed), (left, -one), (on, diags_array(high))], high)  # left >= g - high (1 - a)


def _absolute(program: Program, transposed: np.ndarray, v: slice, size: Interval) -> slice:
    """Add t = |W^T v| with a binary sign for each coordinate: where t is."""
    y = affine(size, torch.from_numpy(np.ascontiguousarray(transposed)))
    low, high = _flat(y.low), _flat(y.high)
    most = np.maximum(np.abs(low), np.abs(high))
    one = eye_array(len(low), format="csr")
    t = program.variables(np.zeros(len(low)), most)
    up = program.variables((low > 0).astype(float), (high >= 0).astype(float), integral=True)
    # t <= y + 2 most (1 - s)  and  t <= -y + 2 most s; maximising makes one of them tight.
    program.at_most([(v, -transposed), (t, one), (up, diags_array(2 * most))], 2 * most)
    program.at_most([(v, transposed), (t, one), (up, diags_array(-2 * most))], np.zeros(len(low)))
    return t
