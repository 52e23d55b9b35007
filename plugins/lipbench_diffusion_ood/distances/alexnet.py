# SPDX-License-Identifier: Apache-2.0
"""LPIPS with the trained AlexNet, read from files that the user names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from lipbench_basics.networks.exported import find_weights
from lipbench_basics.networks.statedict import load_into, read_state
from torch import Tensor, nn

from lipbench.api import Context, InvalidInput

from ..base import Backbone
from .pairs import Measure, PairDistance
from .perceptual import measure_with

WIDTHS = (64, 192, 384, 256, 256)
"""Channels after each ReLU."""
SMALLEST = 31
"""Pixels a side below which the second max pooling has nothing left."""
ENLARGED = 64
"""Pixels a side to which smaller images are enlarged."""
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class AlexNetFeatures(nn.Module):
    """The convolutions of AlexNet, numbered as in torchvision so that its state dict fits.

    Source: A. Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Activations after each of the five ReLU for RGB images (B, 3, L, L) in [0, 1], scaled as LPIPS scales them."""
        shift, scale = (torch.tensor(v, dtype=x.dtype, device=x.device)[:, None, None] for v in (_SHIFT, _SCALE))
        x, found = (2 * x - 1 - shift) / scale, []
        for layer in self.features:
            x = layer(x)
            found += [x] if isinstance(layer, nn.ReLU) else []
        return found


def rgb(x: Tensor) -> Tensor:
    """Images (B, 1 or 3, L, L) as AlexNet takes them: grey repeated to three channels, small ones enlarged by bicubic splines."""
    colours = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
    if min(x.shape[-2:]) >= SMALLEST:
        return colours
    large = nn.functional.interpolate(colours, size=(ENLARGED, ENLARGED), mode="bicubic", align_corners=False)
    return large.clamp(0, 1)  # cubic splines overshoot


class Lpips(PairDistance):
    """LPIPS v0.1 with AlexNet trained on ImageNet: learned weights of the channels, layers summed; at most 8.05.

    The weights are files of the user; without them nothing is measured and nothing is put in their place. Grey images are
    repeated to three channels. Images below 31 pixels a side are enlarged to 64 by bicubic interpolation; `label` says so.
    Note that ImageNet's labels trained AlexNet: a detector with this distance is unsupervised only up to its features.

    Args:
        trunk: State dict of torchvision's AlexNet, `alexnet-owt-7be5be79.pth` or the same as safetensors; absolute, from the
            working directory or from the data folder.
        heads: The five linear heads, `alex.pth` of the packages `lpips` or `torchmetrics` or the same as safetensors.
        sha256: First digits, at least eight, or all of the SHA-256 of the trunk; null to take the file as it is.

    Source: R. Zhang et al., The unreasonable effectiveness of deep features as a perceptual metric, CVPR 2018.
    """

    def __init__(self, *, trunk: str | None = None, heads: str | None = None, sha256: str | None = None) -> None:
        self.trunk, self.heads, self.sha256 = trunk, heads, sha256
        if sha256 is not None and (len(sha256) < 8 or set(sha256.lower()) - set("0123456789abcdef")):
            raise InvalidInput(f"lpips: sha256: {sha256!r} is no SHA-256; write at least eight of its hexadecimal digits")

    def files(self) -> Sequence[Path]:
        """Trunk and heads.

        Raises:
            InvalidInput: One of them is not named, or not there.
        """
        if self.trunk is None or self.heads is None:
            lacking = " and ".join(name for name in ("trunk:", "heads:") if getattr(self, name[:-1]) is None)
            raise InvalidInput(
                f"lpips has no {lacking.replace(':', '')}: weights were not supplied; write the paths of AlexNet's state dict (trunk:) and of the "
                "linear heads (heads:)"
            )
        return [find_weights(self.trunk), find_weights(self.heads)]

    @staticmethod
    def label(side: int) -> str:
        """What was computed for images of this many pixels a side, for a column of a table."""
        return "LPIPS (AlexNet v0.1)" + (f", {side} px enlarged to {ENLARGED}" if side < SMALLEST else "")

    def prepare(self, x: Tensor, backbone: Backbone | None, ctx: Context) -> Measure:
        """Read the weights; any backbone, or none.

        Raises:
            InvalidInput: The images are neither grey nor RGB, or a file is missing, damaged or another one.
        """
        if x.shape[1] not in (1, 3):
            raise InvalidInput(f"lpips compares grey or RGB images, found {x.shape[1]} channels; write distance: mse or ssim")
        network, heads = self.load()
        network.to(ctx.device)
        layers: Callable[[Tensor], list[Tensor]] = lambda images: network(rgb(images.float()))  # noqa: E731
        return measure_with(layers, [head.to(ctx.device) for head in heads])

    def load(self) -> tuple[AlexNetFeatures, list[Tensor]]:
        """The network in eval mode, and the (c_k,) weights of the channels of each layer.

        Raises:
            InvalidInput: A file is missing, damaged or another one.
        """
        trunk, heads = self.files()
        if self.sha256 is not None:
            digest = hashlib.sha256(trunk.read_bytes()).hexdigest()
            if not digest.startswith(self.sha256.lower()):
                raise InvalidInput(f"lpips: the SHA-256 of {trunk} is {digest}, not {self.sha256}...; get the right file")
        with torch.random.fork_rng(devices=[]):  # the initial weights, all overwritten, must not move anyone's random numbers
            network = AlexNetFeatures()
        load_into(network, trunk, unused=("classifier.",))
        return network.eval().requires_grad_(False), read_heads(heads)


def read_heads(file: Path) -> list[Tensor]:
    """The (c_k,) weights of the channels of the five layers.

    Raises:
        InvalidInput: The file does not hold `lin0` ... `lin4` of the right shapes, or one is negative or not finite.
    """
    state = read_state(file)
    found = []
    for k, width in enumerate(WIDTHS):
        name = f"lin{k}.model.1.weight"
        head = state.get(name)
        if head is None or head.shape != (1, width, 1, 1):
            what = "is missing" if head is None else f"has shape {tuple(head.shape)}"
            raise InvalidInput(f"{file} holds no heads of LPIPS for AlexNet: {name} {what}, it must be (1, {width}, 1, 1)")
        if not bool(torch.isfinite(head).all()) or bool((head < 0).any()):
            raise InvalidInput(f"{file}: {name} has a weight that is negative or not finite; get the file again")
        found.append(head.float().flatten())
    return found
