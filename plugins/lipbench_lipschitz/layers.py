# SPDX-License-Identifier: Apache-2.0
"""Which operation of torch is which map: the tables behind the reading of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lipbench.api import NotApplicable

from .activations import (
    activation_of,
    activation_of_module,
    known_class,
    layer_norm_gain,
    log_softmax_gain,
    softmax_gain,
    sorting_gain,
)
from .operator_norms import Kernel
from .ops import Composed, Convolution, Diagonal, Gain, Join, Matrix, Nonnegative, Op, Sum

ORDERS = ("l2", "l1", "linf")


@dataclass(frozen=True)
class Slot:
    """Stands in the arguments of a call for the index-th value that depends on the input."""

    index: int


def substitute(tree: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of nested tuples, lists and dicts with every leaf changed."""
    if isinstance(tree, list):
        return [substitute(item, change) for item in tree]
    if type(tree) is tuple:
        return tuple(substitute(item, change) for item in tree)
    if isinstance(tree, dict):
        return {key: substitute(item, change) for key, item in tree.items()}
    return change(tree)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a traced network."""

    name: str
    target: Callable[..., Any]
    args: tuple[Any, ...]
    """Constants in float64, a `Slot` for each value that depends on the input."""
    kwargs: Mapping[str, Any]
    variables: tuple[Tensor, ...]
    """Zeros (1, *in) float64 for each slot."""

    def __call__(self, *values: Tensor) -> Any:
        """The call as a function of its variables."""

        def change(leaf: Any) -> Any:
            return values[leaf.index] if isinstance(leaf, Slot) else leaf

        return self.target(*substitute(self.args, change), **substitute(dict(self.kwargs), change))

    def parameters(self, *names: str, **defaults: Any) -> dict[str, Any]:
        """The arguments after the input by name, as torch's functions order them."""
        given = dict(self.kwargs)
        given.pop("input", None)
        given.update(zip(names, self.args[1:], strict=False))
        return {**defaults, **given}

    @property
    def unary(self) -> bool:
        """True where the only variable is the first argument."""
        return len(self.variables) == 1 and isinstance((self.args or (self.kwargs.get("input"),))[0], Slot)


