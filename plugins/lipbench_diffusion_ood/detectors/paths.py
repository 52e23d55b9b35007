# SPDX-License-Identifier: Apache-2.0
"""The diffusion path of an image: how the predicted noise moves on its deterministic way into noise."""

from __future__ import annotations

import math
import warnings
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, InvalidInput

from ..base import Backbone, Denoiser, Detector, Scored, Tensors, denoiser_of
from ..models.fitting import parts
from ..schedules import first_time
from .common import calibration_images, checked

_AT_ONCE = 2**17
_TINY = 1e-12


class PathStatistics(Detector):
    """Statistics of the diffusion path, and how rare they are among in-domain training images (DiffPath).

    The image is carried from t near 0 to 1 by deterministic steps (DDIM backwards); at each of the K times the network
    predicts the noise eps_k. With `6d` the statistics are the sums over path and pixels of eps, eps^2, eps^3 and of the
    same powers of d eps / dt, with a Gaussian mixture as their density; with `1d` the root of the sum of (d eps / dt)^2,
    with a kernel density. They are standardised on training images; the score is the negative log density. The source uses
    one model for all datasets and chooses a mixture of 50 or 100 Gaussians by cross validation; here the model is the
    in-domain one, and the mixture is smaller for fewer images. Cost: K evaluations an image, also in calibration.

    Args:
        statistics: `6d` or `1d`.
        steps: Number of times K.
        components: Gaussians of the mixture, for `6d`.

    Source: A. Heng, A. H. Thiery, H. Soh, Out-of-distribution detection with a single unconditional diffusion model, NeurIPS
    2024 (arXiv:2405.11881), and its release, where powers are signed.
    """

    reads = Denoiser

    def __init__(
        self,
        *,
        statistics: Literal["6d", "1d"] = "6d",
        steps: Annotated[int, Field(ge=2)] = 10,
        components: Annotated[int, Field(ge=1)] = 5,
    ) -> None:
        self.statistics, self.steps, self.components = statistics, steps, components

    def calibrate(self, train: Tensor, backbone: Backbone | None, ctx: Context) -> Tensors:
        """Moments of the statistics of up to 1000 training images, and their density.

        Raises:
            InvalidInput: There are fewer training images than twice the components.
        """
        found = self.path(calibration_images(train, ctx), denoiser_of(backbone, "path_stat"), ctx)
        mean, std = found.mean(0), found.std(0).clamp(min=_TINY)
        z = (found - mean) / std
        density = _mixture(z, self.components, ctx) if self.statistics == "6d" else {"points": z}
        return {"mean": mean, "std": std, **density}

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        """Negative log densities; the statistics are kept as an extra, (1 or 6, n)."""
        found = self.path(x, denoiser_of(backbone, "path_stat"), ctx)
        z = (found - calibrated["mean"]) / calibrated["std"]
        log_density = (
            mixture_log_density(z, calibrated) if self.statistics == "6d" else kernel_log_density(z, calibrated["points"])
        )
        return Scored(
            scores=checked(-log_density, "path_stat"), evaluations=self.steps, extras={"statistics": found.T.contiguous()}
        )

    @torch.inference_mode()
    def path(self, x: Tensor, denoiser: Denoiser, ctx: Context) -> Tensor:
        """(n, 6) or (n, 1) float64 statistics of images (n, C, L, L) in [0, 1]."""
        spans = parts(len(x), x[0].numel(), ctx, _AT_ONCE)
        return torch.cat([self._block(x[span].to(ctx.device), denoiser).cpu() for span in spans])

    def _block(self, x: Tensor, denoiser: Denoiser) -> Tensor:
        first = max(first_time(denoiser.schedule), 1e-3)
        times = torch.linspace(first, 1, self.steps, dtype=torch.float64, device=x.device).to(x.dtype)
        c, std = denoiser.schedule.mean(times), denoiser.schedule.std(times)
        at, before = c[0] * (2 * x - 1), None
        sums = torch.zeros(6, len(x), dtype=torch.float64, device=x.device)
        for k, t in enumerate(times):
            eps = denoiser.eps(at, t.expand(len(x)))
            sums[:3] += _powers(eps)
            if before is not None:
                sums[3:] += _powers((eps - before) * (self.steps - 1))
            if k + 1 < self.steps:
                at = c[k + 1] * (at - std[k] * eps) / c[k] + std[k + 1] * eps
            before = eps
        return sums.T if self.statistics == "6d" else sums[4, :, None].sqrt()


def _powers(x: Tensor) -> Tensor:
    """(3, n): sums of x, x^2 and x^3 over all but the first dimension."""
    rows = x.flatten(1).double()
    squares = rows * rows
    return torch.stack([rows.sum(1), squares.sum(1), (squares * rows).sum(1)])


def _mixture(z: Tensor, components: int, ctx: Context) -> dict[str, Tensor]:
    """A Gaussian mixture with full covariances, fitted by expectation maximisation."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    if len(z) < 2 * components:
        raise InvalidInput(
            f"path_stat: {len(z)} training images are too few for components: {components}; write fewer components"
        )
    seed = int(ctx.rng("mixture").integers(2**31))
    fit = GaussianMixture(components, reg_covar=1e-3, max_iter=200, random_state=seed)
    with warnings.catch_warnings():  # a mixture short of the optimum is a density all the same; the log says so
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit.fit(z.numpy())
    ctx.log(f"path_stat: mixture of {components} Gaussians, {'' if fit.converged_ else 'not '}converged in {fit.n_iter_} steps")
    return {
        "weights": torch.from_numpy(fit.weights_),
        "centres": torch.from_numpy(fit.means_),
        "factors": torch.from_numpy(fit.precisions_cholesky_),
    }


def mixture_log_density(z: Tensor, mixture: Tensors) -> Tensor:
    """Log density (n,) of rows (n, d) under `weights` (k,), `centres` (k, d) and `factors` (k, d, d) of the precisions."""
    centres, factors = mixture["centres"], mixture["factors"]
    squares = ((z[None] - centres[:, None]) @ factors).square().sum(2)
    constants = (
        mixture["weights"].log() + factors.diagonal(dim1=1, dim2=2).log().sum(1) - z.shape[1] / 2 * math.log(2 * math.pi)
    )
    return (constants[:, None] - squares / 2).logsumexp(0)


def kernel_log_density(z: Tensor, points: Tensor) -> Tensor:
    """Log density (n,) of rows (n, d) by Gaussian kernels of Scott's width at standardised points (m, d)."""
    m, d = points.shape
    width = m ** (-1 / (d + 4))
    constant = math.log(m) + d * math.log(width) + d / 2 * math.log(2 * math.pi)
    squares = torch.cdist(z, points, compute_mode="donot_use_mm_for_euclid_dist").square()
    return (-squares / (2 * width**2)).logsumexp(1) - constant
