# SPDX-License-Identifier: Apache-2.0
"""Exact Lipschitz constants of small ReLU networks with one or two inputs, by all their linear regions."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from lipbench.api import Context, NotApplicable, Value

from ..activations import Activation
from ..chain import Dense, dense_chain
from ..intervals import KINKED, kink_slopes
from ..polygons import RESOLUTION, Affine, Kink, Pieces, clip_to_box, linear_pieces
from ..result import Estimator, bound
from ..spectral import operator_norm
from ..task import NetworkOnRegion

# Numbers that a heat map may put into a record.
MAX_NUMBERS = 2500


class Regions(Estimator):
    """Exact K of a ReLU network with one or two inputs: the largest Jacobian norm over its linear regions.

    The region is cut into convex polygons by one neuron after the other; on each the network is affine. Exact in every norm,
    up to float64 rounding and to regions that are thinner than `resolution` in the extras. Balls are polygons in l1 and linf;
    for l2 balls there is no exact value in this way.

    Cost: no pass through the network; time and memory grow with the number of regions, up to about (neurons)^2 / 2.

    Source: region enumeration as in LipBaB (Bhowmick, D'Souza & Raghavan 2021), here by clipping polygons in the plane.

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
        if inputs > 2:
            raise NotApplicable(f"regions are enumerated for 1 or 2 inputs, here there are {inputs}; use interval_jacobian")
        steps = [_step(s) for s in dense_chain(evidence.probe.source, evidence.spec.shape)]
        if inputs == 1:
            # A second input that changes nothing, so that intervals are polygons too.
            steps.insert(0, Affine(weight=np.array([[1.0, 0.0]]), bias=np.zeros(1)))
        pieces = linear_pieces(steps, _domains(evidence, self.box_radius), self.limit)
        norms = operator_norm(torch.from_numpy(pieces.slopes[:, :, :inputs]), evidence.norm).numpy()
        best = int(norms.argmax())
        share = pieces.areas() / pieces.areas().sum()
        extras = _heat_map(pieces, norms) if self.heat_map and inputs == 2 else {}
        if self.box_radius is not None:
            extras["region"] = f"box({self.box_radius:g})"
        return bound(
            evidence,
            float(norms[best]),
            kind="exact",
            scope="box" if evidence.radius is None or self.box_radius is not None else "ball",
            certified=True,
            regions=len(norms),
            winner=pieces.interior()[best][:inputs].tolist(),
            winner_share=float(share[best]),
            smallest_share=float(share.min()),
            resolution=RESOLUTION,
            grazed=pieces.grazed,
            **extras,
        )


def _step(step: Dense | Activation) -> Affine | Kink:
    if isinstance(step, Dense):
        return Affine(weight=step.weight.numpy(), bias=step.bias.numpy())
    if step.name not in KINKED:
        raise NotApplicable(f"regions needs ReLU, LeakyReLU or abs, the network has {step.name}; use interval_jacobian")
    below, above = kink_slopes(step)
    return Kink(below=below, above=above)


def _domains(evidence: NetworkOnRegion, box_radius: float | None) -> list[np.ndarray]:
    """The polygons that are cut: one box, or one for each ball."""
    inputs = evidence.probe.inputs
    middle, half = (evidence.high + evidence.low) / 2, (evidence.high - evidence.low) / 2
    if box_radius is not None or evidence.radius is None:
        return [_box(np.full(2, middle), np.full(2, box_radius or half))]
    if inputs == 2 and evidence.norm == "l2":
        raise NotApplicable("l2 balls are no polygons; use radius: null, norm: l1 or linf, or interval_jacobian")
    centres = np.full((len(evidence.points), 2), middle)
    centres[:, :inputs] = evidence.points.flatten(1).double().numpy()
    reach = np.full(2, evidence.radius)
    reach[inputs:] = half
    diamond = evidence.norm == "l1" and inputs == 2
    balls = [c + reach * _DIAMOND if diamond else _box(c, reach) for c in centres]
    return [clip_to_box(b, evidence.low, evidence.high) for b in balls]


_DIAMOND = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])


def _box(centre: np.ndarray, half: np.ndarray) -> np.ndarray:
    return centre + half * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


def _heat_map(pieces: Pieces, norms: np.ndarray) -> dict[str, Any]:
    """Polygons as [x0, y0, x1, y1, ...] with their norms, to 5 digits; nothing where they are too many numbers."""
    numbers = sum(p.size for p in pieces.polygons) + len(norms)
    if numbers > MAX_NUMBERS:
        return {}
    return {
        "polygons": [[float(f"{c:.5g}") for c in p.ravel()] for p in pieces.polygons],
        "norms": [float(f"{v:.5g}") for v in norms],
    }
