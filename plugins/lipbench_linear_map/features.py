# SPDX-License-Identifier: Apache-2.0
"""What of an embedding the map and the detector see: itself, or its Fourier spectrum over the index of the unit."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from lipbench.api import Method


class Feature(Method):
    """A function of each embedding alone, (n, d) -> (n, d') in the same precision, differentiable."""

    @abstractmethod
    def __call__(self, z: Tensor) -> Tensor:
        """Features of the rows."""


class Embedding(Feature):
    """The embedding as it is."""

    def __call__(self, z: Tensor) -> Tensor:
        """(n, d) -> (n, d)."""
        return z


class MagnitudeSpectrum(Feature):
    """|F_k| of the real Fourier transform over the index of the unit, d // 2 + 1 columns; the gradient where it is 0 is 0.

    The order of units means nothing, and another order gives another spectrum.

    Source: P. Harder et al., SpectralDefense, IJCNN 2021, who transform images and feature maps in two dimensions.
    """

    def __call__(self, z: Tensor) -> Tensor:
        """(n, d) -> (n, d // 2 + 1)."""
        return torch.fft.rfft(z).abs()


class PhaseSpectrum(Feature):
    """The angle of F_k in (-pi, pi], d // 2 + 1 columns.

    A linear map of angles is ill posed where they wrap. Where F_k is 0 the angle is 0 and so is its gradient; close to 0
    the gradient grows like 1 / |F_k|.

    Source: P. Harder et al., SpectralDefense, IJCNN 2021.
    """

    def __call__(self, z: Tensor) -> Tensor:
        """(n, d) -> (n, d // 2 + 1)."""
        return phases(z)


class PhaseCosSin(Feature):
    """Cosines, then sines of the angles of F_k: the phase without its wrap; 2 (d // 2 + 1) columns.

    The sine of F_0, and of the last F_k for an even d, is always 0.
    """

    def __call__(self, z: Tensor) -> Tensor:
        """(n, d) -> (n, 2 (d // 2 + 1))."""
        angle = phases(z)
        return torch.cat([angle.cos(), angle.sin()], dim=1)


def phases(z: Tensor) -> Tensor:
    """Angles of the real Fourier transform of rows (n, d), (n, d // 2 + 1)."""
    spectrum = torch.fft.rfft(z)
    # A negative number with imaginary part -0.0 would have the angle -pi: adding 0.0 makes it pi on every machine.
    return torch.atan2(spectrum.imag + 0.0, spectrum.real)
