# SPDX-License-Identifier: Apache-2.0
"""A U-Net that predicts the noise in an image, trained on in-domain images without labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from lipbench_basics.networks.layers import initial_weights
from pydantic import Field
from torch import Tensor, nn

from lipbench.api import Context, Dataset, DataSpec

from ..base import Denoiser
from ..schedules import DiscreteLinear, Process, make_schedule
from .network import padded, unet
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
        precision: Of the network inside; `bfloat16` by autocast, for GPUs. What comes in and goes out stays float32, scores
            change in their last digits.
        compiled: Compile the network with `torch.compile` at its first evaluation, for long runs on a GPU; that takes about a
            minute, and a C++ compiler.

    Source: J. Ho, A. Jain, P. Abbeel, Denoising Diffusion Probabilistic Models, NeurIPS 2020; Y. Song et al., Score-Based
    Generative Modeling through Stochastic Differential Equations, ICLR 2021. The network is `UNet2DModel` of diffusers.
    """

    module: nn.Module
    """The network after `build`, with the averaged weights after `fit`."""

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
        precision: Literal["float32", "bfloat16"] = "float32",
        compiled: bool = False,
    ) -> None:
        self.channels, self.layers, self.attention = tuple(channels), layers, attention
        self.process, self.dropout = process, dropout
        self.precision, self.compiled = precision, compiled
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
        self._quick: tuple[nn.Module, Callable[..., Any]] | None = None

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """Make the network with diffusers' initial weights.

        Raises:
            InvalidInput: The data are no images, or diffusers is not installed.
        """
        colours, *sides = image_shape(spec, "diffusion_unet")
        with initial_weights(ctx):
            self.module = unet(
                "diffusion_unet",
                sides,
                colours,
                colours,
                channels=self.channels,
                layers=self.layers,
                attention=self.attention,
                dropout=self.dropout,
            ).eval()

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Train on the training split.

        Raises:
            NotFinite: The loss diverges.
        """
        trainer = Trainer(self._predict, self.module.to(ctx.device), make_schedule(self.process), self.recipe)
        self.loss_curve = trainer.run(data, ctx)  # the mean over each 20 steps
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
        h = net.conv_in(padded(self._scaled(x, t), len(self.channels)))
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
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            noise: Tensor = self._network()(padded(self._scaled(x, t), len(self.channels)), 999 * t.float(), return_dict=False)[
                0
            ]
        return noise[..., :height, :width].to(x.dtype)

    def _network(self) -> Callable[..., Any]:
        if not self.compiled:
            return self.module
        # It shares the module's weights, so a state that is loaded later is the one that it computes with.
        if self._quick is None or self._quick[0] is not self.module:
            self._quick = self.module, torch.compile(self.module, dynamic=True)
        return self._quick[1]

    def _scaled(self, x: Tensor, t: Tensor) -> Tensor:
        if self.process != "ve":
            return x.float()
        return x.float() / (1 + self.schedule.std(t.float()).square()).sqrt()[:, None, None, None]
