# SPDX-License-Identifier: Apache-2.0
"""A U-Net that predicts the noise in an image, trained on in-domain images without labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from lipbench_basics.networks.layers import initial_weights
from pydantic import Field
from torch import Tensor, nn

from lipbench.api import Context, Dataset, DataSpec, InvalidInput

from ..base import Denoiser
from ..schedules import DiscreteLinear, Process, make_schedule
from .training import Recipe, Trainer, image_shape


class DiffusionUNet(Denoiser):
    """A diffusion model: the U-Net of DDPM, trained to predict the noise at every level; the averaged weights are kept.

    The network is asked at 999 t. Sides that cannot be halved often enough are padded with zeros and cropped. With
    `process: ve` inputs are divided by sqrt(1 + std^2), because their noise is up to 50. One evaluation is one forward. The
    network moves to the device of its inputs.

    The defaults suit 8x8 images (160,000 weights; about 3 MFLOP a forward and image); the published ones for 32x32 are
    channels [128, 256, 256, 256], layers 2, attention, dropout 0.1, lr 2e-4, ema 0.9999, a constant rate after 5000 steps of
    warm-up, and hundreds of thousands of steps.

    Args:
        channels: Channels of each level; each level after the first has half the height and width.
        layers: Residual blocks a level on the way down; one more on the way up.
        attention: Self-attention at the second level (16x16 of 32x32 images) and in the middle.
        process: Forward process: `ddpm` the chain of 1000 steps with linear variances, `vp`, `subvp` or `ve` in continuous time.
        steps: Steps of training.
        batch_size: Images in one step.
        lr: Largest learning rate of Adam.
        warmup: Share of the steps over which the rate rises from zero.
        decay: Let the rate fall to zero along half a cosine after that; false to keep it.
        ema: Decay of the average of weights over steps.
        dropout: Share of activations dropped in training.
        flips: Mirror every second training image left to right.

    Source: J. Ho, A. Jain, P. Abbeel, Denoising Diffusion Probabilistic Models, NeurIPS 2020; Y. Song et al., Score-Based
    Generative Modeling through Stochastic Differential Equations, ICLR 2021. The network is `UNet2DModel` of diffusers.
    """

    module: nn.Module
    """The network after `build`, with the averaged weights after `fit`."""
    loss_curve: Tensor
    """Mean loss over each 20 steps of training, in order; empty before."""

    def __init__(
        self,
        *,
        channels: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (16, 32),
        layers: Annotated[int, Field(ge=1)] = 1,
        attention: bool = False,
        process: Process = "ddpm",
        steps: Annotated[int, Field(ge=1)] = 1500,
        batch_size: Annotated[int, Field(ge=1)] = 128,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-3,
        warmup: Annotated[float, Field(ge=0, le=1)] = 0.1,
        decay: bool = True,
        ema: Annotated[float, Field(ge=0, lt=1)] = 0.995,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        flips: bool = False,
    ) -> None:
        self.channels, self.layers, self.attention = tuple(channels), layers, attention
        self.process, self.dropout = process, dropout
        self.schedule = make_schedule(process)
        self.recipe = Recipe(
            steps=steps,
            batch_size=batch_size,
            lr=lr,
            warmup=warmup,
            decay=decay,
            ema=ema,
            flips=flips,
            discrete=self.schedule.T if isinstance(self.schedule, DiscreteLinear) else None,
            dropout=dropout > 0,
        )
        self.loss_curve = torch.zeros(0)

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Make the network with diffusers' initial weights.

        Raises:
            InvalidInput: The data are no images, or diffusers is not installed.
        """
        self.module = self._make(image_shape(spec, "diffusion_unet"), ctx).eval()

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Train on the training split.

        Raises:
            NotFinite: The loss diverges.
        """
        trainer = Trainer(self._predict, self.module.to(ctx.device), make_schedule(self.process), self.recipe)
        self.loss_curve = trainer.run(data, ctx)
        self.module = self.module.cpu()
        ctx.log(f"diffusion_unet: loss {float(self.loss_curve[-5:].mean()):.4f} over the last steps; predicting zero has 1")

    def state(self) -> Mapping[str, Tensor]:
        """The averaged weights and the loss curve."""
        return {"loss_curve": self.loss_curve} | {f"net.{name}": tensor for name, tensor in self.module.state_dict().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over weights and loss curve."""
        self.loss_curve = state["loss_curve"]
        self.module.load_state_dict({name[4:]: tensor for name, tensor in state.items() if name.startswith("net.")})
        self.module.eval()

    def eps(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise in x (B, C, L, L), scaled to [-1, 1], at times t (B,) in (0, 1]; float32 inside, the dtype of x."""
        self._to(x.device)
        return self._predict(x, t)

    def features(self, x: Tensor, t: Tensor) -> list[Tensor]:
        """Outputs of the first convolution, of each level on the way down and of the middle, (B, c_k, h_k, w_k) float32.

        Costs less than half of `eps`. Of padded images the padding is part of the activations.
        """
        self._to(x.device)
        net: Any = self.module
        time = net.time_embedding(net.time_proj(999 * t.float()))
        h = net.conv_in(self._padded(self._scaled(x, t)))
        found = [h]
        for level in net.down_blocks:
            h, _ = level(hidden_states=h, temb=time)
            found.append(h)
        return [*found, net.mid_block(h, time)]

    def _to(self, device: torch.device) -> None:
        if next(self.module.parameters()).device != device:
            self.module.to(device)

    def _predict(self, x: Tensor, t: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        noise: Tensor = self.module(self._padded(self._scaled(x, t)), 999 * t.float(), return_dict=False)[0]
        return noise[..., :height, :width].to(x.dtype)

    def _scaled(self, x: Tensor, t: Tensor) -> Tensor:
        if self.process != "ve":
            return x.float()
        return x.float() / (1 + self.schedule.std(t.float()).square()).sqrt()[:, None, None, None]

    def _padded(self, x: Tensor) -> Tensor:
        step = 2 ** (len(self.channels) - 1)
        right, below = -x.shape[-1] % step, -x.shape[-2] % step
        return nn.functional.pad(x, (0, right, 0, below)) if right or below else x

    def _make(self, shape: tuple[int, int, int], ctx: Context) -> nn.Module:
        try:
            from diffusers import UNet2DModel
        except ImportError as error:
            raise InvalidInput("diffusion_unet needs the package diffusers: pip install 'lipbench[diffusion]'") from error
        attended = [self.attention and level == 1 for level in range(len(self.channels))]
        common = math.gcd(*self.channels)
        with initial_weights(ctx):
            net: Any = UNet2DModel(
                sample_size=shape[1:],
                in_channels=shape[0],
                out_channels=shape[0],
                block_out_channels=self.channels,
                layers_per_block=self.layers,
                down_block_types=tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attended),
                up_block_types=tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attended)),
                add_attention=self.attention,
                attention_head_dim=common,
                norm_num_groups=_groups(common),
                dropout=self.dropout,
            )
        return net


def _groups(channels: int) -> int:
    """Groups of the normalisation: the largest divisor that leaves four channels a group, 32 at most."""
    most = max(1, min(32, channels // 4))
    return max(g for g in range(1, most + 1) if channels % g == 0)
