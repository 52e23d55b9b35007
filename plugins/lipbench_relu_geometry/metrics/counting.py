# SPDX-License-Identifier: Apache-2.0
"""How many cells there are, whether the count can be right, and how well the networks fit."""

from __future__ import annotations

from itertools import combinations, product
from math import comb
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from scipy.stats import spearmanr

from lipbench.api import Context, InvalidInput, Metric, NotApplicable, Value

from ..engine.balls import chebyshev
from ..engine.enumerate import CellComplex, complexes, enumerate_cells
from ..engine.network import ReluNet, net_of
from ..engine.plane import Plane, box, decompose
from ..engine.traversal import published
from ..engine.vertices import NotGeneric
from ..task import Geometry
from .values import mean_value, share

_BRUTE = 10
"""Most units whose bit vectors are all tried."""
_SUBSETS = 20_000
"""Most sets of units that are looked at to know whether they are in general position."""
_SLOW = 400
"""Most cells that are also visited one by one."""

Where = Literal["whole", "box"]
Limit = Annotated[int, Field(ge=1)]


class EnumerationFaults(Metric):
    """What is wrong with the count of cells: 0 where every engine and every check agrees.

    The cells of the fastest engine are held against the other engines, against brute force over all bit vectors where there
    are at most 10 units, against the closed form where there is one layer in general position, and against the symmetry, connectedness and
    parity of their dual graph. The count, the engines and the sentences of what is wrong are in the extras.

    Args:
        where: `whole` for the whole space, `box` for that of the data.
    """

    def __init__(self, *, where: Where = "whole") -> None:
        self.where = where

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """A number of faults, lower is better."""
        net = evidence.net("enumeration_faults")
        low, high = _ends(evidence, self.where)
        found = enumerate_cells(net, low, high)
        wrong, keys = found.faults(net), _keys(found)
        for engine in ("polygons", "vertices", "traversal"):
            if (
                engine == found.engine
                or (engine == "polygons" and net.inputs != 2)
                or (engine == "traversal" and len(found) > _SLOW)
            ):
                continue
            try:
                other = enumerate_cells(net, low, high, engine=engine)
            except NotGeneric:
                continue
            wrong += [f"{engine} finds {len(other)} cells, {found.engine} {len(found)}"] if _keys(other) != keys else []
        if net.units <= _BRUTE:
            truth = _brute_force(net, low, high)
            wrong += [f"brute force finds {len(truth)} cells, {found.engine} {len(found)}"] if truth != keys else []
        if len(net.widths) == 1 and self.where == "whole" and _general(net.weights[0], net.biases[0]):
            m, n = net.inputs, net.units
            closed = sum(comb(n, j) for j in range(m + 1)), 2 * n * sum(comb(n - 1, j) for j in range(m))
            mine = len(found), int(found.facets().sum())
            wrong += [f"cells and facets are {mine}, the closed form says {closed}"] if mine != closed else []
        if self.where == "whole":
            wrong += _out_of_range(net, found)
        extras = {"cells": len(found), "engine": found.engine, "nongeneric": found.nongeneric, "faults": wrong}
        return Value(value=float(len(wrong)), direction="lower", unit="faults", extras=extras)


def _general(w: np.ndarray, b: np.ndarray) -> bool:
    """Whether hyperplanes are known to be in general position: every m are independent and no m + 1 meet in a point."""
    size = np.linalg.norm(w, axis=1)
    if not size.all():
        return False
    (n, m), lines = w.shape, np.column_stack([w, b]) / size[:, None]
    for k, rows in ((min(m, n), lines[:, :m]), (m + 1, lines)):
        if k <= n:
            if comb(n, k) > _SUBSETS:
                return False
            least = np.linalg.svd(rows[list(combinations(range(n), k))], compute_uv=False)[:, -1]
            if bool((least <= 1e-9).any()):
                return False
    return True


def _out_of_range(net: ReluNet, found: CellComplex) -> list[str]:
    """Counts that no network with this first layer and these widths has, and bounded cells with too few facets to be bounded."""
    # Each layer cuts a cell of those before it as a layer of its own that sees the narrowest of them.
    reach, most = net.inputs, 1
    for width in net.widths:
        reach = min(reach, width)
        most *= sum(comb(width, j) for j in range(reach + 1))
    wrong = [f"there are {len(found)} cells, and no network of these widths has more than {most}"] if len(found) > most else []
    if len(net.widths) > 1:
        # Later layers only cut the cells of the first one.
        first = len(enumerate_cells(net_of([*zip(net.weights[:1], net.biases[:1], strict=True), _constant(net.widths[0])])))
        wrong += [f"there are {len(found)} cells, and {first} of the first layer alone"] if len(found) < first else []
    if found.bounded is not None and not found.nongeneric:
        open_ended = int((found.facets().sum(axis=1)[found.bounded] <= net.inputs).sum())
        wrong += [f"{open_ended} bounded cells have {net.inputs} facets or fewer"] if open_ended else []
    return wrong


