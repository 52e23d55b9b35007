# SPDX-License-Identifier: Apache-2.0
"""The denoiser that is exact for Gaussian data."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, NotApplicable

from ..base import Denoiser
from ..schedules import Process, make_schedule
from .training import centred, image_shape


class GaussianExact(Denoiser):
    """The optimal noise prediction for images from N(m, S), in closed form and without a network.

    eps(x, t) = std (c^2 S + std^2 I)^-1 (x - c m). The moments are those of the training images, or the exact ones of the
    Gaussian field; one eigendecomposition of a (D, D) matrix, D pixels and channels, serves all times. One evaluation costs
    2 D^2 multiplications an image.

    Args:
        process: Forward process: `ddpm` the chain of 1000 steps with linear variances, `vp`, `subvp` or `ve` in continuous time.
        field: Take mean and covariance of the Gaussian field from its formula; the dataset must be `gaussfield`.

    Source: the posterior mean of a linear Gaussian model; e.g. C. M. Bishop, Pattern Recognition and Machine Learning, 2006,
    section 2.3.3.
    """

    def __init__(self, *, process: Process = "ddpm", field: bool = False) -> None:
        self.process, self.field = process, field
        self.schedule = make_schedule(process)
        self._moved: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """The standard Gaussian, in images scaled to [-1, 1].

        Raises:
            InvalidInput: The data are no images.
        """
        channels, height, width = image_shape(spec, "gaussian_exact")
        size = channels * height * width
        self.assume(torch.zeros(size), torch.eye(size))

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Mean and maximum-likelihood covariance of the training split, float64.

        Raises:
            InvalidInput: `field` is set and the data are no Gaussian field.
        """
        if self.field:
            self.assume(*_field_moments(data))
            return
        spec = data.spec()
        images = torch.from_numpy(data.split("train", ctx).inputs)
        n, size = len(images), images[0].numel()
        total, squares = torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
        for part in images.split(4096):
            rows = centred(part.flatten(1).double(), spec)
            total += rows.sum(0)
            squares += rows.T @ rows
        mean = total / n
        self.assume(mean, squares / n - torch.outer(mean, mean))

    def assume(self, mean: Tensor, covariance: Tensor) -> None:
        """Take these moments of images scaled to [-1, 1], (D,) and (D, D).

        Raises:
            InvalidInput: The shapes disagree, or the covariance is not symmetric and positive semidefinite.
        """
        mean, covariance = mean.double().cpu(), covariance.double().cpu()
        if covariance.shape != (len(mean), len(mean)) or not torch.allclose(covariance, covariance.T):
            raise InvalidInput(
                f"gaussian_exact: a mean of shape {tuple(mean.shape)} needs a symmetric ({len(mean)}, {len(mean)}) "
                f"covariance, but got shape {tuple(covariance.shape)}"
            )
        values, vectors = torch.linalg.eigh(covariance)
        if float(values[0]) < -1e-9 * max(float(values[-1]), 1e-300):
            raise InvalidInput(
                f"gaussian_exact: the covariance has the eigenvalue {float(values[0]):.3g}; write a semidefinite one"
            )
        self.mean, self.values, self.vectors = mean, values.clamp(min=0), vectors
        self._moved = {}

    def state(self) -> Mapping[str, Tensor]:
        """Mean, eigenvalues and eigenvectors of the covariance, float64."""
        return {"mean": self.mean, "values": self.values, "vectors": self.vectors}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over the moments."""
        self.mean, self.values, self.vectors = state["mean"], state["values"], state["vectors"]
        self._moved = {}

    def eps(self, x: Tensor, t: Tensor) -> Tensor:
        """The expected noise in x (B, C, L, L), scaled to [-1, 1], at times t (B,); float64 inside, the dtype of x."""
        mean, values, vectors = self._on(x.device)
        time = t.double()
        c, std = self.schedule.mean(time)[:, None], self.schedule.std(time)[:, None]
        rows = (x.flatten(1).double() - c * mean) @ vectors
        noise = (std * rows / (c.square() * values + std.square())) @ vectors.T
        return noise.reshape(x.shape).to(x.dtype)

    def features(self, x: Tensor, t: Tensor) -> list[Tensor]:
        """None.

        Raises:
            NotApplicable: Always.
        """
        raise NotApplicable("gaussian_exact has no network, so no features; write a distance of pixels, or use: diffusion_unet")

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        if device not in self._moved:
            self._moved[device] = (self.mean.to(device), self.values.to(device), self.vectors.to(device))
        return self._moved[device]


def _field_moments(data: Dataset) -> tuple[Tensor, Tensor]:
    """Exact moments of the Gaussian field in images scaled to [-1, 1]."""
    from lipbench_basics.datasets.gaussfield import GaussField, image_moments

    if not isinstance(data, GaussField):
        raise InvalidInput(f"gaussian_exact: {type(data).__name__} is no Gaussian field of known moments; write field: false")
    mean, covariance = image_moments(data.size, data.scale, data.kind)
    spec = data.spec()
    return centred(torch.from_numpy(mean), spec), torch.from_numpy(covariance) * (2 / (spec.high - spec.low)) ** 2
