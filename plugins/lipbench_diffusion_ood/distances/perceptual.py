# SPDX-License-Identifier: Apache-2.0
"""Distances between normalised features of networks that know the in-domain images, or nothing at all."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lipbench.api import Context, InvalidInput

from ..base import Backbone, Denoiser
from ..models.autoencoder import Autoencoder
from ..models.features import ConvTrunk, SelfSupervised, random_trunk
from .pairs import Measure, PairDistance

# Inside the square root, so that the gradient at a feature vector of zeros is finite; its root is the 1e-10 of LPIPS.
_EPS = 1e-20
TIME = 0.05
"""Time of the diffusion at which features of a denoiser are read: little noise, so that details count."""

Layers = Callable[[Tensor], Sequence[Tensor]]
"""(B, C, L, L) images in [0, 1] -> activations (B, c_k, h_k, w_k)."""


def unit(features: Tensor) -> Tensor:
    """Features (B, c, h, w) with norm 1 over the channels at each place; zeros stay zeros, with a finite gradient."""
    return features / (features.square().sum(1, keepdim=True) + _EPS).sqrt()


def perceptual_distance(x: Sequence[Tensor], y: Sequence[Tensor], heads: Sequence[Tensor] | None = None) -> Tensor:
    """The formula of LPIPS on given activations; differentiable.

    Unit-normalise over channels, square the difference, weight the channels, sum them, average over places. With heads the
    layers are summed, as in LPIPS; without, every channel has weight 1 and the layers are averaged, so that the distance is
    at most 4, and at most 2 for activations that are not negative.

    Args:
        x: Activations (B, c_k, h_k, w_k).
        y: The same shapes, or with one that broadcasts with B.
        heads: (c_k,) weights of the channels of each layer.

    Returns:
        (B,) float64.

    Source: R. Zhang et al., The unreasonable effectiveness of deep features as a perceptual metric, CVPR 2018, eq. 1.
    """
    total = torch.zeros((), dtype=torch.float64, device=x[0].device)
    for k, (a, b) in enumerate(zip(x, y, strict=True)):
        squares = (unit(a) - unit(b)).square()
        weighted = squares if heads is None else squares * heads[k][:, None, None]
        total = total + weighted.sum(1).double().mean((1, 2))
    return total / len(x) if heads is None else total


def measure_with(layers: Layers, heads: Sequence[Tensor] | None = None) -> Measure:
    """Originals and reconstructions go through the network together, so that each is evaluated once."""

    def measure(x: Tensor, ys: Tensor) -> Tensor:
        r, b = ys.shape[:2]
        found = [f.unflatten(0, (r + 1, b)) for f in layers(torch.cat([x[None], ys]).flatten(0, 1))]
        originals = [f[0] for f in found]
        return torch.stack([perceptual_distance(originals, [f[k] for f in found], heads) for k in range(1, r + 1)])

    return measure


class Perceptual(PairDistance):
    """The formula of LPIPS with equal weights, on the activations that a subclass names."""

    @abstractmethod
    def layers(self, x: Tensor, backbone: Backbone | None, ctx: Context) -> Layers:
        """The network for images of the shape of x.

        Raises:
            InvalidInput: The backbone is of another kind.
        """

    def prepare(self, x: Tensor, backbone: Backbone | None, ctx: Context) -> Measure:
        """Check the backbone."""
        return measure_with(self.layers(x, backbone, ctx))


def denoiser_layers(denoiser: Denoiser) -> Layers:
    """Encoder activations of a diffusion model at `TIME`; the images are scaled to [-1, 1] and get no noise."""

    def layers(x: Tensor) -> Sequence[Tensor]:
        return denoiser.features(2 * x - 1, torch.full((len(x),), TIME, dtype=x.dtype, device=x.device))

    return layers


class PerceptualDenoiser(Perceptual):
    """The formula of LPIPS, every channel with weight 1, on the encoder of the diffusion model itself at time 0.05.

    The images are fed in without noise, so the distance has no randomness. It needs no further training, and shares the
    blind spots of the diffusion model. Cost: one evaluation of the encoder for an image and one for each reconstruction.
    """

    encodes = True

    def layers(self, x: Tensor, backbone: Backbone | None, ctx: Context) -> Layers:
        """The encoder of the diffusion model."""
        if not isinstance(backbone, Denoiser):
            raise InvalidInput(f"perc_unet reads a diffusion model, found {_kind(backbone)}; write mse, ssim or perc_rand")
        return denoiser_layers(backbone)


class PerceptualAutoencoder(Perceptual):
    """The formula of LPIPS, every channel with weight 1, on the encoder of an autoencoder fitted on in-domain images."""

    def layers(self, x: Tensor, backbone: Backbone | None, ctx: Context) -> Layers:
        """The encoder's layers, which the backbone gives by `features(x)`."""
        if not isinstance(backbone, Autoencoder):
            raise InvalidInput(f"perc_ae reads the backbone autoencoder, found {_kind(backbone)}; write perc_unet or mse")
        return backbone.to(ctx.device).features


class PerceptualSelfSupervised(Perceptual):
    """The formula of LPIPS, every channel with weight 1, on a network that learned to tell rotations of in-domain images."""

    def layers(self, x: Tensor, backbone: Backbone | None, ctx: Context) -> Layers:
        """The stages of the network."""
        if not isinstance(backbone, SelfSupervised):
            raise InvalidInput(f"perc_ssl reads the backbone self_supervised, found {_kind(backbone)}; write perc_unet or mse")
        return backbone.to(ctx.device).features


class PerceptualRandom(Perceptual):
    """The formula of LPIPS, every channel with weight 1, on convolutions with seeded random weights that nothing trained.

    The control that shows how much learning adds to the others. The weights hang on the seed of the suite alone, so that they
    are the same in every cell.
    """

    def layers(self, x: Tensor, backbone: Backbone | None, ctx: Context) -> Layers:
        """Three convolutions, as deep as `self_supervised`; any backbone, or none."""
        trunk: ConvTrunk = random_trunk(x.shape[1], ctx.seed).to(ctx.device)
        return trunk.stages_of


def _kind(backbone: Backbone | None) -> str:
    return "none" if backbone is None else type(backbone).__name__
