# SPDX-License-Identifier: Apache-2.0
"""Small diffusion models and images for the tests of distances and detectors."""

from __future__ import annotations

import numpy as np
import torch
from lipbench_diffusion_ood.base import Denoiser
from lipbench_diffusion_ood.models.exact import GaussianExact
from lipbench_diffusion_ood.schedules import VP
from torch import Tensor, nn

from lipbench.api import Context, Dataset, DataSpec, Split

SIDE = 8
CTX = Context(scope="test", seed=0)


class ToyDenoiser(Denoiser):
    """Two seeded convolutions that nothing trained; it counts the images that it is given."""

    def __init__(self) -> None:
        self.schedule = VP()
        self.seen = 0

    def build(self, spec: DataSpec, ctx: Context) -> None:
        draw = torch.Generator().manual_seed(7)
        self.first, self.last = nn.Conv2d(spec.shape[0], 8, 3, padding=1), nn.Conv2d(8, spec.shape[0], 3, padding=1)
        for conv in (self.first, self.last):
            nn.init.normal_(conv.weight, std=0.3, generator=draw)
            nn.init.zeros_(conv.bias)
            conv.requires_grad_(False)

    def eps(self, x: Tensor, t: Tensor) -> Tensor:
        self.seen += len(x)
        return self.last(torch.tanh(self.first(x.float()) + t.float()[:, None, None, None])).to(x.dtype)

    def features(self, x: Tensor, t: Tensor) -> list[Tensor]:
        h = torch.relu(self.first(x.float()) + t.float()[:, None, None, None])
        return [h, nn.functional.avg_pool2d(h, 2)]


class Pictures(Dataset):
    """Given images, as training and test split."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.numpy()

    def spec(self) -> DataSpec:
        return DataSpec(shape=self.images.shape[1:], low=0.0, high=1.0)

    def load(self, split: str, ctx: Context) -> Split:
        return Split(inputs=self.images.astype(np.float32))


def toy_denoiser(channels: int = 1) -> ToyDenoiser:
    found = ToyDenoiser()
    found.build(DataSpec(shape=(channels, SIDE, SIDE), low=0.0, high=1.0), CTX)
    return found


def field_covariance() -> Tensor:
    """Covariance of an 8x8 Gaussian field, exp(-distance / 3) and a little noise."""
    at = torch.cartesian_prod(torch.arange(SIDE), torch.arange(SIDE)).double()
    return torch.exp(-torch.cdist(at, at) / 3) + 1e-6 * torch.eye(SIDE**2, dtype=torch.float64)


def field_denoiser(scale: float = 0.2) -> GaussianExact:
    """The exact model of that field times `scale`, in images scaled to [-1, 1]."""
    found = GaussianExact()
    found.build(DataSpec(shape=(1, SIDE, SIDE), low=0.0, high=1.0), CTX)
    found.assume(torch.zeros(SIDE**2), scale**2 * field_covariance())
    return found


def field_images(n: int, seed: int, scale: float = 0.2) -> Tensor:
    """(n, 1, 8, 8) float64 images of the field, moved to about [0, 1]."""
    draw = torch.Generator().manual_seed(seed)
    z = torch.randn(n, SIDE**2, generator=draw, dtype=torch.float64) @ torch.linalg.cholesky(field_covariance()).T
    return (scale * z.view(n, 1, SIDE, SIDE) + 1) / 2


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Share of the pairs in which the second scores higher, ties half."""
    from sklearn.metrics import roc_auc_score

    labels = np.r_[np.zeros(len(inside)), np.ones(len(outside))]
    return float(roc_auc_score(labels, torch.cat([inside, outside]).numpy()))
