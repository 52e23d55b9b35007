# SPDX-License-Identifier: Apache-2.0
"""The public surface changes on purpose or not at all."""

from __future__ import annotations

import difflib

import pytest
from surface import FILE, surface

from lipbench import api
from lipbench.contract.leaving import leaving

HOW = (
    "the public surface of lipbench changed. Where that is meant: run `python tests/core/api/surface.py`, say it in "
    "CHANGELOG.md, and raise API_VERSION in lipbench/contract/version.py where a plugin could break"
)


def test_the_surface_is_the_one_that_was_written_down() -> None:
    was, now = FILE.read_text().splitlines(), surface().splitlines()
    changed = list(difflib.unified_diff(was, now, "surface.txt", "now", lineterm="", n=0))
    assert not changed, f"{HOW}\n" + "\n".join(changed)


def test_a_change_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = surface()

    def stable_seed(*parts: str, more: int = 3) -> int:
        return 0

    monkeypatch.setattr(api, "stable_seed", stable_seed)
    assert "def stable_seed(*parts: str, more: int = 3) -> int" in surface()
    monkeypatch.undo()
    assert surface() == before
    monkeypatch.setattr(api.Task, "added", lambda self, x: x, raising=False)
    assert "    <lambda>" not in surface()
    assert "    added(self, x)" in surface()
    monkeypatch.undo()
    monkeypatch.setattr(api, "__all__", [name for name in api.__all__ if name != "Value"])
    assert "class Value(" not in surface()


def test_all_that_it_has_is_in_its_list() -> None:
    public = {
        name
        for name, thing in vars(api).items()
        if not name.startswith(("_", "@")) and name not in ("annotations", "pluggy", "TYPE_CHECKING")
    }
    assert public == set(api.__all__)


def test_a_name_that_leaves_works_for_one_more_version_and_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "__getattr__", leaving("lipbench.api", {"Number": (api.Value, "Value")}))
    code = compile("from lipbench.api import Number", "plugin_of_somebody.py", "exec")
    found: dict[str, object] = {}
    with pytest.warns(DeprecationWarning, match="lipbench.api.Number leaves with version 2 of the API; write Value") as caught:
        exec(code, found)  # noqa: S102
    assert found["Number"] is api.Value
    assert caught[0].filename == "plugin_of_somebody.py"


def test_a_name_that_never_was_is_no_attribute() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Nmber'"):
        exec("from lipbench.api import Nmber")  # noqa: S102
