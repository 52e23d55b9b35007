# SPDX-License-Identifier: Apache-2.0
"""Reading a state dict that was trained elsewhere, as data and never as code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lipbench.api import InvalidInput


def load_weights(module: nn.Module, file: Path, own: str) -> None:
    """Load every tensor of a network but those of one part, which stay what they are whether the file has them or not.

    Args:
        module: The network; its parameters keep their type.
        file: `.safetensors`, or `.pth` or `.pt` as `torch.save(module.state_dict(), file)` makes it.
        own: Name of the part that stays.

    Raises:
        InvalidInput: The file cannot be read as a state dict, lacks a tensor, or has one that is unknown, of another shape or
            not finite.
    """
    given = {name: tensor for name, tensor in _read(file).items() if not name.startswith(f"{own}.")}
    expected = {name: tensor for name, tensor in module.state_dict().items() if not name.startswith(f"{own}.")}
    missing, unknown = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
    if missing or unknown:
        raise InvalidInput(
            f"{file} does not fit the network: {len(missing)} tensors are missing, such as {missing[:3]}, "
            f"{len(unknown)} are unknown, such as {unknown[:3]}; write the name: and outputs: that it was made with"
        )
    for name, tensor in expected.items():
        _check(file, name, given[name], tensor)
    module.load_state_dict(given, strict=False)


def _check(file: Path, name: str, given: Tensor, expected: Tensor) -> None:
    if given.shape != expected.shape:
        found, need = tuple(given.shape), tuple(expected.shape)
        raise InvalidInput(
            f"{file} does not fit the network: {name} has shape {found}, the network needs {need}; "
            "write the name:, width: and outputs: that it was made with"
        )
    if given.is_complex() or not bool(torch.isfinite(given).all()):
        raise InvalidInput(f"{file}: {name} holds values that are not finite real numbers; save the weights again")


def _read(file: Path) -> Mapping[str, Tensor]:
    if file.suffix not in (".safetensors", ".pth", ".pt"):
        raise InvalidInput(f"weights: {file} ends in {file.suffix!r}; write a .safetensors, .pth or .pt file")
    try:
        state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # both readers fail on damaged files in many ways, none of them documented
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidInput(f"{file} is damaged or holds more than tensors, save the state dict again: {reason}") from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InvalidInput(
            f"{file} must hold a mapping from names to tensors; make it by torch.save(module.state_dict(), file)"
        )
    return state
