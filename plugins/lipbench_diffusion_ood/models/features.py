# SPDX-License-Identifier: Apache-2.0
"""Feature networks that see no label: one that learned to recognise rotations, one with random weights."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from lipbench.api import Context, Dataset, DataSpec, stable_seed

from .fitting import ImageBackbone

Channels = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
CHANNELS = (32, 64, 128)
SYMMETRIES = 8


class ConvTrunk(nn.Module):
    """3x3 convolutions with ReLU, the first of stride 1 and each later one of stride 2, on images in [0, 1].

    Args:
        colours: Channels of the images.
        channels: Channels of each stage.
        generator: Draws the weights (He's normal initialisation); the biases are 0.
        norm: Normalise each convolution over the batch while training. The moments that it learns are then fixed, so the
            features keep the contrast of an image, and those of one image never depend on another.
    """

    def __init__(self, colours: int, channels: tuple[int, ...], generator: torch.Generator, norm: bool) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        before = colours
        for k, after in enumerate(channels):
            conv = nn.utils.skip_init(nn.Conv2d, before, after, 3, stride=2 if k else 1, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(conv.bias)
            self.stages.append(nn.Sequential(conv, nn.BatchNorm2d(after) if norm else nn.Identity(), nn.ReLU()))
            before = after

    def stages_of(self, x: Tensor) -> list[Tensor]:
        """What each stage gives for images (B, C, L, L) in [0, 1]."""
        found, x = [], 2 * x - 1
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """The last stage averaged over places, (B, channels of the last stage)."""
        return self.stages_of(x)[-1].mean((2, 3))


def random_trunk(colours: int, seed: int, channels: tuple[int, ...] = CHANNELS) -> ConvTrunk:
    """Convolutions with random weights that hang on the seed of the suite alone, whoever asks: the same in every cell."""
    seeded = torch.Generator().manual_seed(stable_seed("random features", colours, channels, seed) % 2**63)
    return ConvTrunk(colours, tuple(channels), seeded, norm=False).eval()


def symmetry(x: Tensor, k: int) -> Tensor:
    """The k-th of the eight symmetries of the square applied to images (..., L, L): k % 4 quarter turns, then a flip for k > 3."""
    turned = torch.rot90(x, k % 4, (-2, -1))
    return turned.flip(-1) if k >= 4 else turned


class FeatureNet(ImageBackbone):
    """Convolutions whose activations serve distances, and whose mean over places is an embedding."""

    channels: tuple[int, ...]

    def features(self, x: Tensor) -> list[Tensor]:
        """Activations (B, c_k, h_k, w_k) of each stage for images (B, C, L, L) in [0, 1], where the module is."""
        return self._trunk().stages_of(self.place(x))

    def embedding(self, x: Tensor) -> Tensor:
        """The last stage averaged over places, (B, d), for images (B, C, L, L) in [0, 1], where the module is."""
        pooled: Tensor = self._trunk()(self.place(x))
        return pooled

    def _trunk(self) -> ConvTrunk:
        trunk = self.module.get_submodule("trunk")
        assert isinstance(trunk, ConvTrunk)  # noqa: S101  (made below; says it to the type checker)
        return trunk


class SelfSupervised(FeatureNet):
    """Convolutions trained without labels to tell which of the eight rotations and flips an image went through.

    Each step draws a batch of in-domain images and one symmetry of the square for each; the network learns by Adam to name
    it. What it learns of an image are edges, strokes and their arrangement. A step costs one forward and one backward of
    `batch_size` images.

    Args:
        steps: Steps of Adam; 0 keeps the random initial weights.
        batch_size: Images in one step.
        lr: Learning rate of Adam.
        channels: Channels of each stage; every stage but the first halves the resolution.

    Source: S. Gidaris, P. Singh, N. Komodakis, Unsupervised representation learning by predicting image rotations, ICLR 2018;
    for detection D. Hendrycks et al., Using self-supervised learning can improve model robustness and uncertainty, NeurIPS
    2019. Flips are added to the rotations.
    """

    fitted = True

    def __init__(
        self,
        *,
        steps: Annotated[int, Field(ge=0)] = 600,
        batch_size: Annotated[int, Field(ge=2)] = 64,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-3,
        channels: Channels = CHANNELS,
    ) -> None:
        super().__init__(steps=steps, batch_size=batch_size, lr=lr)
        self.channels = tuple(channels)

    def make(self) -> nn.Module:
        """`trunk`, and `head` with eight outputs."""
        trunk = ConvTrunk(self.shape[0], self.channels, torch.default_generator, norm=True)
        return nn.ModuleDict({"trunk": trunk, "head": nn.Linear(self.channels[-1], SYMMETRIES)})

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Learn on the training split; the log gets how many symmetries it tells.

        Raises:
            NotFinite: The training diverged.
        """
        draw = ctx.generator("symmetries")

        def loss(batch: Tensor) -> Tensor:
            # Sorted, so that each symmetry is one slice of the batch; which images it meets is random all the same.
            answers = torch.randint(SYMMETRIES, (len(batch),), generator=draw).sort().values.to(batch.device)
            turned = torch.cat([symmetry(batch[answers == k], k) for k in range(SYMMETRIES)])
            return nn.functional.cross_entropy(self._answers(turned), answers)

        images = self.images(data, ctx)
        self.minimise(loss, images, ctx)
        ctx.log(f"{self.told(images[:256].cpu()):.3f} of the symmetries of 256 training images told (chance 0.125)")

    @torch.inference_mode()
    def told(self, x: Tensor) -> float:
        """Share of the eight symmetries of images (n, C, L, L) in [0, 1] that the network tells."""
        return sum(float((self._answers(symmetry(x, k)).argmax(1) == k).float().mean()) for k in range(SYMMETRIES)) / SYMMETRIES

    def _answers(self, x: Tensor) -> Tensor:
        answers: Tensor = self.module.get_submodule("head")(self.embedding(x))
        return answers


class RandomFeatures(FeatureNet):
    """The same convolutions with random weights that nothing trained: the control of `self_supervised`.

    The weights hang on the seed of the suite alone, so that they are the same in every cell.

    Args:
        channels: Channels of each stage; every stage but the first halves the resolution.
    """

    fitted = False

    def __init__(self, *, channels: Channels = CHANNELS) -> None:
        super().__init__(steps=0, batch_size=1, lr=1.0)
        self.channels = tuple(channels)

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Draw the weights."""
        self._seed = ctx.seed
        super().build(spec, ctx)

    def make(self) -> nn.Module:
        """`trunk`."""
        return nn.ModuleDict({"trunk": random_trunk(self.shape[0], self._seed, self.channels)})
