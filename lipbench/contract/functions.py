# SPDX-License-Identifier: Apache-2.0
"""Functions that a suite may name: those of modules that plugins brought, and of no others, so that a suite stays data."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any

from lipbench.contract.errors import InvalidInput

FORMAT = "function"
"""Marks such a parameter in the JSON schema of a component."""
_PATTERN = r"^[A-Za-z_]\w*(\.\w+)*:[A-Za-z]\w*(\.[A-Za-z]\w*)*$"
_BROUGHT: set[str] = set()
"""Modules and packages that plugins brought to this process."""


def bring(module: str) -> None:
    """Let suites name the functions of a module or package in this process."""
    _BROUGHT.add(module)


def is_brought(module: str, by: Collection[str]) -> bool:
    """Whether a module is among these, or inside of one of these packages."""
    return any(module == name or module.startswith(f"{name}.") for name in by)


def refusal(function: str) -> str:
    """What to say of a function whose module no plugin brought."""
    module = function.partition(":")[0]
    return (
        f"{function!r} is not called: no active plugin has the module {module!r}, and a suite alone cannot run code; "
        f"if you trust that module, add --plugin {module}"
    )


class FunctionName(str):
    """A parameter that names a function or a class, `package.module:name`: annotate the constructor's parameter with it.

    A suite may name those that active plugins bring: of the package of an installed plugin, and of a file or module that
    `--plugin` names. Anything else is refused when the suite is validated, and once more by `load`. Names that begin with `_`
    are private.
    """

    def load(self) -> Callable[..., Any]:
        """Import the module and look the function up.

        Raises:
            InvalidInput: No plugin brought the module, or the function was only imported there from a module that no plugin
                brought; it cannot be imported; or it cannot be called.
        """
        module, _, path = self.partition(":")
        if not is_brought(module, _BROUGHT):
            raise InvalidInput(refusal(self))
        try:
            found: Any = importlib.import_module(module)
            for part in path.split("."):
                found = getattr(found, part)
                if isinstance(found, ModuleType):  # else one module would lead to all that it imports
                    raise InvalidInput(f"{self}: {part!r} is a module; name a function of it, with the module before the colon")
        except (ImportError, AttributeError) as error:
            raise InvalidInput(f"{self} cannot be imported: {error}") from error
        if not callable(found):
            raise InvalidInput(f"{self} is a {type(found).__name__}, not a function or class")
        home = getattr(found, "__module__", None)
        if not (isinstance(home, str) and is_brought(home, _BROUGHT)):
            raise InvalidInput(
                f"{self} comes from {home or 'Python itself'}, which no active plugin has; call it in a function of your own"
            )
        return found

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Text of this form, as an object of this class."""
        from pydantic_core import core_schema  # here, so that listing plugins does not pay for it

        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(pattern=_PATTERN))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """Text with the mark."""
        return {**handler(schema), "format": FORMAT}
