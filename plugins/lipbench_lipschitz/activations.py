# SPDX-License-Identifier: Apache-2.0
"""How steep the usual activation functions are: the interval of their slopes, and the gain of those that mix neurons."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from lipbench.api import NotApplicable


@dataclass(frozen=True, kw_only=True)
class Activation:
    """A scalar function applied to each neuron."""

    name: str
    """Name of the function in `torch.nn.functional` or `torch`; `gelu_tanh` for GELU's tanh form."""
    low: float
    """No smaller slope occurs between any two inputs."""
    high: float
    """No larger slope occurs."""
    function: Callable[[Tensor], Tensor] | None = field(default=None, compare=False, repr=False)
    """The function itself, elementwise; None where the step was made by hand."""

    @property
    def lipschitz(self) -> float:
        """Its Lipschitz constant, the same in every norm."""
        return max(abs(self.low), abs(self.high))


Slopes = tuple[float, float]

# Extreme slopes of the smooth functions, found on nested grids and rounded outwards in the tenth digit; GELU(erf) by
# closed form at +-sqrt 2.
_GELU_ERF: Slopes = (-0.1289041452, 1.1289041452)
_GELU_TANH: Slopes = (-0.1289930687, 1.1289930687)
_SILU: Slopes = (-0.0998393202, 1.0998393202)
_MISH: Slopes = (-0.1125261224, 1.0884981613)
_SELU: Slopes = (0.0, 1.7580993409)


def _leaky_relu(negative_slope: float = 0.01) -> Slopes:
    return min(1.0, negative_slope), max(1.0, negative_slope)


def _prelu(weight: Tensor) -> Slopes:
    low, high = weight.detach().aminmax()
    return min(1.0, float(low)), max(1.0, float(high))


def _elu(alpha: float = 1.0) -> Slopes:
    return min(0.0, alpha), max(1.0, alpha)


def _celu(alpha: float = 1.0) -> Slopes:
    if alpha < 0:
        raise NotApplicable(f"celu with alpha {alpha:g} has unbounded slopes")
    return 0.0, 1.0


def _gelu(approximate: str = "none") -> Slopes:
    return _GELU_TANH if approximate == "tanh" else _GELU_ERF


def _unit(*_: object, **__: object) -> Slopes:
    return 0.0, 1.0


def _fixed(low: float, high: float) -> Callable[..., Slopes]:
    def slopes() -> Slopes:
        return low, high

    return slopes


def _softplus(beta: float = 1.0, threshold: float = 20.0) -> Slopes:
    # Torch switches to the identity at the threshold: a jump of log(1 + e^-threshold) / beta that no Lipschitz constant
    # survives. At the usual 20 it is 2e-9 and left out of account.
    if threshold < 20:
        raise NotApplicable(f"softplus with threshold {threshold:g} jumps where it turns into the identity; use 20 or more")
    return 0.0, 1.0


# By name of the function; the parameters are those of torch.
_SLOPES: Mapping[str, Callable[..., Slopes]] = {
    **dict.fromkeys(
        ("relu", "relu6", "tanh", "softsign", "tanhshrink", "logsigmoid", "log_sigmoid", "atan", "arctan"), _fixed(0, 1)
    ),
    **dict.fromkeys(("hardtanh", "clamp", "clamp_min", "clamp_max", "clip", "softshrink"), _unit),
    **dict.fromkeys(("sin", "cos", "abs"), _fixed(-1, 1)),
    "sigmoid": _fixed(0, 0.25),
    "hardsigmoid": _fixed(0, 1 / 6 + 2**-54),
    "hardswish": _fixed(-0.5, 1.5),
    "erf": _fixed(0, 2 / math.sqrt(math.pi) + 2**-51),
    "softplus": _softplus,
    "silu": _fixed(*_SILU),
    "mish": _fixed(*_MISH),
    "selu": _fixed(*_SELU),
    "gelu": _gelu,
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    "elu": _elu,
    "celu": _celu,
}
_MODULES: Mapping[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    nn.ReLU: ("relu", ()),
    nn.ReLU6: ("relu6", ()),
    nn.LeakyReLU: ("leaky_relu", ("negative_slope",)),
    nn.PReLU: ("prelu", ("weight",)),
    nn.ELU: ("elu", ("alpha",)),
    nn.CELU: ("celu", ("alpha",)),
    nn.SELU: ("selu", ()),
    nn.GELU: ("gelu", ("approximate",)),
    nn.SiLU: ("silu", ()),
    nn.Mish: ("mish", ()),
    nn.Tanh: ("tanh", ()),
    nn.Sigmoid: ("sigmoid", ()),
    nn.LogSigmoid: ("logsigmoid", ()),
    nn.Softplus: ("softplus", ("beta", "threshold")),
    nn.Softsign: ("softsign", ()),
    nn.Softshrink: ("softshrink", ("lambd",)),
    nn.Tanhshrink: ("tanhshrink", ()),
    nn.Hardtanh: ("hardtanh", ("min_val", "max_val")),
    nn.Hardsigmoid: ("hardsigmoid", ()),
    nn.Hardswish: ("hardswish", ()),
}


