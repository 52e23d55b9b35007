# SPDX-License-Identifier: Apache-2.0
"""Samples of a Gaussian field on a grid, for which scores and reconstructions are known in closed form."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, Split, stable_seed

from .files import check_split

MEAN = 0.5
"""Mean of every pixel of an image."""
SD = 1 / 16
"""Standard deviation of every pixel at scale 1, so that [0, 1] is 8 standard deviations each way."""
LENGTH = 3.0
"""Pixels over which the correlation falls to 1/e."""
NUGGET = 1e-6
"""Variance of the white noise added to the field, which keeps its covariance well conditioned."""


def field_covariance(size: int) -> np.ndarray:
    """Covariance of the field of unit variance, pixels in row order: (size^2, size^2) float64.

    S_ij = exp(-|i - j| / 3) + 1e-6 [i = j], with the Euclidean distance of pixels i and j in pixels.
    """
    from scipy.spatial.distance import cdist

    places = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float64)
    return np.exp(-cdist(places, places) / LENGTH) + NUGGET * np.eye(size * size)


def image_moments(size: int, scale: float = 1.0, kind: Literal["field", "white"] = "field") -> tuple[np.ndarray, np.ndarray]:
    """Mean (size^2,) and covariance (size^2, size^2) of the images of `GaussField`, float64, in their [0, 1] unit."""
    covariance = field_covariance(size) if kind == "field" else np.eye(size * size)
    return np.full(size * size, MEAN), (SD * scale) ** 2 * covariance


class GaussField(Dataset):
    """Grey images of a Gaussian field with correlation exp(-distance / 3 pixels), or of white noise.

    The field z has zero mean and unit variance; a pixel is 0.5 + scale z / 16. The range [0, 1] is thus 8 standard
    deviations each way at scale 1 (4 at scale 2), and the rare value beyond it is moved to its edge: at scale 1 one pixel in
    8e14, at scale 1.5 one in 1e7, at scale 2 one in 16,000. The exact mean and covariance are `image_moments`. There are no
    labels.

    The dataset is one fixed thing: it does not depend on the seed of the suite, larger splits begin with the smaller ones, and
    other kinds, sizes and scales are independent draws.

    Args:
        kind: `field` for the correlated field, `white` for independent pixels of the same variance.
        size: Height and width in pixels; the covariance has size^4 entries.
        scale: Factor c on the field: below 1 lower contrast, above 1 higher.
        train: Images in the training split.
        test: Images in the test split.
    """

    licence = "drawn, no licence needed"

    def __init__(
        self,
        *,
        kind: Literal["field", "white"] = "field",
        size: Annotated[int, Field(ge=2, le=32)] = 8,
        scale: Annotated[float, Field(gt=0, le=2)] = 1.0,
        train: Annotated[int, Field(ge=1)] = 4000,
        test: Annotated[int, Field(ge=1)] = 1000,
    ) -> None:
        self.kind, self.size, self.scale, self.counts = kind, size, float(scale), {"train": train, "test": test}

    def spec(self) -> DataSpec:
        """Grey images in [0, 1] without labels."""
        return DataSpec(shape=(1, self.size, self.size), low=0.0, high=1.0)

    def load(self, split: str, ctx: Context) -> Split:
        """Draw one split, the same for every seed."""
        check_split(split)
        n = self.size**2
        rng = np.random.default_rng(stable_seed("gaussfield", self.kind, self.size, self.scale, split))
        field = rng.standard_normal((self.counts[split], n))
        if self.kind == "field":
            # einsum, not BLAS: the order of its sums does not change with the threads or the number of rows.
            field = np.einsum("ij,kj->ik", field, np.linalg.cholesky(field_covariance(self.size)))
        images = np.clip(MEAN + SD * self.scale * field, 0, 1).astype(np.float32)
        return Split(inputs=images.reshape(-1, 1, self.size, self.size))
