# SPDX-License-Identifier: Apache-2.0
"""Stored weights from a safetensors file or a file of torch.save, read as data and loaded with every key accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from struct import error as StructError  # noqa: N812  (the library spells its exception in small letters)
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lipbench.api import InvalidInput

# What a truncated or foreign file makes torch.load raise depends on where it breaks off.
_TORN = (UnpicklingError, StructError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError)
# What a file of torch.save wraps around the weights where it also keeps other things.
_WRAPPERS = ("state_dict", "model")


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Args:
        file: A safetensors file by its ending, else a file of torch.save; the latter holds the state dict, or a dict with the
            state dict under `state_dict` or `model`. It is read without running code of it.

    Raises:
        InvalidInput: It is neither, truncated, or holds something else than tensors.
    """
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise InvalidInput(f"{file} is no safetensors file, or it is truncated: {_first(error)}") from error
    try:
        found: Any = torch.load(file, weights_only=True, map_location="cpu")
    except _TORN as error:
        raise InvalidInput(f"{file} is no state dict of torch.save, or it is truncated: {_first(error)}") from error
    for name in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise InvalidInput(f"{file} holds no state dict (tensors by name); save net.state_dict() into it")
    return dict(found)


def load_into(module: nn.Module, file: Path, unused: tuple[str, ...] = ()) -> None:
    """Load weights; every tensor of the network must be in the file and the other way round.

    Files from before 2018 have no counters of batches; these stay zero, which changes nothing in eval mode. A network may
    rename old keys itself, as those of torchvision do.

    Args:
        module: The network.
        file: See `read_state`.
        unused: Beginnings of names that may be in the file only, such as those of a training head that is left out.

    Raises:
        InvalidInput: A tensor is missing, unknown, or of another shape.
    """
    state = read_state(file)
    try:
        keys = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = [line.strip() for line in str(error).splitlines() if "size mismatch" in line]
        raise InvalidInput(f"{file} does not fit the network: {reason[0] if reason else _first(error)}") from error
    missing = sorted(key for key in keys.missing_keys if not key.endswith("num_batches_tracked"))
    unknown = sorted(key for key in keys.unexpected_keys if not key.startswith(unused))
    if missing or unknown:
        raise InvalidInput(f"{file} does not fit the network: missing {missing[:5]}, unknown {unknown[:5]}")


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
