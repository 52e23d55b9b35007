# SPDX-License-Identifier: Apache-2.0
"""LipMIP: the exact l-infinity gain of a small ReLU network as a mixed-integer linear program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix, diags_array, eye_array, hstack, vstack
from torch import Tensor

from lipbench.api import Context, NotApplicable, Value

from ..activations import Activation
from ..chain import Dense, dense_chain
from ..intervals import Interval, affine, preactivations, slope_range
from ..result import Estimator, bound
from ..task import NetworkOnRegion
from .interval import region_boxes

Terms = Sequence[tuple[slice, np.ndarray | csr_matrix]]


class Milp(Estimator):
    """Exact K in linf of a small ReLU network on the box or on linf balls: max over x of ||J(x)||_inf.

    For one output this is the largest ||grad f||_1; for more it is the largest over the outputs, one program each. Neurons
    are on or off by binary variables, the products of the backward pass are written with big-M rows, the constants of which
    come from interval bounds, and signs of the gradient are binary as well. The value is recomputed in float64 from the
    winning activation pattern, and the solver's dual bound is the upper end of the interval. If the node limit stops the
    solver first, the dual bound is reported as an upper bound instead.

    Cost: no pass through the network; exponential in the number of neurons that are unstable on the region, seconds for 20.

    Source: Jordan & Dimakis 2020 (NeurIPS), LipMIP; solved by HiGHS through scipy.

    Args:
        node_limit: Largest number of branch-and-bound nodes for each program (a time limit would make values depend on the
            machine).
        gap: Relative gap between the dual bound and the best solution at which a program is solved.
        outputs: Largest number of outputs, as each is a program of its own.
    """

    def __init__(
        self,
        *,
        node_limit: Annotated[int, Field(ge=1)] = 100_000,
        gap: Annotated[float, Field(ge=0, lt=1)] = 1e-6,
        outputs: Annotated[int, Field(ge=1)] = 16,
    ) -> None:
        self.node_limit, self.gap, self.outputs = node_limit, gap, outputs

    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """Solve one program for each box and output."""
        if evidence.norm != "linf":
            raise NotApplicable(f"milp solves norm: linf, the task has norm: {evidence.norm}; use regions or schur")
        if evidence.probe.outputs > self.outputs:
            raise NotApplicable(f"milp is set to at most {self.outputs} outputs, here there are {evidence.probe.outputs}")
        chain = dense_chain(evidence.probe.source, evidence.spec.shape)
        layers = _layers(chain)
        boxes = region_boxes(evidence)
        solved = [
            _solve(chain, layers, Interval(mid=boxes.mid[i : i + 1], rad=boxes.rad[i : i + 1]), row, self.node_limit, self.gap)
            for i in range(len(boxes.mid))
            for row in range(evidence.probe.outputs)
        ]
        value, dual = max(s.value for s in solved), max(s.dual for s in solved)
        exact = all(s.optimal for s in solved)
        return bound(
            evidence,
            value if exact else dual,
            kind="exact" if exact else "upper",
            scope="box" if evidence.radius is None else "ball",
            certified=exact,
            unranked=None if exact else f"the node limit {self.node_limit} stopped the solver before the gap {self.gap:g}",
            interval=(value, max(value, dual), "mixed-integer gap"),
            nodes=sum(s.nodes for s in solved),
            binaries=max(s.binaries for s in solved),
            programs=len(solved),
        )


@dataclass(frozen=True, kw_only=True)
class _Solved:
    value: float
    """||grad||_1 of the best activation pattern, recomputed."""
    dual: float
    """No pattern has more."""
    optimal: bool
    nodes: int
    binaries: int


def _layers(chain: Sequence[Dense | Activation]) -> list[Dense]:
    """The affine layers of a ReLU network that ends with one of them."""
    for step in chain:
        if isinstance(step, Activation) and step.name != "relu":
            raise NotApplicable(f"milp needs ReLU activations, the network has {step.name}; use interval_jacobian or schur")
    if isinstance(chain[-1], Activation):
        raise NotApplicable("milp needs a network that ends with a linear layer; use regions or interval_jacobian")
    return [s for s in chain if isinstance(s, Dense)]


class _Program:
    """A mixed-integer linear program that grows by blocks."""

    def __init__(self) -> None:
        self.low: list[np.ndarray] = []
        self.high: list[np.ndarray] = []
        self.integral: list[np.ndarray] = []
        self.size = 0
        self.blocks: list[tuple[Terms, np.ndarray, np.ndarray]] = []

    def variables(self, low: np.ndarray, high: np.ndarray, integral: bool = False) -> slice:
        """Add variables between bounds; their place in the solution."""
        self.low.append(low)
        self.high.append(high)
        self.integral.append(np.full(len(low), int(integral)))
        first, self.size = self.size, self.size + len(low)
        return slice(first, self.size)

    def at_most(self, terms: Terms, high: np.ndarray) -> None:
        """Add rows sum_i A_i x_i <= high."""
        self.blocks.append((terms, np.full(len(high), -np.inf), high))

    def equal(self, terms: Terms, value: np.ndarray) -> None:
        """Add rows sum_i A_i x_i = value."""
        self.blocks.append((terms, value, value))

    def _matrix(self, terms: Terms, rows: int) -> csr_matrix:
        parts, place = [], 0
        for where, matrix in sorted(terms, key=lambda t: t[0].start):
            parts += [csr_matrix((rows, where.start - place)), csr_matrix(matrix)]
            place = where.stop
        return hstack([*parts, csr_matrix((rows, self.size - place))], format="csr")

    def maximise(self, what: slice, node_limit: int, gap: float) -> tuple[np.ndarray | None, float, int, bool]:
        """Maximise the sum of some variables: solution, dual bound, nodes, whether solved to the gap."""
        cost = np.zeros(self.size)
        cost[what] = -1.0
        rows = vstack([self._matrix(terms, len(low)) for terms, low, _ in self.blocks], format="csc")
        low, high = (np.concatenate([b[i] for b in self.blocks]) for i in (1, 2))
        found = milp(
            cost,
            integrality=np.concatenate(self.integral),
            bounds=Bounds(np.concatenate(self.low), np.concatenate(self.high)),
            constraints=LinearConstraint(rows, low, high),
            options={"node_limit": node_limit, "mip_rel_gap": gap},
        )
        dual = getattr(found, "mip_dual_bound", None)
        return found.x, np.inf if dual is None else -dual, int(found.mip_node_count or 0), found.status == 0


def _solve(
    chain: Sequence[Dense | Activation], layers: Sequence[Dense], box: Interval, row: int, node_limit: int, gap: float
) -> _Solved:
    """Maximise the l1 norm of the gradient of one output over one box."""
    inputs = preactivations(chain, box)
    states = [slope_range(s, x) for s, x in zip([s for s in chain if isinstance(s, Activation)], inputs, strict=True)]
    weights = [layer.weight.numpy() for layer in layers]
    program = _Program()
    x = program.variables(_flat(box.low), _flat(box.high))
    switches: list[slice] = []
    for layer, state, z in zip(layers, states, inputs, strict=False):
        x, on = _neurons(program, x, layer, z, state)
        switches.append(on)
    v, size = _backward(program, layers, states, switches, row)
    total = _absolute(program, weights[0].T, v, size)
    solution, dual, nodes, optimal = program.maximise(total, node_limit, gap)
    if solution is None or not np.isfinite(dual):
        raise NotApplicable("the program found no solution within its node limit; raise node_limit, or use interval_jacobian")
    gradient = weights[-1][row]
    for weight, on in zip(reversed(weights[:-1]), reversed(switches), strict=True):
        gradient = (gradient * np.round(solution[on])) @ weight
    binaries = int(sum(k.sum() for k in program.integral))
    return _Solved(value=float(np.abs(gradient).sum()), dual=dual, optimal=optimal, nodes=nodes, binaries=binaries)


def _flat(t: Tensor) -> np.ndarray:
    return t.flatten().numpy()


def _neurons(program: _Program, x: slice, layer: Dense, z: Interval, state: Interval) -> tuple[slice, slice]:
    """Add h = relu(W x + b) with a binary a for each neuron, fixed where the neuron is stable: where h and a are."""
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    low, high = np.minimum(_flat(z.low), 0.0), np.maximum(_flat(z.high), 0.0)
    one = eye_array(len(bias), format="csr")
    h = program.variables(np.zeros(len(bias)), high)
    on = program.variables(np.round(_flat(state.low)), np.round(_flat(state.high)), integral=True)
    program.at_most([(x, weight), (h, -one)], -bias)  # h >= z
    program.at_most([(x, -weight), (h, one), (on, diags_array(-low))], bias - low)  # h <= z - low (1 - a)
    program.at_most([(h, one), (on, diags_array(-high))], np.zeros(len(bias)))  # h <= high a
    return h, on


def _backward(
    program: _Program, layers: Sequence[Dense], states: Sequence[Interval], switches: Sequence[slice], row: int
) -> tuple[slice, Interval]:
    """Add the backward pass of one output down to the outputs of the first layer's neurons: variables and their range."""
    last = layers[-1].weight[row : row + 1]
    fixed = Interval(mid=last, rad=torch.zeros_like(last))
    v: slice | None = None
    for k in range(len(layers) - 2, -1, -1):
        # g arrives from above, v = a g leaves; at the top g is a constant.
        g = fixed if v is None else affine(fixed, layers[k + 1].weight.T)
        zeros = torch.zeros_like(g.mid)
        fixed = Interval.between(torch.minimum(g.low, zeros), torch.maximum(g.high, zeros))
        left = program.variables(_flat(fixed.low), _flat(fixed.high))
        one = eye_array(left.stop - left.start, format="csr")
        if v is None:
            program.equal([(switches[k], diags_array(-_flat(g.mid))), (left, one)], np.zeros(one.shape[0]))
        else:
            _product(program, layers[k + 1].weight.T.numpy(), v, switches[k], left, fixed)
        v = left
    if v is None:
        raise NotApplicable("milp needs at least one hidden layer; a linear network's constant is its spectral_product")
    return v, fixed


def _product(program: _Program, transposed: np.ndarray, v: slice, on: slice, left: slice, size: Interval) -> None:
    """Add left = a * g with g = W^T v, where g and 0 lie within `size`."""
    low, high = _flat(size.low), _flat(size.high)
    one = eye_array(len(low), format="csr")
    zero = np.zeros(len(low))
    program.at_most([(left, one), (on, diags_array(-high))], zero)  # left <= high a
    program.at_most([(left, -one), (on, diags_array(low))], zero)  # left >= low a
    program.at_most([(v, -transposed), (left, one), (on, diags_array(-low))], -low)  # left <= g - low (1 - a)
    program.at_most([(v, transposed), (left, -one), (on, diags_array(high))], high)  # left >= g - high (1 - a)


def _absolute(program: _Program, transposed: np.ndarray, v: slice, size: Interval) -> slice:
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
