# SPDX-License-Identifier: Apache-2.0
"""Networks whose Lipschitz constants are known, to hold every estimator against."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput, Network

# How far below 1 the norm of an orthogonal layer is put: more than rounding its weights to float32 can add.
_ROUNDING = 3e-7


class Linear(Network):
    """One linear map with Gaussian weights, entries N(0, 1/inputs), and bias N(0, 1).

    K is the largest singular value of the weights (in l2), on every region; every estimator must find it.

    Args:
        outputs: Number of outputs.
        seed: Seed of the weights, whatever the seed of the suite.
    """

    def __init__(self, *, outputs: Annotated[int, Field(ge=1)] = 10, seed: Annotated[int, Field(ge=0)] = 0) -> None:
        self.outputs, self.seed = outputs, seed

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Draw the map for this number of inputs."""
        inputs, rng = math.prod(spec.shape), np.random.default_rng(self.seed)
        weight = rng.normal(size=(self.outputs, inputs)) / math.sqrt(inputs)
        return nn.Sequential(nn.Flatten(), _dense(weight, rng.normal(size=self.outputs)))


class Square(nn.Module):
    """x^2 for each coordinate."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, n) -> (B, n)."""
        return x * x


class Sine(nn.Module):
    """sin(10 x) for each coordinate."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, n) -> (B, n)."""
        return torch.sin(10 * x)


class Needle(nn.Module):
    """x + 0.01 max(0, 1 - |x - 0.3| / 0.001) for each coordinate: the identity with a steep tooth at 0.3."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, n) -> (B, n)."""
        return x + 0.01 * torch.relu(1 - (x - 0.3).abs() / 0.001)


_CURVES = {"square": Square, "sine": Sine, "needle": Needle}


class Scalar1d(Network):
    """A function of one variable whose constant is known.

    Args:
        name: `square`: x^2, K = 2 on [0, 1], approached and not attained. `sine`: sin(10 x), K = 10. `needle`: the identity
            but for a tooth of width 0.002 and height 0.01 at 0.3, K = 11; a line search from (0, 1) walks past it.
    """

    def __init__(self, *, name: Literal["square", "sine", "needle"] = "square") -> None:
        self.name = name

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """The curve, for data of one number a row."""
        _need_inputs(1, spec, "scalar1d")
        return nn.Sequential(nn.Flatten(), _CURVES[self.name]())


