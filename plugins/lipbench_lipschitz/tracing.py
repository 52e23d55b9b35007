# SPDX-License-Identifier: Apache-2.0
"""Reads a network: runs its symbolic trace once on one input and writes down what each operation does."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import module as _everywhere

from lipbench.api import NotApplicable

from .activations import sorting_gain
from .layers import CASTS, Call, Slot, build_function, build_module, member, substitute
from .ops import Input, Op, Step
from .probe import duplicate
from .replay import TOLERANCE, check_replay, probing_inputs

_COARSE = 1e-5  # tolerance for a network that rounds to float32


class _Tracer(fx.Tracer):
    """Looks into every module that is not torch's own, except sorting activations, which are known as they are."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """True for modules that are known as a whole."""
        return sorting_gain(m) is not None or super().is_leaf_module(m, module_qualified_name)


@dataclass(frozen=True)
class _Variable:
    """A result that depends on the input: its place among the steps and its value for one input, for shapes only."""

    place: int
    value: Tensor


@dataclass(frozen=True)
class _Several:
    """A tuple of results that depends on the input; only its members are steps."""

    call: Call
    source: int
    value: tuple[Tensor, ...]


def read_network(module: nn.Module, shape: tuple[int, ...]) -> tuple[Step, ...]:
    """The operations of a network in the order of their execution; the last one is its output.

    Args:
        module: The network; it is not changed.
        shape: Shape of one input.

    Raises:
        NotApplicable: It cannot be traced, has an operation that is not known (the message names it), or gives other
            values than what was read of it, as hooks and in-place changes make it do.
    """
    clean = _cast(duplicate(module).eval().requires_grad_(False).cpu(), torch.float64)
    with torch.no_grad():
        # First of all, because hooks that make weights, such as those of the old spectral_norm, make them only now.
        result = _outputs(clean, shape)
        try:
            graph = _Tracer().trace(clean)
        except Exception as error:
            # a trace runs the network's own code, which may fail in any way on symbolic values
            raise NotApplicable(f"the network's structure cannot be read ({_short(error)})") from error
        reader = _Reader(clean, graph, shape)
        steps = reader.steps()
        if isinstance(result, Exception):
            raise NotApplicable(f"the network does not run in float64, so its bounds cannot be checked ({_short(result)})")
        suspects = {s.layer for s in steps if s.layer and has_hooks(clean.get_submodule(s.layer))}
        # Casts to float32 are read as no change, so the comparison cannot be finer than they are.
        check_replay(clean, steps, result, suspects, _COARSE if reader.rounds else TOLERANCE)
    return steps


def has_hooks(module: nn.Module) -> bool:
    """True where code of others runs around the `forward` of a module or of one inside it, or instead of it."""
    if _everywhere._global_forward_hooks or _everywhere._global_forward_pre_hooks:
        return True
    return any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in module.modules())


def _without_hooks(module: nn.Module) -> nn.Module:
    for m in module.modules():
        m._forward_hooks.clear()
        m._forward_pre_hooks.clear()
    return module