def _constant(width: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((1, width)), np.zeros(1)


class PublishedUndercount(Metric):
    """Cells that the published traversal does not find, of the whole space; 0 in general position.

    Each row is tested against all others and one bit is flipped at a time, so units on a common hyperplane hide each other.

    Args:
        starts: From how many points; the mean over these.

    Source: Liu et al. 2023, Algorithm 1.
    """

    def __init__(self, *, starts: Annotated[int, Field(ge=1)] = 3) -> None:
        self.starts = starts

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """A number of cells, lower is better."""
        net = evidence.net("published_undercount")
        count = len(enumerate_cells(net))
        starts = ctx.rng("starts").uniform(evidence.spec.low, evidence.spec.high, (self.starts, net.inputs))
        missed = np.array([count - len(published(net, s)) for s in starts])
        return mean_value(missed, unit="cells", of="starts", direction="lower", cells=count)


class RegionCount(Metric):
    """Cells of each network, in the whole space or in the box of the data.

    Exact where `nongeneric` in the extras is 0, the hyperplanes and facets that showed no general position: there units share a
    hyperplane, or a cell beyond is too thin to be seen, 1e-12 of the window. Replicas are counted together.

    Args:
        where: `whole` space or the `box` of the data.
        kind: `all` cells, or the `bounded` ones of the whole space.
        limit: Most cells of all replicas together.
    """

    def __init__(self, *, where: Where = "whole", kind: Literal["all", "bounded"] = "all", limit: Limit = 2_000_000) -> None:
        self.where, self.kind, self.limit = where, kind, limit

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """Mean over replicas."""
        counts = _counts(evidence, self.where, self.limit, self.kind)
        return mean_value(
            counts,
            unit="cells",
            of="replicas",
            counts=counts.tolist(),
            units=evidence.nets[0].units,
            nongeneric=self._nongeneric(evidence),
        )

    def _nongeneric(self, evidence: Geometry) -> int:
        if evidence.nets[0].inputs == 2:
            plane = _plane(evidence, self.where, self.limit)
            lone: int = evidence.once(
                ("lone", self.where, self.limit), lambda: plane.coincident + sum(c.nongeneric for c in complexes(plane))
            )
        else:
            lone = sum(c.nongeneric for c in _cells(evidence, self.where, self.limit))
        return lone


class RegionRatio(Metric):
    """Cells of the whole plane against those of one layer with as many units in general position, 1 + N + N (N - 1) / 2.

    Source: B. Hanin and D. Rolnick, Deep ReLU networks have surprisingly few activation patterns, NeurIPS 2019.
    """

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """Mean over replicas."""
        net = evidence.nets[0]
        one_layer = sum(comb(net.units, j) for j in range(net.inputs + 1))
        return mean_value(_counts(evidence, "whole") / one_layer, unit="1", of="replicas", one_layer=one_layer)


class MeanFacets(Metric):
    """Facets of a cell, the mean over the cells of the whole plane; it tends to 4 in the plane as cells grow in number."""

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """Mean over replicas."""
        plane = _plane(evidence, "whole", 2_000_000)
        totals = np.bincount(plane.net, weights=plane.facets().sum(axis=1), minlength=len(evidence.nets))
        return mean_value(totals / plane.counts(len(evidence.nets)), unit="facets", of="replicas")


class FitError(Metric):
    """Mean square error of replicas on their validation rows.

    Args:
        learned: Only those that learned something, see `failed_fits`.
    """

    def __init__(self, *, learned: bool = False) -> None:
        self.learned = learned

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """Mean over replicas, lower is better."""
        errors = _errors(evidence, "fit_error")
        if self.learned:
            errors = errors[~_failed(evidence, errors)]
        if not len(errors):
            raise NotApplicable("no replica learned anything; use more epochs or another lr:")
        return mean_value(errors, unit="MSE", of="replicas", direction="lower", errors=errors.tolist())


class FailedFits(Metric):
    """Share of replicas that learned nothing: an error of at least half the variance of the function on the points.

    The source does not say what it did with such networks.
    """

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """In [0, 1], lower is better."""
        errors = _errors(evidence, "failed_fits")
        return share(_failed(evidence, errors), unit="share", direction="lower")


class RegionsAndError(Metric):
    """Rank correlation of cells and error over the replicas of one architecture; negative where more cells fit better.

    Between architectures cells and parameters grow together, so that only within one the claim can be seen.

    Args:
        where: Cells of the `whole` plane, or those in the `box` of the data.
        learned: Only replicas that learned something, see `failed_fits`: the others have few cells and large errors.
    """

    def __init__(self, *, where: Where = "box", learned: bool = True) -> None:
        self.where, self.learned = where, learned

    def compute(self, evidence: Geometry, ctx: Context) -> Value:
        """Spearman's rho, with the p-value in the extras."""
        errors = _errors(evidence, "regions_and_error")
        counts = _counts(evidence, self.where)
        if self.learned:
            kept = ~_failed(evidence, errors)
            errors, counts = errors[kept], counts[kept]
        if len(errors) < 4 or len(np.unique(counts)) < 2:
            raise NotApplicable("regions_and_error needs at least 4 replicas with different numbers of cells")
        rho, p = spearmanr(counts, errors)
        return Value(value=float(rho), direction="none", unit="rank correlation", extras={"p": float(p), "count": len(errors)})


def _errors(evidence: Geometry, who: str) -> np.ndarray:
    if evidence.errors is None:
        raise NotApplicable(f"{who} needs replicas that were trained; use network: relu_replicas")
    return evidence.errors


def _failed(evidence: Geometry, errors: np.ndarray) -> np.ndarray:
    """(R,) errors of at least half the variance of the function on the points."""
    failed: np.ndarray = errors >= (evidence.x**2).sum(axis=1).var() / 2
    return failed


def _ends(evidence: Geometry, where: str) -> tuple[float | None, float | None]:
    return (None, None) if where == "whole" else (evidence.spec.low, evidence.spec.high)


def _plane(evidence: Geometry, where: str, limit: int) -> Plane:
    low, high = evidence.spec.low, evidence.spec.high
    window = None if where == "whole" else box([low, low], [high, high])
    found: Plane = evidence.once(("plane", where, limit), lambda: decompose(evidence.nets, window, limit=limit))
    return found


def _counts(evidence: Geometry, where: str, limit: int = 2_000_000, kind: str = "all") -> np.ndarray:
    if evidence.nets[0].inputs == 2:
        plane = _plane(evidence, where, limit)
        return np.bincount(plane.net[plane.bounded] if kind == "bounded" else plane.net, minlength=len(evidence.nets))
    cells = _cells(evidence, where, limit)
    if kind == "all":
        return np.array([len(c) for c in cells])
    if any(c.bounded is None for c in cells):
        raise NotApplicable("which cells are bounded is not known of a network in no general position; leave it out here")
    return np.array([int(c.bounded.sum()) for c in cells if c.bounded is not None])


def _cells(evidence: Geometry, where: str, limit: int) -> list[CellComplex]:
    found: list[CellComplex] = evidence.once(
        ("cells", where, limit), lambda: [enumerate_cells(n, *_ends(evidence, where), limit=limit) for n in evidence.nets]
    )
    return found


def _keys(found: CellComplex) -> set[bytes]:
    return {row.tobytes() for row in found.packed}


def _brute_force(net: ReluNet, low: float | None, high: float | None) -> set[bytes]:
    """All bit vectors that hold a ball."""
    patterns = np.array(list(product((0, 1), repeat=net.units)), dtype=np.uint8)
    cells, found = net.cells(patterns), set()
    # Far enough to reach into every cell of the small networks that this is for, and a box so that there is a largest ball.
    a, b = (-1e6, 1e6) if low is None or high is None else (low, high)
    for i, bits in enumerate(patterns):
        flat = np.abs(cells.rows[i]).sum(axis=1) < 1e-12
        # A constant 0 is off, and may be a sum that is 0 but for rounding.
        level = np.where(bits[flat] > 0, cells.bounds[i][flat] > 1e-12, cells.bounds[i][flat] >= -1e-12)
        if not bool(level.all()) or _empty(cells.rows[i], cells.bounds[i], a, b):
            continue
        found.add(np.packbits(bits).tobytes())
    return found


def _empty(rows: np.ndarray, bounds: np.ndarray, low: float, high: float) -> bool:
    try:
        return chebyshev(rows, bounds, low, high).radius <= 1e-8
    except InvalidInput:
        return True
