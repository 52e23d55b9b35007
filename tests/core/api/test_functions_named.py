# SPDX-License-Identifier: Apache-2.0
"""A suite names functions only of modules that plugins brought; it can run nothing else, at validation or at run time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

from lipbench.api import FunctionName, InvalidInput
from lipbench.execution.hands import factories_of
from lipbench.suite.uses import check
from lipbench.suite.yamltree import parse_yaml

MODULE = "boom_of_test_functions"
NETS = "nets_of_test_functions"
SUITE = """lipbench: 1
suite: mine
task: lipschitz
matrix:
  network: {{use: imported, factory: "{factory}", kwargs: {kwargs}}}
  data: {{use: uniform_noise, shape: [2], low: -1, high: 1, integers: false, count: 8}}
metrics: [spectral_product]
"""


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is there once a module was imported that nobody brought; beside it a module with networks."""
    folder, code = tmp_path / "ran", tmp_path / "code"
    code.mkdir()
    (code / f"{MODULE}.py").write_text(f"import os\nos.makedirs({str(folder)!r}, exist_ok=True)\ndef make(): pass\n")
    (code / f"{NETS}.py").write_text(
        "import os\nfrom os import mkdir\nfrom torch import nn\n\n"
        "def make(width=3, **more):\n    return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 1))\n"
    )
    monkeypatch.syspath_prepend(code)
    monkeypatch.setenv("PYTHONPATH", str(code))  # for workers
    yield folder
    for name in (MODULE, NETS):
        sys.modules.pop(name, None)


def suite(folder: Path, factory: str, kwargs: str = "{}") -> Path:
    file = folder / "mine.yaml"
    file.write_text(SUITE.format(factory=factory, kwargs=kwargs))
    return file


@pytest.mark.parametrize(
    ("factory", "found"),
    [
        (f"{MODULE}:make", f"no active plugin has the module '{MODULE}'"),
        ("os:mkdir", "no active plugin has the module 'os'"),
        ("lipbench.registry:load_factory", "no active plugin has the module 'lipbench.registry'"),
        ("lipbench.own_plugin:lipbench_formats", "no active plugin has the module"),
        ("lipbench_basicsmore:make", "no active plugin has the module"),
        ("lipbench_basics.networks.zoo:TorchVision.__init__", "text that matches"),
        ("lipbench_basics.networks.zoo:_split", "text that matches"),
    ],
)
def test_what_no_plugin_brought_is_refused_before_anything_runs(
    factory: str, found: str, marker: Path, cli: Cli, tmp_path: Path
) -> None:
    file = suite(tmp_path, factory)
    for command in (["validate"], ["plan"], ["run", "--results", tmp_path / "out"]):
        done = cli(*command, file)
        assert done.code == 2
        assert done.err.count("\n") == 1
        assert found in done.err
        if "plugin has" in found:
            assert f"add --plugin {factory.partition(':')[0]}" in done.err
        assert f"{file}:5" in done.err
    assert not marker.exists()


def test_a_profile_and_a_setting_are_refused_too(marker: Path, cli: Cli, tmp_path: Path) -> None:
    file = suite(tmp_path, f"{NETS}:make")
    file.write_text(
        file.read_text() + f"profiles: {{bad: {{matrix: {{network: {{use: imported, factory: '{MODULE}:make'}}}}}}}}\n"
    )
    assert cli("validate", file, "--plugin", NETS).code == 2
    assert (
        cli(
            "validate", suite(tmp_path, f"{NETS}:make"), "--plugin", NETS, "--set", f"matrix.network.factory={MODULE}:make"
        ).code
        == 2
    )
    assert not marker.exists()


def test_the_functions_of_a_blocked_plugin_cannot_be_named(cli: Cli, tmp_path: Path) -> None:
    done = cli("validate", suite(tmp_path, "lipbench_distances.pictures:anything"), "-p", "no:distances")
    assert (done.code, "no active plugin has the module 'lipbench_distances.pictures'" in done.err) == (2, True)


def test_a_module_that_was_named_can_be_used_and_no_way_leads_out_of_it(marker: Path, cli: Cli, tmp_path: Path) -> None:
    more = f"{{factory: '{MODULE}:make', params: {{}}}}"  # looks like a component, which workers load ahead
    done = cli("run", suite(tmp_path, f"{NETS}:make", more), "--plugin", NETS, "--results", tmp_path / "out", "--no-plots")
    assert done.code == 0, done.err
    assert f"--plugin {NETS}: it declares nothing; a suite can name its functions\n" in done.err
    assert not marker.exists()
    run = tmp_path / "made"
    for factory, words in ((f"{NETS}:mkdir", "comes from posix"), (f"{NETS}:os.mkdir", "'os' is a module")):
        file = suite(tmp_path, factory, f"{{path: '{run}'}}")
        done = cli("run", file, "--plugin", NETS, "--results", tmp_path / "bad", "--no-plots")
        assert done.code == 1
        assert words in done.out + done.err
        assert not run.exists()


def test_loading_refuses_what_a_suite_check_was_not_asked(marker: Path) -> None:
    with pytest.raises(InvalidInput, match="add --plugin boom_of_test_functions"):
        FunctionName(f"{MODULE}:make").load()
    assert not marker.exists()


def test_the_check_reaches_into_lists_and_unions() -> None:
    one = {"type": "string", "format": "function"}
    schema = {"properties": {"many": {"type": "array", "items": one}, "some": {"anyOf": [one, {"type": "null"}]}}}
    tree = parse_yaml("{}", "here")
    check(schema, {"many": ["good.part:f"], "some": None}, "model 'x'", tree, (), ["good"])
    for given in ({"many": ["good:f", "bad:f"]}, {"some": "bad:f"}):
        with pytest.raises(Exception, match="no active plugin has the module 'bad'"):
            check(schema, given, "model 'x'", tree, (), ["good"])


def test_workers_load_no_component_that_stands_in_parameters() -> None:
    inner = {"factory": "bad:f", "params": {}}
    payload: dict[str, Any] = {"job": {"roles": {"a": {"factory": "good:f", "params": {"kwargs": inner, "list": [inner]}}}}}
    assert factories_of(payload) == {"good:f"}


@pytest.mark.parametrize(
    "source",
    ["from lipbench.api import hookimpl\n", "def lipbench_components():\n    yield\n", "lipbench_api = 1\n"],
    ids=["imports the mark", "no mark", "states a version"],
)
def test_a_plugin_that_forgot_to_mark_its_hooks_is_still_told(source: str, cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "forgetful_of_test_functions.py"
    file.write_text(source)
    done = cli("list", "plugins", "--plugin", file)
    assert done.code == 1
    assert "it implements no hook; mark its functions with @lipbench.api.hookimpl" in done.err
    sys.modules.pop(file.stem, None)


def test_a_file_can_be_named_as_well(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "my_nets_of_test_functions.py"
    file.write_text("from torch import nn\ndef make():\n    return nn.Linear(2, 1)\n")
    done = cli("validate", suite(tmp_path, f"{file.stem}:make"), "--plugin", os.path.relpath(file))
    assert done.code == 0, done.err
    sys.modules.pop(file.stem, None)
