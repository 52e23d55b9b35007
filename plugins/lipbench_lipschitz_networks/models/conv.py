# SPDX-License-Identifier: Apache-2.0
"""Convolutional networks that are meant to be 1-Lipschitz, in the shape of the source's example."""

from __future__ import annotations

import math
from typing import Annotated

from lipbench_basics.networks.layers import Rescale
from pydantic import Field
from torch import nn

from lipbench.api import DataSpec, InvalidInput

from ..constraints import ConvBound
from ..layers import Activation, Norm, Pool, activation, conv, dense, pooling
from ..losses import Loss
from ..training import Recipe, Sampling
from .base import TrainedNetwork, check


class LipConv(TrainedNetwork):
    """3x3 convolutions (stride 1, same size), each with an activation and pooling by 2, then dense layers; no biases.

    Args:
        channels: Of the convolutions.
        hidden: Widths of the dense layers before the last.
        act: Between layers, see `lip_mlp`.
        pool: `l2norm` norm of a window, `scaled_avg` twice its mean, `avg` its mean (constant 1/2), `max`.
        norm: What is done to kernels, see `lip_mlp`.
        conv_bound: What an orthonormalised kernel is multiplied by: `strict` 1/3; `deel` the source's factor, which is no bound;
            `power_iteration` one over the norm of the convolution, found by power iteration. deel-torchlip's layers are strict.
        mean: Inputs are standardised, (x - mean) / std; that factor is part of the network and of its constant.
        std: See above.
        niter_spectral: Power iterations a step.
        niter_bjorck: Bjorck iterations a step.
        outputs: Number of outputs; null for one a class.
        loss: See `lip_mlp`.
        alpha: See `loss`.
        margin: Of the hinge.
        steps: Steps of Adam.
        batch_size: Rows in one step.
        lr: Learning rate.
        weight_decay: Of Adam.
        sampling: See `lip_mlp`.

    Source: README of deel-lip 1.1; the factor in M. Serrurier et al., arXiv:2006.06520.
    """

    def __init__(
        self,
        *,
        channels: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (16, 32),
        hidden: tuple[Annotated[int, Field(ge=1)], ...] = (100,),
        act: Activation = "groupsort2",
        pool: Pool = "l2norm",
        norm: Norm = "torchlip",
        conv_bound: ConvBound = "strict",
        mean: Annotated[float, Field(allow_inf_nan=False)] = 0.0,
        std: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
        niter_spectral: Annotated[int, Field(ge=1)] = 3,
        niter_bjorck: Annotated[int, Field(ge=0)] = 15,
        outputs: Annotated[int, Field(ge=1)] | None = None,
        loss: Loss = "hkr_multiclass",
        alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0,
        margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5,
        steps: Annotated[int, Field(ge=0)] = 300,
        batch_size: Annotated[int, Field(ge=2)] = 256,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01,
        weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
        sampling: Sampling = "shuffled",
    ) -> None:
        if norm == "torchlip" and conv_bound != "strict":
            raise InvalidInput(f"lip_conv: conv_bound: {conv_bound} needs norm: bjorck, the layers of deel-torchlip are strict")
        self.channels, self.hidden, self.act, self.pool, self.norm = tuple(channels), tuple(hidden), act, pool, norm
        self.conv_bound, self.mean, self.std, self.outputs = conv_bound, mean, std, outputs
        self.niter = (niter_spectral, niter_bjorck)
        self.recipe = Recipe.of(locals())
        check("lip_conv", self.recipe, act, (*self.channels, *self.hidden), outputs)

    def constrain(self, spec: DataSpec) -> nn.Sequential:
        """The layers.

        Raises:
            InvalidInput: The data are no images, too small to be halved so often, or have no classes.
        """
        if len(spec.shape) != 3 or min(spec.shape[1:]) % 2 ** len(self.channels):
            raise InvalidInput(
                f"lip_conv halves images {len(self.channels)} times, so height and width must be multiples of "
                f"{2 ** len(self.channels)}; the data has shape {spec.shape}"
            )
        outputs = self.outputs or spec.classes
        if outputs is None:
            raise InvalidInput("lip_conv: the data has no classes, so write outputs: with the number of outputs")
        layers: list[nn.Module] = []
        if (self.mean, self.std) != (0.0, 1.0):
            layers.append(Rescale(1 / self.std, -self.mean / self.std))
        before, size, wider = spec.shape[0], (spec.shape[1], spec.shape[2]), 2 if self.act == "crelu" else 1
        for after in self.channels:
            layers += [
                conv(before, after, size, self.norm, self.conv_bound, bias=False, k=1.0, niter=self.niter),
                activation(self.act),
                pooling(self.pool),
            ]
            before, size = after * wider, (size[0] // 2, size[1] // 2)
        layers.append(nn.Flatten())
        features = before * math.prod(size)
        for after in self.hidden:
            layers += [dense(features, after, self.norm, bias=False, k=1.0, niter=self.niter), activation(self.act)]
            features = after * wider
        layers.append(dense(features, outputs, self.norm, bias=False, k=1.0, niter=self.niter))
        return nn.Sequential(*layers)
