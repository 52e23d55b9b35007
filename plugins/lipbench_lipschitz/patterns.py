# SPDX-License-Identifier: Apache-2.0
"""A proof that the affine piece of an activation pattern has an interior.

Cells as inequalities, and the largest ball in one, are the geometry engine's too. Here the rounding of each row is bounded, the
cube is measured in shares of the box, and an empty piece comes with the rows in conflict: a proof needs all three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, eye_array, hstack, vstack

from .chain import Dense
from .intervals import UNIT, Interval

Pattern = Sequence[np.ndarray]
"""For each hidden layer 1.0 where a neuron is on and 0.0 where it is off."""

# Half width of the narrowest cube, as a share of the box, that a piece must hold to be seen.
RESOLUTION = 1e-9
# Tolerance of the linear program, the smallest that HiGHS takes.
_TOLERANCE = 1e-10


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What is known about the piece of a pattern."""

    point: np.ndarray | None
    """A point inside, None where the piece holds no cube of the size `needed`."""
    needed: float
    """Half width, as a share of the box, that was asked for: the resolution, or the rounding of the kinks if that is more."""
    layer: int = 0
    """Without a point: the first hidden layer whose states leave no piece."""
    conflicts: Sequence[Mapping[int, bool]] = ()
    """Without a point: states of neurons of this layer that cannot occur together where all layers below have the pattern's
    states. Empty where the linear program failed."""


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Neurons of one layer as affine functions of the box's own coordinates u in [-1, 1]^n."""

    slope: np.ndarray
    offset: np.ndarray
    error: np.ndarray
    """Bound on the rounding of a value anywhere in the box."""


def _affine_forms(layers: Sequence[Dense], pattern: Pattern, mid: np.ndarray, rad: np.ndarray) -> list[_Rows]:
    """The pre-activations of all hidden layers on the piece of a pattern."""
    slope, offset, size, error = np.diag(rad), mid, np.abs(mid) + rad, 4 * UNIT * (np.abs(mid) + rad)
    found = []
    for layer, on in zip(layers[:-1], pattern, strict=True):
        weight, bias = layer.weight.numpy(), layer.bias.numpy()
        error = np.abs(weight) @ error + layer.rounding * float(np.linalg.norm(size))
        size = np.abs(weight) @ size + np.abs(bias)
        error = error + 2 * (weight.shape[1] + 8) * UNIT * size
        slope, offset = weight @ slope, weight @ offset + bias
        found.append(_Rows(slope=slope, offset=offset, error=error))
        slope, offset, size, error = on[:, None] * slope, on * offset, on * size, on * error
    return found


def look_inside(layers: Sequence[Dense], pattern: Pattern, free: Sequence[np.ndarray], box: Interval) -> Inside:
    """Look for a point of a box at which a pattern holds, with a margin at every kink and at the rim.

    The largest cube in the piece is found by a linear program. Neurons that are zero on the whole piece, up to rounding, are
    passed over, as neither state of theirs has a part in the gradient.

    Args:
        layers: The network.
        pattern: States of its hidden neurons.
        free: For each hidden layer, whether the neuron can change its state in the box; the others are not checked.
        box: One box (1, n).
    """
    mid, rad = box.mid[0].numpy(), box.rad[0].numpy()
    cube, needed = _Cube(rows=np.zeros((0, len(mid) + 1))), RESOLUTION
    below = cube.rows
    for k, form in enumerate(_affine_forms(layers, pattern, mid, rad)):
        on = pattern[k] > 0.5
        steep = np.abs(form.slope).sum(1)
        flat = free[k] & (steep <= form.error)
        wrong = np.flatnonzero(flat & (np.where(on, 1, -1) * form.offset < -2 * form.error))
        if len(wrong):
            return Inside(point=None, needed=needed, layer=k, conflicts=[{int(i): bool(on[i])} for i in wrong])
        seen = np.flatnonzero(free[k] & ~flat)
        # rows that are at most 0 where the neuron is on
        rows = -np.column_stack([form.slope, form.offset])[seen] / steep[seen, None]
        needed = max(needed, 4 * float((form.error[seen] / steep[seen]).max(initial=0.0)))
        cube = _largest_cube(np.concatenate([below, np.where(on[seen], 1, -1)[:, None] * rows]))
        if cube.radius <= needed:
            tight = [int(seen[t - len(below)]) for t in cube.tight if t >= len(below)]
            conflicts = _impossible(below, rows, seen, needed) if k > 0 else []
            if tight and {tight[0]: bool(on[tight[0]])} not in conflicts:
                conflicts.append({i: bool(on[i]) for i in tight})
            return Inside(point=None, needed=needed, layer=k, conflicts=conflicts)
        below = cube.rows
    return Inside(point=np.clip(mid + rad * cube.centre, mid - rad, mid + rad), needed=needed)


def _impossible(below: np.ndarray, rows: np.ndarray, seen: np.ndarray, needed: float) -> list[dict[int, bool]]:
    """States of single neurons that do not occur in the piece of the layers below."""
    found = []
    for i, row in zip(seen, rows, strict=True):
        for on in (True, False):
            cube = _largest_cube(np.vstack([below, row if on else -row]))
            if len(cube.tight) and cube.radius <= needed:
                found.append({int(i): on})
    return found


@dataclass(frozen=True, kw_only=True)
class _Cube:
    """The largest cube in [-1, 1]^n with A u + b <= 0."""

    rows: np.ndarray
    """(A, b) with ||A||_1 = 1 for each row of A."""
    radius: float = 1.0
    centre: np.ndarray = field(default_factory=lambda: np.zeros(0))
    tight: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    """Rows that alone keep it from being larger; none where the linear program failed."""


def _largest_cube(rows: np.ndarray) -> _Cube:
    inputs = rows.shape[1] - 1
    if not len(rows):
        return _Cube(rows=rows, centre=np.zeros(inputs))
    one = eye_array(inputs, format="csr")
    walls = vstack([csr_matrix(rows[:, :-1]), one, -one])
    high = np.concatenate([-rows[:, -1], np.ones(2 * inputs)])
    found = linprog(
        np.append(np.zeros(inputs), -1.0),
        A_ub=hstack([walls, csr_matrix(np.ones((walls.shape[0], 1)))], format="csr"),
        b_ub=high,
        bounds=[(None, None)] * inputs + [(None, 1.0)],
        method="highs",
        options={"primal_feasibility_tolerance": _TOLERANCE, "dual_feasibility_tolerance": _TOLERANCE},
    )
    if found.x is None:
        return _Cube(rows=rows, radius=-1.0)
    centre = found.x[:-1]
    # measured at the point itself, so that the solver's tolerance has no part in it
    radius = float((high - walls @ centre).min())
    return _Cube(rows=rows, radius=radius, centre=centre, tight=np.flatnonzero(found.ineqlin.marginals[: len(rows)]))
