# SPDX-License-Identifier: Apache-2.0
"""Layers, activations and pooling by name, and what each is worth as a bound."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lipbench.api import Context, InvalidInput, NotApplicable

from .constraints import ByOperator, ConvBound, Frobenius, Orthonormal, bjorck, conv_factor, power_iteration

Norm = Literal["torchlip", "bjorck", "spectral", "frobenius", "none"]
Activation = Literal["fullsort", "groupsort2", "crelu", "relu", "prelu", "identity"]
Init = Literal["orthogonal", "uniform"]
Pool = Literal["l2norm", "scaled_avg", "avg", "max"]
DENSE = 4096
"""Inputs up to which a convolution is written out to find its norm."""


def torchlip() -> Any:
    """The package deel-torchlip.

    Raises:
        InvalidInput: It is not installed.
    """
    try:
        from deel import torchlip as library
    except ImportError as error:
        raise InvalidInput("these networks need the package deel-torchlip: pip install 'lipbench[lipschitz]'") from error
    return library


@contextmanager
def seeded(ctx: Context, stream: str = "init") -> Iterator[None]:
    """Let the global generator, from which layers draw their weights, draw from `ctx`; afterwards it is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.set_state(ctx.generator(stream).get_state())
        yield


class L2NormPool2d(nn.Module):
    """The l2 norm of each window of k x k pixels, windows side by side: 1-Lipschitz.

    sqrt(sum x^2 + eps^2), because the plain norm has no gradient at 0.

    Args:
        kernel_size: k.
        eps: See above.
    """

    def __init__(self, kernel_size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.kernel_size, self.eps = kernel_size, eps

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, h, w) -> (B, c, h / k, w / k)."""
        return (F.avg_pool2d(x * x, self.kernel_size) * self.kernel_size**2 + self.eps**2).sqrt()


def activation(name: Activation) -> nn.Module:
    """A 1-Lipschitz activation; `crelu` is the `MaxMin` of deel-lip 1.0.0, which doubles the features."""
    if name in ("relu", "identity"):
        return nn.ReLU() if name == "relu" else nn.Identity()
    library = torchlip()
    made: nn.Module = {
        "fullsort": library.FullSort,
        "groupsort2": library.GroupSort2,
        "crelu": library.MaxMin,
        "prelu": library.LPReLU,
    }[name]()
    return made


def pooling(name: Pool, size: int = 2) -> nn.Module:
    """Pooling of windows side by side."""
    if name == "l2norm":
        return L2NormPool2d(size)
    if name == "scaled_avg":
        made: nn.Module = torchlip().ScaledAvgPool2d(size)
        return made
    return nn.MaxPool2d(size) if name == "max" else nn.AvgPool2d(size)


def dense(
    inputs: int, outputs: int, norm: Norm, *, bias: bool, k: float, niter: tuple[int, int], init: Init = "orthogonal"
) -> nn.Module:
    """A linear layer whose norm is at most k, or free where `norm` is `none`.

    Args:
        inputs: Features.
        outputs: Features.
        norm: `torchlip` deel-torchlip's own; `bjorck` power iteration and Bjorck; `spectral` power iteration alone; `frobenius`.
        bias: Whether it has one.
        k: Its constant.
        niter: Power iterations a step, Bjorck iterations.
        init: Initial kernel, where it is neither free nor of deel-torchlip: `orthogonal`, or `uniform` as in deel-lip 1.0.0.
    """
    if norm == "torchlip":
        library = torchlip()
        made: nn.Module = (
            library.FrobeniusLinear(inputs, outputs, bias=bias, k_coef_lip=k)
            if outputs == 1
            else library.SpectralLinear(inputs, outputs, bias=bias, k_coef_lip=k)
        )
        return made
    layer = nn.Linear(inputs, outputs, bias=bias)
    if norm != "none":
        _start(layer, init)
        parametrize.register_parametrization(layer, "weight", _constraint(layer.weight, norm, k, niter))
    return layer


def conv(
    inputs: int,
    outputs: int,
    size: tuple[int, int],
    norm: Norm,
    bound: ConvBound,
    *,
    bias: bool,
    k: float,
    niter: tuple[int, int],
) -> nn.Module:
    """A 3x3 convolution, stride 1, padded to the same size; see `conv_factor` for `bound`, `dense` for the rest."""
    if norm == "torchlip":
        made: nn.Module = torchlip().SpectralConv2d(inputs, outputs, 3, padding=1, bias=bias, k_coef_lip=k)
        return made
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
    if norm != "none":
        _start(layer, "orthogonal")
        by_operator = bound == "power_iteration"
        factor = 1.0 if by_operator else k * conv_factor(bound, 3, size)
        constraint = _constraint(layer.weight, norm, factor, niter)
        parametrize.register_parametrization(layer, "weight", constraint)
        if by_operator:
            parametrize.register_parametrization(layer, "weight", ByOperator(layer.weight, size, factor=k))
    return layer


@torch.no_grad()
def _start(layer: nn.Linear | nn.Conv2d, init: Init) -> None:
    if init == "orthogonal":
        nn.init.orthogonal_(layer.weight)
    else:
        # Uniform(0, 0.5), 10 power iterations, twice as many from a fresh vector, and 15 of Bjorck but for a single output.
        W = nn.init.uniform_(layer.weight, 0.0, 0.5).flatten(1)
        sigma, _ = power_iteration(W, torch.randn(len(W)), 20)
        layer.weight.copy_(bjorck(W / sigma, 15 if len(W) > 1 else 0).view_as(layer.weight))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _constraint(weight: Tensor, norm: Norm, factor: float, niter: tuple[int, int]) -> nn.Module:
    if norm == "frobenius" or weight.shape[0] == 1:
        return Frobenius(factor)
    rounds = niter[1] if norm == "bjorck" else 0
    return Orthonormal(weight, niter_spectral=niter[0], niter_bjorck=rounds, factor=factor)


def plain(module: nn.Sequential) -> nn.Sequential:
    """The same function in ordinary layers; constrained layers become `nn.Linear` and `nn.Conv2d` with their present weights.

    Args:
        module: In eval mode.
    """
    parts: list[nn.Module] = []
    for part in module:
        if hasattr(part, "vanilla_export") and not isinstance(part, nn.LPPool2d):
            exported: nn.Module = part.vanilla_export()  # type: ignore[operator]
        elif parametrize.is_parametrized(part, "weight"):
            exported = _copied(part)
        else:
            exported = part
        parts.append(exported)
    return nn.Sequential(*parts).eval()


def _copied(layer: nn.Module) -> nn.Module:
    assert isinstance(layer, nn.Linear | nn.Conv2d)  # noqa: S101  (no other layer is constrained)
    state = {"weight": layer.weight.detach().clone()}
    if layer.bias is not None:
        state["bias"] = layer.bias.detach().clone()
    made: nn.Module
    if isinstance(layer, nn.Conv2d):
        size = (layer.kernel_size[0], layer.kernel_size[1])
        made = nn.Conv2d(layer.in_channels, layer.out_channels, size, padding=layer.padding, bias="bias" in state)  # type: ignore[arg-type]
    else:
        made = nn.utils.skip_init(nn.Linear, layer.in_features, layer.out_features, bias="bias" in state)
    made.load_state_dict(state)
    return made


@torch.no_grad()
def layer_norm(part: nn.Module, shape: tuple[int, ...]) -> float:
    """The l2 Lipschitz constant of a layer of an exported network, in float64.

    Exact for linear layers and convolutions (written out as matrices); known constants for the rest.

    Args:
        part: The layer.
        shape: Of one input of it.

    Raises:
        NotApplicable: It is not known, or too large to be written out.
    """
    name = type(part).__name__
    if isinstance(part, nn.Linear):
        return float(torch.linalg.matrix_norm(part.weight.double(), 2))
    if isinstance(part, nn.Conv2d):
        return _conv_norm(part, shape)
    if isinstance(part, nn.MaxPool2d):
        k, s = int(part.kernel_size), int(part.stride)  # type: ignore[arg-type]
        return float(-(-k // s))
    if isinstance(part, nn.AvgPool2d | nn.AdaptiveAvgPool2d):
        return _average_norm(part, shape)
    if name == "Rescale":
        return abs(float(part.scale))  # type: ignore[arg-type]
    if isinstance(part, nn.ReLU | nn.Identity | nn.Flatten | L2NormPool2d) or name in _UNIT:
        return 1.0
    raise NotApplicable(f"the constant of the layer {name} is not known here; the suite of bounds reads more layers")


_UNIT = {"GroupSort", "GroupSort2", "FullSort", "MaxMin", "LPReLU", "LPPool2d", "ScaledL2NormPool2d", "ScaledGlobalAvg"}


def _conv_norm(part: nn.Conv2d, shape: tuple[int, ...]) -> float:
    n = math.prod(shape)
    if n > DENSE:
        raise NotApplicable(f"a convolution with {n} inputs is too large to be written out; at most {DENSE}")
    image = torch.eye(n, dtype=torch.float64).view(n, *shape)
    columns = F.conv2d(image, part.weight.double(), None, part.stride, part.padding, part.dilation, part.groups).flatten(1)
    gram = columns @ columns.mT
    return math.sqrt(max(0.0, float(torch.linalg.eigvalsh(gram)[-1])))


def _average_norm(part: nn.Module, shape: tuple[int, ...]) -> float:
    """Each channel is averaged alone, so one channel says it."""
    n = math.prod(shape[-2:])
    rows = part(torch.eye(n, dtype=torch.float64).view(n, 1, *shape[-2:])).flatten(1)
    return float(torch.linalg.matrix_norm(rows, 2))


@torch.no_grad()
def product_bound(module: nn.Sequential, shape: tuple[int, ...]) -> tuple[float, list[tuple[str, float]]]:
    """Upper bound on the l2 Lipschitz constant of an exported network, and its factors that are not 1."""
    x, total, factors = torch.zeros(1, *shape), 1.0, []
    for part in module:
        norm = layer_norm(part, tuple(x.shape[1:]))
        total *= norm
        if norm != 1.0:
            factors.append((type(part).__name__, norm))
        x = part(x)
    return total, factors
