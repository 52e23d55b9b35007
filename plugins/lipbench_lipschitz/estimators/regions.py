# SPDX-License-Identifier: Apache-2.0
"""Exact Lipschitz constants of small ReLU networks with up to six inputs, by all their linear regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from lipbench_relu_geometry.engine.enumerate import CellComplex, complexes, enumerate_cells
from lipbench_relu_geometry.engine.network import ReluNet, net_of
from lipbench_relu_geometry.engine.plane import Plane, box, clip_to_box, decompose
from lipbench_relu_geometry.engine.polygons import TOLERANCE
from lipbench_relu_geometry.engine.traversal import THIN
from lipbench_relu_geometry.engine.vertices import NEAR, NotGeneric
from pydantic import Field

from lipbench.api import Context, NotApplicable, Value

from ..activations import Activation
from ..chain import Chain, dense_chain, layers, rounding_slack
from ..intervals import KINKED, kink_slopes
from ..operator_norms import UNIT, gamma
from ..result import Estimator, bound
from ..spectral import operator_norm
from ..task import NetworkOnRegion, Norm
from .interval import region_boxes

# Numbers that a heat map may put into a record.
MAX_NUMBERS = 2500
MAX_INPUTS = 6
"""Around a vertex there are 2^inputs regions."""
# Entries of Jacobians, or of the products that lead to them, that are held at a time.
_ENTRIES = 2**22
# How thin a region may be, in half widths of the domain, before it is missed.
_RESOLUTION = {"polygons": TOLERANCE, "vertices": NEAR, "traversal": THIN}


class Regions(Estimator):
    """Exact K of a ReLU network with up to six inputs: the largest Jacobian norm over its linear regions.

    The geometry engine lists all regions as bit vectors, those of one or two inputs by clipping polygons and those of more
    from vertex to vertex, or where units share hyperplanes from neighbour to neighbour, which is slow. The Jacobian of each is
    the product of the stored weights. Exact in every norm, up to float64 rounding, which the interval accounts for, and to
    regions that are thinner than `resolution` in the extras. Balls are polygons in l1 and linf for two inputs, and boxes in
    linf for any number; for others there is no exact value in this way.

    Cost: no pass through the network; time and memory grow with the number of regions, up to about
    (neurons)^inputs / inputs! in all of the space.

    Source: region enumeration as in LipBaB (Bhowmick, D'Souza & Raghavan 2021), here by the engine of the ReLU geometry suite.

    Args:
        box_radius: Replace the data's box by a box of this half width around its centre, in raw units; null to keep it.
        limit: Largest number of regions.
        heat_map: Put polygons and norms into the extras where they have at most 2500 numbers.
    """

    def __init__(
        self,
        *,
        box_radius: Annotated[float, Field(gt=0)] | None = None,
        limit: Annotated[int, Field(ge=1)] = 20_000,
        heat_map: bool = True,
    ) -> None:
        self.box_radius, self.limit, self.heat_map = box_radius, limit, heat_map

    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """Enumerate, and report the steepest region."""
        inputs = evidence.probe.inputs
        if inputs > MAX_INPUTS:
            raise NotApplicable(
                f"regions are enumerated for up to {MAX_INPUTS} inputs, here there are {inputs}; use interval_jacobian"
            )
        chain = dense_chain(evidence.probe.source, evidence.spec.shape)
        net = _relu_net(chain)
        try:
            found = (_planar if inputs <= 2 else _spatial)(net, evidence, self.box_radius, self.limit)
        except NotApplicable as why:
            raise NotApplicable(f"{why}; interval_jacobian and schur need no regions") from None
        norms, error = _norms(net, found.bits, evidence.norm)
        error += _merged(chain, evidence)
        best = int(norms.argmax())
        value = float(norms[best])
        extras = found.shares(best)
        if self.heat_map and inputs == 2:
            extras |= found.heat_map(norms)
        if self.box_radius is not None:
            extras["region"] = f"box({self.box_radius:g})"
        return bound(
            evidence,
            value,
            kind="exact",
            scope="box" if evidence.radius is None or self.box_radius is not None else "ball",
            certified=True,
            interval=(max(0.0, value - error), value + error, "float64 error bound"),
            regions=len(norms),
            winner=None if found.inner is None else found.inner[best][:inputs].tolist(),
            resolution=max(_RESOLUTION[c] for c in found.engines),
            nongeneric=found.nongeneric,
            **extras,
        )


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The regions of all domains, one after the other."""

    bits: np.ndarray
    """(R, h)."""
    inner: np.ndarray | None
    """(R, n) a point inside each, where the engine gives it."""
    engines: Sequence[str]
    nongeneric: int
    """Facets that showed that units share a hyperplane, or that a region beyond was too thin to be seen; else 0."""
    plane: Plane | None = None

    @classmethod
    def of(cls, parts: Sequence[CellComplex], inner: Sequence[np.ndarray | None], plane: Plane | None = None) -> _Found:
        known = [x for x in inner if x is not None]
        return cls(
            bits=np.concatenate([p.bits() for p in parts]),
            inner=np.concatenate(known) if len(known) == len(parts) else None,
            engines=[p.engine for p in parts],
            nongeneric=sum(p.nongeneric for p in parts),
            plane=plane,
        )

    def shares(self, best: int) -> dict[str, Any]:
        """Shares of the area, of planar domains."""
        if self.plane is None:
            return {}
        share = self.plane.areas() / self.plane.areas().sum()
        return {"winner_share": float(share[best]), "smallest_share": float(share.min())}

    def heat_map(self, norms: np.ndarray) -> dict[str, Any]:
        """Polygons as [x0, y0, x1, y1, ...] with their norms, to 5 digits; nothing where they are too many numbers."""
        polygons = [] if self.plane is None else self.plane.polygons()
        if not polygons or sum(p.size for p in polygons) + len(norms) > MAX_NUMBERS:
            return {}
        return {
            "polygons": [[float(f"{c:.5g}") for c in p.ravel()] for p in polygons],
            "norms": [float(f"{v:.5g}") for v in norms],
        }


def _relu_net(chain: Chain) -> ReluNet:
    dense, activations = layers(chain)
    for step in activations:
        if step.name not in KINKED:
            raise NotApplicable(f"regions needs ReLU, LeakyReLU or abs, the network has {step.name}; use interval_jacobian")
    return net_of([(d.weight.numpy(), d.bias.numpy()) for d in dense], [_below(a) for a in activations])


def _below(step: Activation) -> float:
    below, above = kink_slopes(step)
    assert above == 1.0, step.name  # noqa: S101  (all activations with a kink are the identity above it)
    return below


def _planar(net: ReluNet, evidence: NetworkOnRegion, box_radius: float | None, limit: int) -> _Found:
    """One or two inputs: the pieces of polygons, one box or one polygon for each ball."""
    domains = _domains(evidence, box_radius)
    if net.inputs == 1:
        # A second input that changes nothing, so that intervals are polygons too.
        net = net.on_plane(np.zeros(1), np.array([[1.0], [0.0]]))
    plane = decompose([net] * len(domains), domains, limit=limit)
    parts = complexes(plane)
    return _Found.of(parts, [p.inner for p in parts], plane)


def _spatial(net: ReluNet, evidence: NetworkOnRegion, box_radius: float | None, limit: int) -> _Found:
    """Three inputs or more: boxes, each made [-1, 1]^n, so that tolerances are shares of its half width."""
    boxes = region_boxes(evidence)
    mids, rads = boxes.mid.numpy(), boxes.rad.numpy()
    if box_radius is not None:
        middle = (evidence.high + evidence.low) / 2
        mids, rads = np.full((1, net.inputs), middle), np.full((1, net.inputs), box_radius)
    elif evidence.radius is not None and evidence.norm != "linf":
        raise NotApplicable(f"{evidence.norm} balls of {net.inputs} inputs are no boxes; use radius: null or norm: linf")
    parts: list[CellComplex] = []
    for mid, rad in zip(mids, rads, strict=True):
        here = net.on_plane(mid, np.diag(rad))
        try:
            # The limit is on vertices there, of which a box has up to 2^n for each region.
            parts.append(enumerate_cells(here, -1.0, 1.0, engine="vertices", limit=limit << net.inputs))
        except NotGeneric:
            parts.append(enumerate_cells(here, -1.0, 1.0, engine="traversal", limit=limit))
        if sum(map(len, parts)) > limit:
            raise NotApplicable(f"there are more than {limit} cells; raise the limit, or take a smaller box or network")
    inner = [None if p.inner is None else mid + rad * p.inner for p, mid, rad in zip(parts, mids, rads, strict=True)]
    return _Found.of(parts, inner)


def _norms(net: ReluNet, bits: np.ndarray, norm: Norm) -> tuple[np.ndarray, float]:
    """(R,) Jacobian norms, and a bound on the float64 error of the largest of them.

    The computed product differs by no more than gamma_k |W_L| |D| ... |W_1| from the exact one (Higham, Accuracy and Stability
    of Numerical Algorithms, 2002, section 3.5); its norm is wrong by some units in the last place.
    """
    sizes = ReluNet(tuple(map(np.abs, net.weights)), net.biases, tuple(abs(b) for b in net.below))
    m, n = net.outputs, net.inputs
    share, last = gamma(sum(net.widths) + 2 * len(net.weights) + 8), 8 * (m + 8) * (n + 8) * UNIT
    step = max(1, _ENTRIES // (min(m, n) * max(n, m, *net.widths)))
    found, error = [], 0.0
    for i in range(0, len(bits), step):
        some = bits[i : i + step]
        norms = operator_norm(torch.from_numpy(net.jacobian(some)), norm)
        # The Frobenius norm is at least the spectral norm.
        wide = torch.from_numpy(sizes.jacobian(some))
        spread = torch.linalg.matrix_norm(wide) if norm == "l2" else operator_norm(wide, norm)
        error = max(error, float((share * spread + last * norms).max()))
        found.append(norms.numpy())
    return np.concatenate(found), error * (1 + last)


def _merged(chain: Chain, evidence: NetworkOnRegion) -> float:
    """How much the errors of merged layers can move the norm: known in l2, in l1 and linf by the equivalence of norms."""
    slack = rounding_slack(chain)
    return slack * {"l2": 1, "l1": evidence.probe.outputs, "linf": evidence.probe.inputs}[evidence.norm] ** 0.5


def _domains(evidence: NetworkOnRegion, box_radius: float | None) -> list[np.ndarray]:
    """The polygons that are cut: one box, or one for each ball."""
    inputs = evidence.probe.inputs
    middle, half = (evidence.high + evidence.low) / 2, (evidence.high - evidence.low) / 2
    if box_radius is not None or evidence.radius is None:
        half = box_radius or half
        return [box([middle - half] * 2, [middle + half] * 2)]
    if inputs == 2 and evidence.norm == "l2":
        raise NotApplicable("l2 balls are no polygons; use radius: null, norm: l1 or linf, or interval_jacobian")
    centres = np.full((len(evidence.points), 2), middle)
    centres[:, :inputs] = evidence.points.flatten(1).double().numpy()
    reach = np.full(2, evidence.radius)
    reach[inputs:] = half
    diamond = evidence.norm == "l1" and inputs == 2
    balls = [c + reach * _DIAMOND if diamond else box(c - reach, c + reach) for c in centres]
    return [clip_to_box(b, evidence.low, evidence.high) for b in balls]


_DIAMOND = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
