# SPDX-License-Identifier: Apache-2.0
"""Names that leave the public surface: they work for one more version of the API and say what to write instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from lipbench.contract.version import API_VERSION


def leaving(module: str, names: Mapping[str, tuple[Any, str]]) -> Callable[[str], Any]:
    """The `__getattr__` of a module for names that its list has no more.

    Args:
        module: Its name.
        names: Each name with what it still stands for, and what to write instead.
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        thing, instead = names[name]
        words = f"{module}.{name} leaves with version {API_VERSION + 1} of the API; write {instead}"
        warnings.warn(words, DeprecationWarning, stacklevel=2)
        return thing

    return get
