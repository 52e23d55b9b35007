# SPDX-License-Identifier: Apache-2.0
"""What is wrong with an installed plugin, said by the command line: plugin, distribution, file, and what to do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from installed import COMPONENT, install


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with one good plugin."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    install(folder, "good", COMPONENT.format(name="fine", factory="plug_good:Fine"))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("plug_"):
            del sys.modules[name]


def listed(cli: Cli) -> dict[str, dict[str, Any]]:
    """What `lipbench list plugins` says of each; the good one must be good."""
    done = cli("list", "plugins", "--json")
    assert done.code == 0, done.err
    found = {row["name"] + row["distribution"]: row for row in map(json.loads, done.out.splitlines())}
    assert found["gooddist-good"]["status"] == "ok"
    assert found["lipschitzlipbench"]["status"] == "ok"
    return found


USE = "from lipbench.api import hookimpl\n"
FAULTS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "newer": (
        {"source": "lipbench_api = 99\nfrom lipbench.api import OfTomorrow\n"},
        ("made for version 99 of lipbench.api", "this lipbench has version 1", "upgrade lipbench"),
    ),
    "older": (
        {"source": "lipbench_api: int = 0  # long ago\n"},
        ("made for version 0 of lipbench.api", "install a newer version of the plugin"),
    ),
    "requires": (
        {"source": "raise AssertionError('imported')\n", "requires": "lipbench>=77"},
        ("dist-requires 1.5 asks for lipbench>=77, and this is lipbench 0.1.0", "install another version of dist-requires"),
    ),
    "nowhere": (
        {"source": None, "point": "plug_nowhere_at_all"},
        ("nowhere = 'plug_nowhere_at_all' leads nowhere", "no module 'plug_nowhere_at_all'", "project.entry-points.lipbench"),
    ),
    "no_attribute": (
        {"source": "", "point": "plug_no_attribute:Lost"},
        ("leads nowhere: module 'plug_no_attribute' has no 'Lost'",),
    ),
    "lacks": (
        {"source": "\nimport not_installed_here\n"},
        ("No module named 'not_installed_here', at {file}:2", "install what has 'not_installed_here'"),
    ),
    "renamed": (
        {"source": "from lipbench.api import OfYesterday\n"},
        ("cannot import name 'OfYesterday'", "{file}:1", "install the lipbench that the plugin asks for"),
    ),
    "private": ({"source": "import lipbench.secrets\n"}, ("plugins import lipbench.api alone", "{file}:1")),
    "attribute": ({"source": "x = 1\nx.y\n"}, ("AttributeError: 'int' object has no attribute 'y', at {file}:2",)),
    "syntax": ({"source": "x = = 1\n"}, ("SyntaxError: invalid syntax", "{file}:1")),
    "argument": (
        {"source": USE + "@hookimpl\ndef lipbench_run_started(rum):\n    pass\n"},
        ("hook lipbench_run_started takes run, not 'rum', {file}:2", "rename the parameter"),
    ),
    "no_argument": (
        {"source": USE + "@hookimpl\ndef lipbench_formats(run):\n    pass\n"},
        ("hook lipbench_formats takes no argument, not 'run', {file}:2",),
    ),
    "unknown_hook": (
        {"source": USE + "@hookimpl\ndef lipbench_format():\n    pass\n"},
        ("hook 'lipbench_format' does not exist, {file}:2", "did you mean 'lipbench_formats'?"),
    ),
    "raises": (
        {"source": USE + "@hookimpl\ndef lipbench_reports():\n    return 1 / 0\n"},
        ("ZeroDivisionError: division by zero, at {file}:4",),
    ),
    "twice": (
        {"source": COMPONENT.format(name="same", factory="a:B") + "    yield from [*lipbench_components_()] * 1\n"
         + "def lipbench_components_():\n    yield Component(kind='metric', name='same', factory='a:C', summary='')\n"},
        ("lipbench_components declares 'metric same' twice",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_and_costs_only_its_plugin(name: str, site: Path, cli: Cli) -> None:
    how, words = FAULTS[name]
    file = install(site, name, **how)
    row = listed(cli)[f"{name}dist-{name}"]
    assert (row["status"], row["version"]) == ("broken", "1.5")
    assert row["file"] == (str(file) if how["source"] is not None else "")
    for wanted in words:
        assert wanted.format(file=file) in row["reason"]
    assert "\n" not in row["reason"]
    doctor = cli("doctor", "--results", site / "none")
    assert doctor.code == 1
    assert f"plugin {name} (dist-{name} 1.5): broken {row['reason']}" in doctor.out


@pytest.mark.parametrize("how", [{"source": f"lipbench_api = 1\n{COMPONENT}"}, {"requires": "lipbench>=0.1"}, {"requires": "lipbench"},
                                 {"requires": 'lipbench>=9; extra == "later"'}, {"requires": "lipbench-other>=9"}])  # fmt: skip
def test_what_fits_is_loaded(how: dict[str, str], site: Path, cli: Cli) -> None:
    given = {"source": COMPONENT} | how
    file = install(site, "fits", given.pop("source").format(name="a", factory="plug_fits:A"), **given)
    row = listed(cli)["fitsdist-fits"]
    assert (row["status"], row["reason"], row["file"]) == ("ok", "", str(file))


def test_a_plugin_of_a_taken_name(site: Path, cli: Cli) -> None:
    install(site, "second", COMPONENT.format(name="b", factory="plug_second:B"), plugin="good")
    reason = listed(cli)["gooddist-second"]["reason"]
    assert f"plugin 'good' of dist-good ({site / 'plug_good.py'}) has this name already" in reason


def test_a_component_claimed_twice_names_both_files(site: Path, cli: Cli) -> None:
    install(site, "other", COMPONENT.format(name="fine", factory="plug_other:Fine"))
    listed(cli)
    done = cli("show", "fine")
    assert done.code == 1
    assert f"claimed by dist-good ({site / 'plug_good.py'}) and by dist-other ({site / 'plug_other.py'}); " in done.err
    assert "write dist-good:fine or dist-other:fine" in done.err


def test_a_constructor_without_types_is_named_with_its_file(site: Path, cli: Cli) -> None:
    source = COMPONENT.format(name="bare", factory="plug_bare:Bare") + (
        "from lipbench.api import Context, Metric, Value\n"
        "class Bare(Metric):\n    '''Bare.'''\n    def __init__(self, size=3): pass\n"
        "    def compute(self, evidence: object, ctx: Context) -> Value: ...\n"
    )
    file = install(site, "bare", source)
    assert listed(cli)["baredist-bare"]["status"] == "ok"
    done = cli("show", "bare")
    assert done.code == 1
    assert done.err.count("\n") == 1
    for words in ("metric 'bare' of plugin 'bare' (dist-bare)", "'size' has no type annotation", str(file), "-p no:bare"):
        assert words in done.err


def test_a_run_records_where_plugins_came_from(site: Path, cli: Cli, suite: Any, toy: Path, tmp_path: Path) -> None:
    install(site, "bad", "import not_installed_here\n")
    assert cli("run", suite(), "--plugin", toy, "--results", tmp_path / "out", "--no-plots").code == 0
    (facts,) = (tmp_path / "out" / "toys" / "runs").glob("*.json")
    plugins = json.loads(facts.read_text())["plugins"]
    assert plugins["good"] == {"distribution": "dist-good", "version": "1.5", "status": "ok"}
    assert plugins["bad"] == {"distribution": "dist-bad", "version": "1.5", "status": "broken"}
