# SPDX-License-Identifier: Apache-2.0
"""Dense networks that are 1-Lipschitz by construction, and the same shape without constraint."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import nn

from lipbench.api import DataSpec

from ..layers import Activation, Init, Norm, activation, dense
from ..losses import Loss
from ..training import Recipe, Sampling
from .base import TrainedNetwork, check, share


class LipMLP(TrainedNetwork):
    """Flatten, then constrained linear layers with a 1-Lipschitz activation between them.

    One output is positive for class 0. The last layer is divided by its Frobenius norm where there is one output, which is then
    its spectral norm.

    Args:
        hidden: Widths of the hidden layers.
        act: `fullsort` sorts a layer, `groupsort2` pairs; `crelu` (relu(x), relu(-x)), which doubles the width; `prelu` with
            slopes within [-1, 1]; `relu`; `identity`.
        norm: What is done to kernels: `torchlip` the layers of deel-torchlip; `bjorck` power iteration and Bjorck iteration as in
            deel-lip 1.0.0; `spectral` power iteration alone; `frobenius`; `none` nothing, the baseline of the same shape.
        niter_spectral: Power iterations a step, for `bjorck` and `spectral`.
        niter_bjorck: Bjorck iterations a step, for `bjorck`.
        init: Initial kernels: `orthogonal`, or `uniform` in (0, 0.5) and then normalised, as deel-lip 1.0.0 does.
        k: Constant of the network; each of its N layers has k^(1/N).
        outputs: Number of outputs.
        loss: `kr`, `hinge`, `hkr` -KR + alpha hinge (deel-lip), `hkr_torchlip` alpha hinge - (1 - alpha) KR with half the margin
            (deel-torchlip), `hkr_multiclass` -KR/alpha + hinge (deel-lip 1.1), `hkr_multiclass_torchlip`, `cross_entropy`.
        alpha: See `loss`.
        margin: Of the hinge.
        steps: Steps of Adam.
        batch_size: Rows in one step.
        lr: Learning rate.
        weight_decay: Of Adam, for networks without constraint.
        sampling: `balanced` as many rows of each class in a batch, `shuffled` passes over the data, `whole` all rows each time.

    Source: M. Serrurier et al., Achieving robustness in classification using optimal transport with hinge regularization, CVPR
    2021, arXiv:2006.06520; C. Anil, J. Lucas, R. Grosse, Sorting out Lipschitz function approximation, ICML 2019.
    """

    def __init__(
        self,
        *,
        hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64, 32),
        act: Activation = "fullsort",
        norm: Norm = "torchlip",
        niter_spectral: Annotated[int, Field(ge=1)] = 3,
        niter_bjorck: Annotated[int, Field(ge=0)] = 15,
        init: Init = "orthogonal",
        k: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
        outputs: Annotated[int, Field(ge=1)] = 1,
        loss: Loss = "hkr",
        alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0,
        margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
        steps: Annotated[int, Field(ge=0)] = 300,
        batch_size: Annotated[int, Field(ge=2)] = 256,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01,
        weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
        sampling: Sampling = "balanced",
    ) -> None:
        self.hidden, self.act, self.norm, self.k, self.outputs = tuple(hidden), act, norm, k, outputs
        self.init = init
        self.niter = (niter_spectral, niter_bjorck)
        self.recipe = Recipe.of(locals())
        check("lip_mlp", self.recipe, act, self.hidden, outputs)

    def constrain(self, spec: DataSpec) -> nn.Sequential:
        """The layers."""
        widths = (math.prod(spec.shape), *self.hidden, self.outputs)
        k, wider = share(self.k, len(widths) - 1), 2 if self.act == "crelu" else 1
        layers: list[nn.Module] = [nn.Flatten()]
        for i, (before, after) in enumerate(pairwise(widths)):
            inputs = before * (wider if i else 1)
            layers += [
                dense(inputs, after, self.norm, bias=True, k=k, niter=self.niter, init=self.init),
                activation(self.act),
            ]
        return nn.Sequential(*layers[:-1])