class RandomReLU(Network):
    """A ReLU network with He-normal weights, W = N(0, 2/inputs of the layer) and biases 0.5 N(0, 1).

    Drawn in float64 by `numpy.random.default_rng(seed)`, first the weights of all layers, then all biases, and stored in
    float32. With seed 1 on the box [-1, 1]^2 the constants (l2) are 2.090107 for sizes 2-8-2, 1.540327 for 2-16-2, 0.958382
    for 2-10-10-2 and 2.298018 for 2-12-12-12-3.

    Args:
        sizes: Inputs, widths of the hidden layers, outputs.
        seed: Seed of the weights, whatever the seed of the suite.
    """

    def __init__(
        self,
        *,
        sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=2)] = (2, 8, 2),
        seed: Annotated[int, Field(ge=0)] = 1,
    ) -> None:
        self.sizes, self.seed = tuple(sizes), seed

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Draw the layers; the data must have as many inputs as `sizes` says."""
        _need_inputs(self.sizes[0], spec, "random_relu")
        rng = np.random.default_rng(self.seed)
        weights = [rng.normal(size=(after, before)) * math.sqrt(2 / before) for before, after in pairwise(self.sizes)]
        biases = [0.5 * rng.normal(size=after) for after in self.sizes[1:]]
        layers: list[nn.Module] = [nn.Flatten()]
        for weight, bias in zip(weights, biases, strict=True):
            layers += [_dense(weight, bias), nn.ReLU()]
        return nn.Sequential(*layers[:-1])


class Staircase(nn.Module):
    """(x + offset) - offset for each coordinate."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        """(B, n) -> (B, n)."""
        return (x + self.offset) - self.offset


class FpStaircase(Network):
    """The identity, written so that rounding makes steps of it: (x + offset) - offset.

    In real arithmetic K = 1. In float32 with offset 1e4 the steps are 2^-10 wide, so the ratio of two points that straddle
    a step grows without bound as they come closer: the published line search from (0, 1) to a distance of 5e-5 ends at 32.
    A suite that reports that as certified is broken.

    Args:
        offset: What is added and taken away.
    """

    def __init__(self, *, offset: Annotated[float, Field(allow_inf_nan=False)] = 1e4) -> None:
        self.offset = offset

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """One staircase for each coordinate."""
        return nn.Sequential(nn.Flatten(), Staircase(self.offset))


class LipschitzMLP(Network):
    """1-Lipschitz by construction: orthogonal layers and GroupSort2, random and untrained, by deel-torchlip.

    K is at most 1 per [0,1] unit of the data (1/unit in raw units; the unit is part of the first layer). Each layer is
    orthonormalised by the library's spectral and Bjorck normalisation, exported to a plain linear layer, and scaled down by
    a few units of rounding, so that the bound holds for the stored numbers.

    Args:
        hidden: Widths of the hidden layers, even numbers because GroupSort2 sorts pairs.
        outputs: Number of outputs; null for one a class.

    Source: C. Anil, J. Lucas, R. Grosse, Sorting out Lipschitz function approximation, ICML 2019, arXiv:1811.05381; M.
    Serrurier et al., Achieving robustness in classification using optimal transport, CVPR 2021, arXiv:2006.06520.
    """

    def __init__(
        self,
        *,
        hidden: tuple[Annotated[int, Field(ge=2, multiple_of=2)], ...] = (64, 64),
        outputs: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        self.hidden, self.outputs = tuple(hidden), outputs

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Draw orthogonal layers by the seed of the suite.

        Raises:
            InvalidInput: deel-torchlip is missing, or the number of outputs is not known.
        """
        try:
            from deel import torchlip
        except ImportError as error:
            raise InvalidInput("lipschitz_mlp needs the package deel-torchlip: pip install 'lipbench[lipschitz]'") from error
        outputs = self.outputs or spec.classes
        if outputs is None:
            raise InvalidInput("lipschitz_mlp: the data has no classes, so write outputs: with the number of outputs")
        layers: list[nn.Module] = []
        with torch.random.fork_rng(devices=[]):  # the library draws from the global generator
            torch.default_generator.set_state(ctx.generator("init").get_state())
            for before, after in pairwise((math.prod(spec.shape), *self.hidden, outputs)):
                layers += [torchlip.SpectralLinear(before, after), torchlip.GroupSort2()]
            plain = torchlip.Sequential(*layers[:-1]).vanilla_export()
        for i, layer in enumerate(plain):
            if isinstance(layer, nn.Linear):
                _settle(layer, spec.unit if i == 0 else 1.0)
        return nn.Sequential(nn.Flatten(), *plain)


def _settle(layer: nn.Linear, unit: float) -> None:
    """Scale an orthonormalised layer so that its stored float32 weights have a norm of at most 1/unit, not a rounding above.

    Raises:
        InvalidInput: The library's normalisation did not converge.
    """
    with torch.no_grad():
        norm = torch.linalg.matrix_norm(layer.weight.double(), 2)
        if abs(float(norm) - 1) > 1e-5:
            raise InvalidInput(f"lipschitz_mlp: deel-torchlip gave a layer of norm {float(norm):.7f}, 1 is needed; update it")
        layer.weight.copy_(layer.weight.double() * ((1 - _ROUNDING) / (norm * unit)))


def _dense(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    """A linear layer with these weights, rounded to float32."""
    layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def _need_inputs(inputs: int, spec: DataSpec, who: str) -> None:
    """Refuse data with another number of inputs.

    Raises:
        InvalidInput: The numbers differ.
    """
    found = math.prod(spec.shape)
    if found != inputs:
        raise InvalidInput(f"{who} has {inputs} input{'s' if inputs > 1 else ''}, the data has {found} (shape {spec.shape})")