def known_class(module: nn.Module, table: Mapping[type[nn.Module], Any]) -> type[nn.Module] | None:
    """The class of a table whose `forward` this module really runs; one with a `forward` of its own is not known."""
    if "forward" in vars(module):
        return None
    forward = type(module).forward
    return next((c for c in type(module).__mro__ if c in table and c.forward is forward), None)  # type: ignore[attr-defined]


def activation_of(
    name: str, *args: Any, function: Callable[[Tensor], Tensor] | None = None, **kwargs: Any
) -> Activation | None:
    """The elementwise activation that a function of torch stands for.

    Args:
        name: Name of the function, such as `leaky_relu`.
        *args: Its positional arguments after the input.
        function: The function with its arguments bound, kept in the result.
        **kwargs: Its keyword arguments.

    Returns:
        The activation, or None where the name is not that of a known elementwise function.
    """
    name = name.removesuffix("_")
    rule = _SLOPES.get(name)
    if rule is None:
        return None
    kwargs.pop("inplace", None)
    taken = list(inspect.signature(rule).parameters.values())
    positional = args if any(p.kind is p.VAR_POSITIONAL for p in taken) else args[: len(taken)]
    low, high = rule(*positional, **kwargs)
    label = "gelu_tanh" if name == "gelu" and (low, high) == _GELU_TANH else name
    return Activation(name=label, low=float(low), high=float(high), function=function)


def activation_of_module(module: nn.Module) -> Activation | None:
    """The elementwise activation that a module of torch is, or None."""
    cls = known_class(module, _MODULES)
    if cls is None:
        return None
    name, attributes = _MODULES[cls]
    return activation_of(name, *(getattr(module, a) for a in attributes), function=module)


def softmax_gain(order: str) -> float:
    """Lipschitz constant of the softmax: its Jacobian diag(p) - p p^T has norm at most 1/2 in l1, l2 and linf."""
    return 0.5


def log_softmax_gain(size: int, order: str) -> float:
    """Lipschitz constant of the log-softmax of `size` logits, whose Jacobian is I - 1 p^T with p in the simplex.

    It is convex in p, so the largest norm is at a vertex: the oblique projection I - 1 e^T.
    """
    if size == 1:
        return 0.0
    return {"l2": math.sqrt(size), "l1": float(max(1, size - 1)), "linf": 2.0}[order]


def layer_norm_gain(weight: Tensor | None, eps: float, order: str) -> float:
    """Lipschitz constant of layer normalisation in l2: max |weight| / sqrt(eps), reached at constant inputs.

    Raises:
        NotApplicable: Another norm.
    """
    if order != "l2":
        raise NotApplicable(f"layer normalisation has a known constant in norm: l2 only, the task has norm: {order}")
    gain = 1.0 if weight is None else float(weight.detach().abs().max())
    return gain / math.sqrt(eps)


def sorting_gain(module: nn.Module) -> float | None:
    """Gain, the same in every norm, of deel-torchlip's sorting activations (GroupSort, MaxMin); None for other modules.

    Sorting permutes, and x -> (max(x, 0), max(-x, 0)) moves no more than x does.
    """
    names = {c.__name__ for c in type(module).__mro__ if c.__module__.startswith("deel.torchlip")}
    if not names & {"GroupSort", "MaxMin"}:
        return None
    return abs(float(getattr(module, "_coefficient_lip", 1.0)))
