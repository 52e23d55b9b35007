# SPDX-License-Identifier: Apache-2.0
"""Read a suite: file, then profile, then `--set`, checked for structure with the place of every complaint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipbench.contract.errors import SuiteError, did_you_mean
from lipbench.suite.yamltree import Node, assign, load_yaml, merge

if TYPE_CHECKING:
    from pydantic import BaseModel

    from lipbench.suite.schema import SuiteFile

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A suite as it will run."""

    spec: SuiteFile
    tree: Node
    """The merged tree, for places in errors."""
    file: Path
    profile: str | None

    @property
    def name(self) -> str:
        """The suite's name, and that of its folder of results."""
        return self.spec.suite


def load_suite(file: Path, profile: str | None = None, settings: Sequence[str] = ()) -> Suite:
    """Read and check the structure of a suite.

    Args:
        file: The YAML file.
        profile: Name of a profile in it; None for the suite as written.
        settings: `KEY.PATH=VALUE` each, applied last; `profile=NAME` chooses the profile.

    Raises:
        SuiteError: Anything wrong, with file and line.
    """
    tree = load_yaml(file)
    if not isinstance(tree.value, dict):
        raise tree.error("a suite is a mapping; start with `lipbench: 1`")
    version = tree.value.get("lipbench")
    if version is None or version.value != FORMAT or isinstance(version.value, bool):
        found = "missing" if version is None else repr(version.plain())
        raise tree.error(
            f"`lipbench:` is {found}; this version reads suites of format 1: write `lipbench: {FORMAT}`", ["lipbench"]
        )
    chosen = [s.partition("=")[2] for s in settings if s.startswith("profile=")]
    profile = chosen[-1] if chosen else profile
    if profile is not None:
        tree = merge(tree, _profile(tree, profile))
    for setting in settings:
        if not setting.startswith("profile="):
            tree = assign(tree, setting)
    return Suite(spec=_checked(tree), tree=tree, file=file, profile=profile)


def _profile(tree: Node, name: str) -> Node:
    profiles = tree.value.get("profiles")
    known = profiles.value if profiles is not None and isinstance(profiles.value, dict) else {}
    if name not in known:
        hint = did_you_mean(name, known) if known else "the suite has no profiles"
        raise SuiteError(f"there is no profile {name!r}; {hint}", tree.source)
    patch = known[name]
    if not isinstance(patch.value, dict):
        raise patch.error(f"profile {name!r} must be a mapping that patches the suite")
    return patch


def _checked(tree: Node) -> SuiteFile:
    from pydantic import ValidationError

    from lipbench.suite.schema import SuiteFile

    try:
        spec = SuiteFile.model_validate(tree.plain())
    except ValidationError as error:
        raise _explain(tree, error, SuiteFile) from error
    if (spec.matrix is None) == (spec.blocks is None):
        raise tree.error("a suite has either `matrix:` or `blocks:`" + ("" if spec.matrix is None else ", this one has both"))
    if spec.suite == "artifacts":
        raise tree.error("the name 'artifacts' is taken by the folder of fitted models; choose another", ["suite"])
    return spec


def _explain(tree: Node, error: Any, model: type[BaseModel]) -> SuiteError:
    """The first complaint of pydantic in our words, at its line."""
    first = min(error.errors(), key=lambda e: (e["type"] != "extra_forbidden", -len(e["loc"])))
    # Branches of a union appear in the path by the name of the type; only steps that exist in the tree are places.
    path: list[str | int] = []
    for step in first["loc"]:
        here = tree.find(path).value
        inside = (isinstance(here, dict) and step in here) or (isinstance(here, list) and isinstance(step, int))
        if inside or (step == first["loc"][-1] and first["type"] == "missing"):
            path.append(step)
    name = ".".join(str(s) for s in path)
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, path)
        return tree.error(f"unknown key {path[-1]!r}; {did_you_mean(str(path[-1]), known)}", path)
    if first["type"] == "missing":
        return tree.error(f"`{name}:` is missing", path[:-1])
    found = repr(tree.find(path).plain())
    shown = found if len(found) < 80 else found[:77] + "..."
    said = first["msg"].removeprefix("Value error, ")
    return tree.error(f"{name}: {said[0].lower()}{said[1:]}, found {shown}", path)


def _fields_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    from lipbench.suite.schema import Block, CompareSpec, LeaderboardSpec, ResourcesSpec, Smallest

    if path[:2] == ["leaderboard", "compare"] and len(path) > 2:
        return list((CompareSpec if len(path) == 3 else Smallest).model_fields)
    if path[0] == "leaderboard" and len(path) > 1:
        return list(LeaderboardSpec.model_fields)
    if path[0] == "resources" and len(path) > 1:
        return list(ResourcesSpec.model_fields)
    if path[0] == "blocks" and len(path) > 2:
        return list(Block.model_fields)
    return list(model.model_fields)