def _cast(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The module itself in another precision, with the tensors that are neither parameters nor buffers."""
    module.to(dtype)
    for m in module.modules():
        for name, value in list(vars(m).items()):
            if isinstance(value, Tensor) and value.is_floating_point():
                vars(m)[name] = value.to(dtype)
    return module


def _outputs(module: nn.Module, shape: tuple[int, ...]) -> Tensor | Exception:
    """What the network gives for the probing inputs, or why it gives nothing."""
    try:
        return module(probing_inputs(shape))
    except Exception as error:
        # the network's own code may fail in any way; what cannot be read in it has the better message
        return error


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


class _Reader:
    """Executes a graph, constants in float64 and what depends on the input in float32."""

    def __init__(self, module: nn.Module, graph: fx.Graph, shape: tuple[int, ...]) -> None:
        # Layers alone: what is attached to them shows in the comparison with the network.
        self.exact = _without_hooks(copy.deepcopy(module))
        self.rough = _cast(copy.deepcopy(self.exact), torch.float32)
        self.rounds = False
        self.graph, self.shape = graph, shape
        self.env: dict[fx.Node, Any] = {}
        self.found: list[Step] = []

    def steps(self) -> tuple[Step, ...]:
        """All steps that the output needs."""
        for node in self.graph.nodes:
            if node.op == "output":
                return self._until(self.env.get(node.args[0]) if isinstance(node.args[0], fx.Node) else None)
            self.env[node] = self._value(node)
        raise NotApplicable("the network returns nothing")

    def _until(self, result: Any) -> tuple[Step, ...]:
        if not isinstance(result, _Variable):
            raise NotApplicable("the network's output is not one tensor that depends on its input")
        needed, stack = set[int](), [result.place]
        while stack:
            place = stack.pop()
            if place not in needed:
                needed.add(place)
                stack.extend(self.found[place].sources)
        order = sorted(needed | {0})
        new = {old: i for i, old in enumerate(order)}
        kept = [self.found[i] for i in order]
        return tuple(replace(s, sources=tuple(new[j] for j in s.sources)) for s in kept)

    def _value(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self._placeholder(node)
        if node.op == "get_attr":
            value = operator.attrgetter(str(node.target))(self.exact)
            return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
        args = fx.node.map_arg(node.args, self.env.__getitem__)
        kwargs = fx.node.map_arg(node.kwargs, self.env.__getitem__)
        args, kwargs = tuple(args), dict(kwargs)
        if args and isinstance(args[0], _Several):
            return self._member(node, args)
        variables: list[_Variable] = []
        slots = substitute((args, kwargs), lambda leaf: self._slot(leaf, variables))
        if not variables:
            return self._target(node, self.exact)(*args, **kwargs)
        rough = substitute((args, kwargs), _rough)
        value = self._target(node, self.rough)(*rough[0], **rough[1])
        if not isinstance(value, Tensor) and not (
            isinstance(value, tuple | list) and any(isinstance(v, Tensor) for v in value)
        ):
            # A size depends on the shape alone; the precision meant is that of the constants.
            return torch.float64 if value is torch.float32 else value
        call = Call(
            name=_name(node),
            target=self._target(node, self.exact),
            args=slots[0],
            kwargs=slots[1],
            variables=tuple(torch.zeros_like(v.value, dtype=torch.float64) for v in variables),
        )
        return self._result(node, call, variables, value)

    def _slot(self, leaf: Any, variables: list[_Variable]) -> Any:
        if isinstance(leaf, _Several):
            raise NotApplicable(f"the tuple that {leaf.call.name} returns can only be taken apart")
        if not isinstance(leaf, _Variable):
            return leaf
        variables.append(leaf)
        return Slot(len(variables) - 1)

    def _result(self, node: fx.Node, call: Call, variables: list[_Variable], value: Any) -> _Variable | _Several:
        if not isinstance(value, Tensor):
            return _Several(call, variables[0].place, tuple(value))
        sources = tuple(v.place for v in variables)
        if node.op == "call_module":
            module = self.exact.get_submodule(str(node.target))
            return self._add(str(node.target), build_module(module, call), sources, value, layer=str(node.target))
        self._check_precision(call, value)
        return self._add(call.name, build_function(call, value), sources, value)

    def _check_precision(self, call: Call, value: Tensor) -> None:
        if value.is_floating_point() and value.dtype.itemsize < 4:
            dtype = str(value.dtype).removeprefix("torch.")
            raise NotApplicable(f"the operation {call.name} rounds to {dtype}, which is not Lipschitz; leave the cast out")
        self.rounds |= call.name in CASTS and value.dtype != torch.float64

    def _member(self, node: fx.Node, args: tuple[Any, ...]) -> _Variable:
        several: _Several = args[0]
        index = {"values": 0, "indices": 1}.get(args[1], args[1]) if len(args) == 2 else None
        if not isinstance(index, int):
            raise NotApplicable(f"the operation {_name(node)} on the result of {several.call.name} is not known")
        value = several.value[index]
        return self._add(several.call.name, member(several.call, index, value), (several.source,), value)

    def _placeholder(self, node: fx.Node) -> Any:
        if not self.found:
            return self._add(node.name, Input(), (), torch.zeros((1, *self.shape)))
        if not node.args:
            raise NotApplicable(f"the network has a second input {node.name!r}")
        return node.args[0]

    def _target(self, node: fx.Node, owner: nn.Module) -> Callable[..., Any]:
        if node.op == "call_module":
            return owner.get_submodule(str(node.target))
        if node.op == "call_method":
            return _method(str(node.target))
        return node.target  # type: ignore[return-value]

    def _add(self, name: str, op: Op, sources: tuple[int, ...], value: Tensor, layer: str = "") -> _Variable:
        if not value.is_floating_point() or value.ndim == 0 or value.shape[0] != 1:
            raise NotApplicable(f"the operation {name} gives no row of real numbers for each input")
        self.found.append(Step(name=name, op=op, sources=sources, shape=tuple(value.shape[1:]), layer=layer))
        return _Variable(len(self.found) - 1, value.float())


def _rough(leaf: Any) -> Any:
    """Values for the run in float32."""
    value = leaf.value if isinstance(leaf, _Variable) else leaf
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def _method(name: str) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, name)(*args, **kwargs)

    return call


def _name(node: fx.Node) -> str:
    """The function's own name; that of a function from outside torch carries its module, so that it matches no table."""
    target = node.target
    if isinstance(target, str):
        return target
    home = (getattr(target, "__module__", None) or "torch").split(".")[0]
    name = getattr(target, "__name__", str(target))
    return name if home in ("torch", "_operator", "operator", "builtins", "math") else f"{home}.{name}"
