# SPDX-License-Identifier: Apache-2.0
"""The user's own network from a function."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from lipbench.api import Context, DataSpec, FunctionName, InvalidInput, Network

from .exported import find_weights
from .layers import check_shapes, initial_weights


class Imported(Network):
    """A network that a function of an importable module makes, with weights from a safetensors file.

    The function must be one that an active plugin brings: of a file or module that `--plugin` names, or of the package of an
    installed plugin. A suite that names any other is refused. Return an `nn.Sequential` whose last layer is an `nn.Linear`
    and estimators that read layers, and `layer: embedding`, apply too. Inputs arrive in the raw unit of the data.

    Args:
        factory: `package.module:function`, a function or class that gives an `nn.Module`.
        weights: A safetensors file that holds every tensor of the state dict and no other; null to keep the weights that
            the function sets, with torch's own initialisers seeded by the suite.
        kwargs: Keyword arguments for the function.
    """

    def __init__(
        self,
        *,
        factory: FunctionName,
        weights: str | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.factory, self.weights, self.kwargs = factory, weights, dict(kwargs or {})

    def files(self) -> Sequence[Path]:
        """The source of the function's module, and the weights; modules that it imports in turn are not followed."""
        return [self._source(), *([] if self.weights is None else [find_weights(self.weights)])]

    def _source(self) -> Path:
        """Where the module stands, without running it."""
        place = self.factory.partition(":")[0]
        try:
            spec = importlib.util.find_spec(place)
        except ImportError:
            spec = None
        if spec is None or spec.origin is None:
            raise InvalidInput(f"factory: module {place!r} cannot be found; install it, or put its folder on PYTHONPATH")
        return Path(spec.origin)

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Call the function, then load the weights, every key of them."""
        with initial_weights(ctx):
            module = self.factory.load()(**self.kwargs)
        if not isinstance(module, nn.Module):
            raise InvalidInput(f"factory: {self.factory} gave a {type(module).__name__}, a torch.nn.Module is needed")
        if self.weights is not None:
            _load(module, find_weights(self.weights))
        check_shapes(module.float().eval(), spec, f"factory: {self.factory}")
        return module


def _load(module: nn.Module, file: Path) -> None:
    """Load a safetensors file strictly."""
    try:
        state: Mapping[str, Any] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise InvalidInput(f"{file} is no safetensors file, or it is truncated: {error}") from error
    expected = module.state_dict()
    missing, unknown = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or unknown:
        raise InvalidInput(f"{file} does not fit the network: missing {missing[:5]}, unknown {unknown[:5]}")
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            found, need = tuple(state[name].shape), tuple(tensor.shape)
            raise InvalidInput(f"{file} does not fit the network: {name} has shape {found}, the network needs {need}")
    module.load_state_dict(dict(state), strict=True)
