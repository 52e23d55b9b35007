# SPDX-License-Identifier: Apache-2.0
"""What the plugin declares can be imported and has a schema."""

from __future__ import annotations

import importlib
import inspect
import typing

import pytest
from lipbench_basics.attacks import Attack
from lipbench_basics.plugin import lipbench_components

from lipbench.api import Component, Dataset, Network

COMPONENTS = list(lipbench_components())


def test_names_are_claimed_once() -> None:
    assert len({(c.kind, c.name) for c in COMPONENTS}) == len(COMPONENTS)


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_constructor_is_a_typed_keyword_schema(component: Component) -> None:
    module, _, name = component.factory.partition(":")
    cls = getattr(importlib.import_module(module), name)
    assert issubclass(cls, {"dataset": Dataset, "model": Network, "method": Attack}[component.kind])
    assert inspect.getdoc(cls)
    hints = typing.get_type_hints(cls.__init__, include_extras=True)
    for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]:
        if cls.__init__ is not object.__init__:
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
            assert parameter.name in hints
            assert f"{parameter.name}:" in (inspect.getdoc(cls) or "")