_NONNEGATIVE = {
    *("permute", "transpose", "swapaxes", "movedim", "moveaxis", "t", "mT", "flip", "roll"),
    *("pad", "mean", "sum", "getitem", "narrow", "select", "index_select", "expand", "expand_as", "repeat", "tile"),
    *("avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
}
_DROPOUT = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"}
_RESHAPE = {
    *("view", "reshape", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze", "contiguous", "clone", "detach"),
}
CASTS = {"to", "float", "double", "half", "bfloat16", "type", "type_as"}  # those below float32 are refused as they are read
_SORTING = {"sort", "msort", "amax", "amin", "max", "min"}
_SPLITTING = {"chunk", "split", "unbind", "tensor_split", "split_with_sizes"}
_ARITHMETIC = {
    "add": "add",
    "iadd": "add",
    "sub": "sub",
    "isub": "sub",
    "subtract": "sub",
    "mul": "mul",
    "imul": "mul",
    "multiply": "mul",
    "div": "div",
    "truediv": "div",
    "itruediv": "div",
    "true_divide": "div",
    "divide": "div",
    "neg": "neg",
    "negative": "neg",
}


def build_function(call: Call, value: Tensor) -> Op:
    """The map that a call of a function or tensor method is.

    Raises:
        NotApplicable: It is not known, or not Lipschitz.
    """
    name = call.name.removesuffix("_").strip("_")
    if name in ("cat", "concat", "concatenate"):
        return _join(call)
    if name in _ARITHMETIC:
        return _arithmetic(_ARITHMETIC[name], call, value)
    if not call.unary:
        raise NotApplicable(f"the operation {call.name} of several values that depend on the input is not known")
    for build in (_linear_function, _shape_function, _gain_function):
        op = build(name, call, value)
        if op is not None:
            return op
    activation = activation_of(name, *call.args[1:], function=call, **{k: v for k, v in call.kwargs.items() if k != "input"})
    if activation is None:
        raise NotApplicable(f"the operation {call.name} is not known; write the network with torch's own layers")
    _same_size(call, value)
    return activation


def _same_size(call: Call, value: Tensor) -> None:
    if value.numel() > call.variables[0].numel():
        raise NotApplicable(f"the operation {call.name} repeats values by broadcasting, which is not known")


def _join(call: Call) -> Op:
    p = call.parameters("dim", dim=0)
    parts = call.args[0] if call.args else call.kwargs.get("tensors", ())
    if p["dim"] == 0 or not all(isinstance(part, Slot) for part in parts):
        raise NotApplicable("a concatenation along the batch or with constants is not known")
    return Join(call)


def _arithmetic(kind: str, call: Call, value: Tensor) -> Op:
    if set(call.kwargs) - {"input", "other"}:
        raise NotApplicable(f"the operation {call.name} with {', '.join(call.kwargs)} is not known")
    sides = [*call.args, *(call.kwargs[k] for k in ("input", "other") if k in call.kwargs)]
    if any(v.shape != value.shape for v in call.variables):
        raise NotApplicable(f"the operation {call.name} repeats values by broadcasting, which is not known")
    if len(call.variables) == 2:
        if kind not in ("add", "sub"):
            raise NotApplicable(f"the operation {call.name} of two values that depend on the input is not Lipschitz everywhere")
        return Sum((1.0, 1.0 if kind == "add" else -1.0))
    if kind == "neg":
        return _diagonal(-1.0, 0.0)
    constant = next(torch.as_tensor(s, dtype=torch.float64) for s in sides if not isinstance(s, Slot))
    first = isinstance(sides[0], Slot)
    if kind == "div" and not first:
        raise NotApplicable("a division by a value that depends on the input is not Lipschitz everywhere")
    sign = -1.0 if kind == "sub" and not first else 1.0
    return {
        "add": lambda: _diagonal(1.0, constant),
        "sub": lambda: _diagonal(sign, -sign * constant),
        "mul": lambda: _diagonal(constant, 0.0),
        "div": lambda: _diagonal(1 / constant, 0.0),
    }[kind]()


def _diagonal(scale: float | Tensor, offset: float | Tensor) -> Diagonal:
    pair = [torch.atleast_1d(torch.as_tensor(t, dtype=torch.float64)) for t in (scale, offset)]
    return Diagonal(scale=pair[0], offset=pair[1])


def _linear_function(name: str, call: Call, value: Tensor) -> Op | None:
    if name == "linear":
        return Matrix(**call.parameters("weight", "bias"))
    if name == "matmul" and isinstance(call.args[1], Tensor) and call.args[1].ndim == 2:
        return Matrix(weight=call.args[1].mT)
    if name in ("conv1d", "conv2d", "conv3d"):
        p = call.parameters("weight", "bias", "stride", "padding", "dilation", "groups", bias=None, stride=1, padding=0)
        return _convolution(tuple(call.variables[0].shape[2:]), **p)
    return None


def _convolution(
    size: tuple[int, ...],
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any = 1,
    groups: int = 1,
) -> Convolution:
    def each(value: Any) -> tuple[int, ...]:
        return (value,) * len(size) if isinstance(value, int) else tuple(value) * (len(size) // len(value))

    kernel = Kernel(
        weight=weight,
        size=size,
        stride=each(stride),
        padding=padding if isinstance(padding, str) else each(padding),
        dilation=each(dilation),
        groups=groups,
    )
    return Convolution(kernel=kernel, bias=bias)


def _shape_function(name: str, call: Call, value: Tensor) -> Op | None:
    if name in _DROPOUT and call.parameters("p", "training")["training"] is not False:
        raise NotApplicable("dropout that is always on makes the network random")
    if name in CASTS:
        return Nonnegative(lambda x: x, call.variables[0], keeps=True)
    if name in _DROPOUT or name in _RESHAPE:
        return Nonnegative(call, call.variables[0], keeps=value.numel() == call.variables[0].numel())
    if name == "interpolate" and call.parameters("size", "scale_factor", "mode", mode="nearest")["mode"] != "bicubic":
        return Nonnegative(call, call.variables[0])
    return Nonnegative(call, call.variables[0]) if name in _NONNEGATIVE else None


def _gain_function(name: str, call: Call, value: Tensor) -> Op | None:
    if name in ("softmax", "softmin"):
        return _gain(name, softmax_gain, call)
    if name == "log_softmax":
        return _log_softmax(call, call.parameters("dim")["dim"])
    if name in ("max_pool1d", "max_pool2d", "max_pool3d"):
        names = ("kernel_size", "stride", "padding", "dilation")
        p = call.parameters(*names, stride=None, dilation=1)
        return _max_pool(name, call, p["kernel_size"], p["stride"], p["dilation"])
    if name == "layer_norm":
        p = call.parameters("normalized_shape", "weight", "bias", "eps", weight=None, eps=1e-5)
        return _layer_norm(p["weight"], p["eps"], call)
    if name not in _SORTING:
        return None
    _same_size(call, value)
    return _gain(name, lambda _: 1.0, call)


def _gain(name: str, rule: Callable[[str], float], call: Callable[[Tensor], Tensor]) -> Gain:
    return Gain(name=name, bounds={order: rule(order) for order in ORDERS}, function=call)


def _log_softmax(call: Call, dim: int | None) -> Gain:
    size = call.variables[0].shape[1 if dim is None else dim]
    return _gain("log_softmax", lambda order: log_softmax_gain(size, order), call)


def _layer_norm(weight: Tensor | None, eps: float, call: Call) -> Gain:
    return Gain(name="layer_norm", bounds={"l2": layer_norm_gain(weight, eps, "l2") * (1 + 2.0**-50)}, function=call)


def _max_pool(name: str, call: Call, kernel_size: Any, stride: Any, dilation: Any) -> Gain:
    """Each output copies one input; an input is copied at most as often as windows can see it."""
    ndim = call.variables[0].ndim - 2

    def each(value: Any) -> Sequence[int]:
        return (value,) * ndim if isinstance(value, int) else tuple(value)

    k, d = each(kernel_size), each(dilation)
    s = each(stride) if stride else k
    seen = math.prod(int(np.bincount([t * d[i] % s[i] for t in range(k[i])]).max()) for i in range(ndim))
    l2 = math.sqrt(seen) * (1 + 2.0**-50) if seen > 1 else 1.0
    return Gain(name=name, bounds={"l2": l2, "l1": float(seen), "linf": 1.0}, function=call)


def member(call: Call, index: int, value: Tensor) -> Op:
    """The map from the input of a call to one of its several results.

    Raises:
        NotApplicable: The call is not known.
    """
    name = call.name.strip("_")
    if name in _SPLITTING:
        return Nonnegative(lambda x: call(x)[index], call.variables[0])
    if name in _SORTING and index == 0:
        return _gain(name, lambda _: 1.0, lambda x: call(x)[index])
    raise NotApplicable(f"result {index} of the operation {call.name} is not known")


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_RESHAPE_MODULES = (nn.Flatten, nn.Unflatten, nn.Identity)
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_NONNEGATIVE_MODULES = (
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d),
    *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d, nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
    *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d, nn.PixelShuffle, nn.PixelUnshuffle),
)
Build = Callable[[Any, Call], Op]


def build_module(module: nn.Module, call: Call) -> Op:
    """The map that a call of a leaf module is; the module is in float64 and eval mode.

    Raises:
        NotApplicable: It is not known, or not Lipschitz.
    """
    if len(call.variables) != 1:
        raise NotApplicable(f"the layer {type(module).__name__} with several inputs is not known")
    gain = sorting_gain(module)
    if gain is not None:
        return _gain(type(module).__name__, lambda _: gain, call)
    activation = activation_of_module(module)
    if activation is not None:
        return activation
    cls = known_class(module, _BUILDERS)
    if cls is None:
        raise NotApplicable(f"the layer {type(module).__name__} is not known; write the network with torch's own layers")
    return _BUILDERS[cls](module, call)


def _of_convolution(m: nn.Conv2d, call: Call) -> Op:
    size = tuple(call.variables[0].shape[2:])
    if m.padding_mode == "zeros":
        return _convolution(size, m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups)
    ends: list[int] = m._reversed_padding_repeated_twice
    pad = Nonnegative(lambda x: F.pad(x, ends, mode=m.padding_mode), call.variables[0])
    grown = tuple(pad.shift(call.variables[0]).shape[2:])
    return Composed(first=pad, second=_convolution(grown, m.weight, m.bias, m.stride, 0, m.dilation, m.groups))


def _of_batch_norm(m: nn.BatchNorm2d, call: Call) -> Op:
    if m.running_mean is None or m.running_var is None:
        raise NotApplicable("batch normalisation without running statistics mixes the inputs of a batch")
    root = (m.running_var + m.eps).sqrt()
    scale = 1 / root if m.weight is None else m.weight / root
    offset = -m.running_mean * scale if m.bias is None else m.bias - m.running_mean * scale
    shape = (1, -1, *(1,) * (call.variables[0].ndim - 2))
    return Diagonal(scale=scale.view(shape), offset=offset.view(shape))


def _of_max_pool(m: nn.MaxPool2d, call: Call) -> Op:
    return _max_pool(type(m).__name__, call, m.kernel_size, m.stride, m.dilation)


_BUILDERS: dict[type[nn.Module], Build] = {
    nn.Linear: lambda m, c: Matrix(weight=m.weight, bias=m.bias),
    **dict.fromkeys(_CONVOLUTIONS, _of_convolution),
    **dict.fromkeys(_NORMS, _of_batch_norm),
    **dict.fromkeys((*_RESHAPE_MODULES, *_DROPOUTS), lambda m, c: Nonnegative(c, c.variables[0], keeps=True)),
    **dict.fromkeys(_NONNEGATIVE_MODULES, lambda m, c: Nonnegative(c, c.variables[0])),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _of_max_pool),
    **dict.fromkeys((nn.Softmax, nn.Softmin, nn.Softmax2d), lambda m, c: _gain(type(m).__name__, softmax_gain, c)),
    nn.LogSoftmax: lambda m, c: _log_softmax(c, m.dim),
    nn.LayerNorm: lambda m, c: _layer_norm(m.weight, m.eps, c),
}
