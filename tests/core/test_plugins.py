# SPDX-License-Identifier: Apache-2.0
"""Discovery: a broken plugin takes nothing down, and every fault has a name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import Cli

import lipbench.plugins
from lipbench.api import Component, hookimpl
from lipbench.contract.errors import PluginError, UsageError
from lipbench.plugins import PluginOptions, load_plugins
from lipbench.registry import Registry


@dataclass(frozen=True)
class _Dist:
    name: str
    version: str = "1.0"


@dataclass(frozen=True)
class _Point:
    """Stands in for an entry point of an installed distribution."""

    name: str
    dist: _Dist
    load_it: Callable[[], Any]
    value: str = "tests_of_nowhere"

    def load(self) -> Any:
        return self.load_it()


def _module(name: str, **functions: Any) -> ModuleType:
    module = ModuleType(name)
    for key, function in functions.items():
        setattr(module, key, hookimpl(function) if callable(function) else function)
    return module


def _component(name: str) -> Component:
    return Component(kind="metric", name=name, factory="nowhere:Nothing", summary="nothing")


def _raise(error: BaseException) -> Any:
    raise error


def _installed(monkeypatch: pytest.MonkeyPatch, **plugins: Callable[[], Any]) -> None:
    points = [_Point(name, _Dist(f"dist-{name}"), load) for name, load in plugins.items()]
    # The real function hands back what EntryPoint is; the loader only uses name, dist and load().
    monkeypatch.setattr(lipbench.plugins, "entry_points", lambda group: points)
    monkeypatch.setattr(lipbench.plugins, "EntryPoint", _Point)


def test_one_that_raises_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(
        monkeypatch,
        zebra=lambda: _module("zebra", lipbench_components=lambda: [_component("z")]),
        broken=lambda: _raise(ImportError("no module named lost")),
        leaving=lambda: _raise(SystemExit(3)),
        wild=lambda: _module("wild", lipbench_components=lambda: _raise(RuntimeError("in the hook"))),
        empty=lambda: _module("empty"),
        misspelt=lambda: _module("misspelt", lipbench_componets=lambda: [*()]),
        odd=lambda: _module("odd", lipbench_components=lambda: ["not a component"]),
    )
    found = {p.name: p for p in load_plugins()}
    assert found["zebra"].status == "ok"
    reasons = {name: p.reason for name, p in found.items() if p.status == "broken"}
    assert set(reasons) == {"broken", "leaving", "wild", "empty", "misspelt", "odd"}
    assert "no module named lost" in reasons["broken"]
    assert "in the hook" in reasons["wild"]
    assert "did you mean 'lipbench_components'?" in reasons["misspelt"]
    assert "implements no hook" in reasons["empty"]
    registry = Registry(found.values())
    assert registry.names("metric") == ["z"]
    with pytest.raises(PluginError, match="broken plugins: broken, empty, leaving, misspelt, odd, wild"):
        registry.get("metric", "y")


def test_a_name_claimed_twice_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {n: (lambda n=n: _module(n, lipbench_components=lambda: [_component("same")])) for n in ("one", "two")}
    _installed(monkeypatch, **both)
    registry = Registry(load_plugins())
    with pytest.raises(PluginError, match=r"claimed by dist-one and by dist-two; write dist-one:same or dist-two:same"):
        registry.get("metric", "same")
    assert registry.get("metric", "dist-two:same").plugin.name == "two"


def test_blocking_and_no_autoload(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, one=lambda: _module("one", lipbench_components=lambda: [_component("a")]))
    blocked = load_plugins(PluginOptions(blocked=("one",)))
    assert [(p.name, p.status) for p in blocked] == [("core", "ok"), ("one", "blocked")]
    assert [p.name for p in load_plugins(PluginOptions(autoload=False))] == ["core"]
    with pytest.raises(UsageError, match="there is no such plugin"):
        load_plugins(PluginOptions(blocked=("two",)))


def test_how_to_do_without_a_file_is_by_its_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, twice=lambda: _module("twice", lipbench_components=lambda: [_component("a")]))
    source = (
        "from lipbench.api import Component, hookimpl\n@hookimpl\ndef lipbench_components():\n"
        "    return [Component(kind='metric', name='b', factory='nowhere:B', summary='nothing')]\n"
    )
    lost, twice = tmp_path / "lost_metric.py", tmp_path / "twice.py"
    lost.write_text(source)
    twice.write_text(source)
    registry = Registry(load_plugins(PluginOptions(extra=(str(lost),))))
    with pytest.raises(PluginError, match=f"mend it, or leave out --plugin {lost}$"):
        registry.describe(registry.get("metric", "b"))
    with pytest.raises(UsageError, match=f"-p no:lost_metric: .* leave out --plugin {lost}$"):
        load_plugins(PluginOptions(extra=(str(lost),), blocked=("lost_metric",)))
    with pytest.raises(PluginError, match=f"has this name already; leave out --plugin {twice}, or rename it"):
        load_plugins(PluginOptions(extra=(str(twice),)))


def test_a_component_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, one=lambda: _module("one", lipbench_components=lambda: [_component("a")]))
    registry = Registry(load_plugins())
    with pytest.raises(PluginError, match=r"metric 'a' of plugin 'one' \(dist-one\) cannot be loaded: ModuleNotFoundError"):
        registry.describe(registry.get("metric", "a"))


SIGNATURES = {
    "no annotation": ("def __init__(self, size=3): pass", "parameter 'size' has no type annotation"),
    "any parameters": ("def __init__(self, **options: int): pass", "must be an ordinary named parameter"),
    "wrong base": (None, "no subclass of lipbench.api.Metric"),
    "abstract": ("def other(self): pass", "does not define compute"),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_incomplete_components_are_explained(name: str, tmp_path: Path, cli: Cli) -> None:
    body, words = SIGNATURES[name]
    base = "Metric" if body else "object"
    compute = (
        "" if name in ("abstract", "wrong base") else "    def compute(self, evidence: object, ctx: Context) -> Value: ...\n"
    )
    stem = f"one_file_{name.replace(' ', '_')}"
    (tmp_path / f"{stem}.py").write_text(
        "from lipbench.api import Component, Context, Metric, Value, hookimpl\n"
        f"class Mine({base}):\n    '''Mine.'''\n    {body or 'pass'}\n{compute}"
        "@hookimpl\ndef lipbench_components():\n"
        f"    yield Component(kind='metric', name='mine', factory='{stem}:Mine', summary='mine')\n"
    )
    done = cli("show", "mine", "--plugin", tmp_path / f"{stem}.py")
    assert done.code == 1
    assert words in done.err
    assert "metric 'mine'" in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_file_that_fails_is_an_error_because_it_was_asked_for(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "wrong_file.py").write_text("import nothing_like_this\n")
    done = cli("list", "--plugin", tmp_path / "wrong_file.py")
    assert done.code == 1
    assert "No module named 'nothing_like_this'" in done.err
    assert "wrong_file" not in sys.modules


def test_list_and_show(cli: Cli, toy: Path) -> None:
    listed = cli("list", "--plugin", toy).out
    assert "toy mean" in listed
    assert "lipschitz" in listed
    shown = cli("show", "multiply", "--plugin", toy).out
    assert "Multiply rows by a factor." in shown
    assert "power: integer >= 1 <= 9 = 1" in shown
    assert "Role model: Model, fitted on data" in shown
    done = cli("show", "multiplyy", "--plugin", toy)
    assert "did you mean 'multiply'?" in done.err


def test_schema_knows_the_active_plugins(cli: Cli, toy: Path) -> None:
    import json

    from jsonschema import Draft202012Validator

    schema = json.loads(cli("schema", "--plugin", toy, "--no-plugins").out)
    validator = Draft202012Validator(schema)
    good = {
        "lipbench": 1,
        "suite": "a",
        "task": "multiply",
        "matrix": {"model": ["fixed"], "data": {"use": "numbers", "count": 3}},
        "metrics": [{"use": "mean", "noise": 0.5, "as": "noisy"}],
    }
    validator.validate(good)
    assert not validator.is_valid({**good, "metrics": [{"use": "mean", "nosie": 0.5}]})
    assert not validator.is_valid({**good, "metrics": ["line_search"]})
    assert not validator.is_valid({**good, "task": {"use": "multiply", "power": 10}})


def test_doctor_shows_the_broken(cli: Cli, toy: Path, tmp_path: Path) -> None:
    healthy = cli("doctor", "--plugin", toy, "--no-plugins")
    assert healthy.code == 0
    assert "all is well" in healthy.out
    (tmp_path / "half.py").write_text(
        "from lipbench.api import Component, hookimpl\n@hookimpl\ndef lipbench_components():\n"
        "    yield Component(kind='metric', name='lost', factory='half:Lost', summary='lost')\n"
    )
    done = cli("doctor", "--plugin", tmp_path / "half.py", "--no-plugins")
    assert done.code == 1
    assert "broken: metric 'lost'" in done.out
