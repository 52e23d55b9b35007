# SPDX-License-Identifier: Apache-2.0
"""CLEVER: the end point of an extreme value distribution fitted to the largest gradient norms of random samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from scipy.optimize import minimize
from scipy.stats import kstest, weibull_max
from torch import Tensor

from lipbench.api import Context, NotApplicable, Value

from ..balls import around, uniform_region
from ..certify import witness
from ..result import Estimator, bound
from ..spectral import MAX_ENTRIES, Linearisation, operator_norm
from ..task import NetworkOnRegion

# Largest min(m, n) for which a full Jacobian is taken at each of many thousand samples.
MAX_FULL = 64
# Shapes of the fitted distribution. Below 1 the likelihood has no maximum; a corner of an n-dimensional body gives n, and
# beyond 100 the end point is not identified any more (the distribution is a Gumbel one).
SHAPES = (1.0, 100.0)


class Clever(Estimator):
    """Extreme value estimate of the local Lipschitz constant; it can lie on either side of K and is no bound.

    The largest of `samples` Jacobian norms at uniform draws is taken in each of `batches` batches; these maxima are fitted by
    a reverse Weibull distribution, by maximum likelihood with a location not below the largest of them, and the location is
    the value. `ks_p` is the p-value of a Kolmogorov-Smirnov test of the fit: near 0 the extreme value model does not hold, as
    for small ReLU networks, whose maximum is taken with positive probability. If all maxima are equal they are the value.

    By default this is the operator norm of the network's Jacobian in the norm of the task, so that the number is comparable
    with bounds on K. With `margin` it is the dual norm of the gradient of g = f_c - f_j, the margin between the two largest
    outputs at the centre, and `score` is the CLEVER score min(g(x0) / value, radius). Samples outside the data's range are
    moved to its rim.

    Cost for each sample: one forward and min(m, n) backwards, 1 with `margin`; batches * samples samples for each centre.

    Source: Weng et al. 2018 (ICLR), algorithms 1 and 2.

    Args:
        batches: Number of maxima that are fitted (N_b; 500 in the paper).
        samples: Draws for each maximum (N_s; 1024 in the paper).
        radius: Radius of the balls in raw units; null for the task's region (balls of its radius, or the whole box).
        centres: Number of the task's points that serve as centres of balls; the value is the largest of their estimates.
        margin: Estimate the margin function instead of the network; needs balls.
    """

    def __init__(
        self,
        *,
        batches: Annotated[int, Field(ge=5)] = 50,
        samples: Annotated[int, Field(ge=1)] = 128,
        radius: Annotated[float, Field(gt=0)] | None = None,
        centres: Annotated[int, Field(ge=1)] = 1,
        margin: bool = False,
    ) -> None:
        self.batches, self.samples, self.radius, self.centres, self.margin = batches, samples, radius, centres, margin

    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """Sample, fit, and report the centre with the largest estimate."""
        radius = self.radius or evidence.radius
        self._check(evidence, radius)
        generator = ctx.generator("samples")
        fits, peaks, scores = [], [], []
        for centre in evidence.points[: self.centres] if radius else evidence.points[:1]:
            covector, gap = _margin(evidence, centre) if self.margin else (None, 0.0)
            maxima, peak = self._maxima(evidence, centre, radius, covector, generator)
            fits.append(fit_end_point(maxima, _same(evidence)))
            peaks.append(peak)
            if self.margin and radius:
                scores.append(min(gap / fits[-1].location, radius) if fits[-1].location > 0 else radius)
        chosen = max(range(len(fits)), key=lambda i: fits[i].location)
        best, peak = fits[chosen], peaks[chosen]
        origin = {"centre": chosen if radius else None, "batch": peak.batch, "sample": peak.sample}
        extras: dict[str, Any] = {"score": scores} if scores else {}
        if self.radius is not None:
            extras["region"] = f"ball({self.radius:g})"
        return bound(
            evidence,
            best.location,
            kind="estimate",
            scope="ball" if radius else "box",
            certified=False,
            quantity="margin" if self.margin else "network",
            centres=[f.location for f in fits],
            sample_max=best.sample_max,
            ks_p=best.ks_p,
            shape=best.shape,
            scale=best.scale,
            fitted=best.fitted,
            witness=witness(evidence.norm, origin | {"how": "the draw with sample_max"}, at=peak.at),
            **extras,
        )

    def _check(self, evidence: NetworkOnRegion, radius: float | None) -> None:
        size = min(evidence.probe.outputs, evidence.probe.inputs)
        if self.margin and (radius is None or evidence.probe.outputs < 2):
            raise NotApplicable("margin: true needs a radius and at least 2 outputs; use margin: false")
        if not self.margin and size > MAX_FULL:
            raise NotApplicable(f"clever needs min(inputs, outputs) <= {MAX_FULL}, here it is {size}; use margin: true")

    def _maxima(
        self,
        evidence: NetworkOnRegion,
        centre: Tensor,
        radius: float | None,
        covector: Tensor | None,
        generator: torch.Generator,
    ) -> tuple[np.ndarray, _Peak]:
        """(batches,) largest norms, and where the largest of all was found."""
        probe = evidence.probe
        entries = probe.inputs * (1 if covector is not None else probe.outputs)
        together = max(1, min(self.batches, MAX_ENTRIES // max(1, entries * self.samples)))
        parts: list[Tensor] = []
        peak = _Peak(norm=-1.0, at=centre, batch=0, sample=0)
        for first in range(0, self.batches, together):
            count = min(together, self.batches - first)
            if radius is None:
                x = uniform_region(evidence, count * self.samples, generator)
            else:
                x = around(evidence, centre[None], radius, count * self.samples, generator)
            norms = torch.cat([_norms(evidence, part, covector) for part in x.split(probe.chunk)]).cpu()
            parts.append(norms.reshape(count, self.samples).amax(1))
            top = int(norms.argmax())
            if float(norms[top]) > peak.norm:
                batch, sample = divmod(top, self.samples)
                peak = _Peak(norm=float(norms[top]), at=x[top].to(probe.dtype), batch=first + batch, sample=sample)
        return torch.cat(parts).numpy(), peak


@dataclass(frozen=True, kw_only=True)
class _Peak:
    """The draw with the largest norm."""

    norm: float
    at: Tensor
    batch: int
    sample: int


def _norms(evidence: NetworkOnRegion, x: Tensor, covector: Tensor | None) -> Tensor:
    """(B,) operator norms of the Jacobian, or of its product with one covector."""
    line = Linearisation(evidence.probe, x)
    J = line.matrix() if covector is None else line.pull(covector.expand(len(x), -1))[:, None]
    return operator_norm(J, evidence.norm)


def _margin(evidence: NetworkOnRegion, centre: Tensor) -> tuple[Tensor, float]:
    """e_c - e_j (m,) of the two largest outputs at the centre, and the margin itself."""
    out = evidence.probe(centre[None])[0]
    top = out.double().topk(2)
    covector = torch.zeros_like(out)
    covector[top.indices] = torch.tensor([1.0, -1.0], dtype=out.dtype, device=out.device)
    return covector, float(top.values[0] - top.values[1])


def _same(evidence: NetworkOnRegion) -> float:
    """Relative spread below which maxima are equal up to rounding."""
    return 64 * torch.finfo(evidence.probe.dtype).eps


@dataclass(frozen=True, kw_only=True)
class EndPoint:
    """A fitted reverse Weibull distribution."""

    location: float
    """Its upper end point: the estimate."""
    sample_max: float
    shape: float | None
    scale: float | None
    ks_p: float | None
    """None where nothing was fitted."""
    fitted: bool


def fit_end_point(maxima: np.ndarray, same: float = 1e-12) -> EndPoint:
    """Maximum likelihood of a reverse Weibull distribution whose location is not below the largest sample.

    Args:
        maxima: (N,) block maxima.
        same: Relative spread below which they count as equal; then nothing is fitted.
    """
    top, spread = float(maxima.max()), float(maxima.max() - maxima.min())
    if spread <= same * abs(top):
        return EndPoint(location=top, sample_max=top, shape=None, scale=None, ks_p=None, fitted=False)
    below = (top - np.asarray(maxima, dtype=np.float64)) / spread  # in [0, 1], so that starts and limits need no unit

    def loss(theta: np.ndarray) -> float:
        gap, shape = math.exp(theta[0]), math.exp(theta[1])
        # Negative mean log-likelihood at the best scale, for which mean((distance / scale)^shape) = 1.
        distance = below + gap
        return shape * math.log(_scale(distance, shape)) - math.log(shape) - (shape - 1) * float(np.log(distance).mean()) + 1

    limits = ((math.log(1e-9), math.log(1e3)), (math.log(SHAPES[0]), math.log(SHAPES[1])))
    starts = [(math.log(gap), math.log(shape)) for gap in (1e-3, 0.1, 1.0) for shape in (1.2, 3.0, 10.0)]
    runs = [minimize(loss, start, method="Nelder-Mead", bounds=limits, options={"maxiter": 2000}) for start in starts]
    theta = min(runs, key=lambda r: float(r.fun)).x
    gap, shape = math.exp(theta[0]), math.exp(theta[1])
    scale = _scale(below + gap, shape)
    p = float(kstest(-(below + gap), weibull_max(shape, 0.0, scale).cdf).pvalue)
    return EndPoint(location=top + gap * spread, sample_max=top, shape=shape, scale=scale * spread, ks_p=p, fitted=True)


def _scale(distance: np.ndarray, shape: float) -> float:
    """Maximum likelihood scale for known location and shape, written so that no power overflows."""
    far = float(distance.max())
    return far * float(np.mean((distance / far) ** shape)) ** (1 / shape)
