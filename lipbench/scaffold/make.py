# SPDX-License-Identifier: Apache-2.0
"""From a name and kinds of components to the files of a package."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Literal

from lipbench import __version__
from lipbench.contract.components import KINDS, Kind
from lipbench.contract.errors import LipbenchError
from lipbench.contract.version import API_VERSION
from lipbench.files import write_atomic

_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")
Part = Literal[Kind, "format", "executor"]
PARTS: tuple[Part, ...] = (*KINDS, "format", "executor")
"""What a package may declare."""
_SUITE: frozenset[Part] = frozenset({"dataset", "task", "metric"})
"""What a suite cannot do without; so a package has it in any case, and its suite runs wherever lipbench does."""
_WHAT: Mapping[Part, tuple[str, str, str]] = {
    "dataset": ("data", "Points", "noisy points on a circle"),
    "model": ("net", "HiddenLayer", "one hidden layer with random weights"),
    "method": ("distance", "Distance", "distance of order 1 or 2"),
    "task": ("task", "Spread", "how far rows spread"),
    "metric": ("metric", "MeanDistance", "mean distance from the mean"),
    "format": ("table", "render", "tables with tabs between columns"),
    "executor": ("executor", "OneByOne", "works one after another on this machine"),
}
"""End of the name of each part, its class or function, and its summary."""
_HOOKS: Mapping[Part, tuple[str, str]] = {
    "format": ("lipbench_formats", "Format"),
    "executor": ("lipbench_executors", "ExecutorDeclaration"),
}
"""Hook and declaration of what is no component."""


def parts_for(asked: Collection[Part]) -> tuple[Part, ...]:
    """The asked parts and those that their suite needs, a component of each kind where none is asked, in the order of `PARTS`."""
    chosen = {*(asked or KINDS), *_SUITE}
    return tuple(part for part in PARTS if part in chosen)


def make_plugin(name: str, folder: Path, asked: Collection[Part] = ()) -> list[Path]:
    """Write the files of a package with one of each part.

    Args:
        name: Of the plugin; its package is `lipbench_NAME`.
        folder: Where the package goes; must not exist, or be empty.
        asked: Kinds of components, `format`, `executor`; none for a component of each kind.

    Returns:
        The files, in order.

    Raises:
        LipbenchError: The name is no Python name, or the folder is not empty.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise LipbenchError(f"a plugin's name is at most 30 lower-case letters, digits and _, such as my_net; {name!r} is not")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LipbenchError(f"{folder} is there already; choose another --output, or remove it")
    written = []
    for place, text in _texts(name, parts_for(asked)).items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)
        written.append(path)
    return written


def _texts(name: str, parts: tuple[Part, ...]) -> dict[str, str]:
    package = f"lipbench_{name}"
    words = {
        "DECLARATIONS": "\n".join(_declaration(part) for part in parts if part not in _HOOKS),
        "IMPORTS": ", ".join(sorted(["Component", *(_HOOKS[part][1] for part in parts if part in _HOOKS)])) + ", hookimpl",
        "NAME": name,
        "PKG": package,
        "DIST": package.replace("_", "-"),
        "VERSION": __version__,
        "API": str(API_VERSION),
        "WHAT": _listed([f"an {part}" if part == "executor" else f"a {part}" for part in parts]),
        "OPTIONS": f" --executor {name}_executor" if "executor" in parts else "",
        **_of_task(parts),
    }
    modules = [*parts, "evidence", "plugin"]
    template = {
        "README.md": "README.md.in",
        "pyproject.toml": "pyproject.toml.in",
        ".gitignore": "gitignore.in",
        ".github/workflows/ci.yml": "ci.yml.in",
        **{f"src/{package}/{module}.py": f"package/{module}.py.in" for module in modules},
        **{f"tests/test_{part}.py": f"tests/test_{part}.py.in" for part in parts},
    }
    made = {place: _filled(_template(source), words) for place, source in template.items()}
    made[f"src/{package}/plugin.py"] += "".join(_filled(_hook(part), words) for part in parts if part in _HOOKS)
    made[f"src/{package}/__init__.py"] = f'"""A plugin of lipbench with {words["WHAT"]}."""\n'
    made[f"src/{package}/py.typed"] = ""
    made[f"suites/{name}.yaml"] = _suite(name, parts)
    return dict(sorted(made.items()))


def _template(name: str) -> str:
    return files("lipbench.scaffold").joinpath("templates", name).read_text()


def _filled(text: str, words: Mapping[str, str]) -> str:
    # Twice, because what is filled in may have places of its own.
    for _ in range(2):
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
    return text


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _declaration(part: Part) -> str:
    suffix, name, summary = _WHAT[part]
    first = "" if part in _HOOKS else f'        kind="{part}",\n'
    return (
        f'    yield {_HOOKS[part][1] if part in _HOOKS else "Component"}(\n{first}        name="@NAME@_{suffix}",\n'
        f'        factory="@PKG@.{part}:{name}",\n        summary="{summary}",\n    )'
    )


def _hook(part: Part) -> str:
    """A hook that declares what is no component."""
    hook, kind = _HOOKS[part]
    return f'\n\n@hookimpl\ndef {hook}() -> Iterable[{kind}]:\n    """The {part} of this plugin."""\n{_declaration(part)}\n'


def _of_task(parts: tuple[Part, ...]) -> dict[str, str]:
    """What hangs on the roles of the task: a dataset, and a network and a distance where the package has them."""
    network, distance = "model" in parts, "method" in parts
    roles, filled = ["data: Dataset"], ['"data": {"use": "@NAME@_data", "count": 16}']
    body = [
        '"""Take the test rows as they are."""',
        'rows = data.split("test", ctx).inputs.reshape(-1, math.prod(data.spec().shape))',
    ]
    if network:
        roles.insert(0, "network: Network")
        filled.insert(0, '"network": "@NAME@_net"')
        body = [
            '"""Send the test rows through the network, some at a time."""',
            'inputs = torch.from_numpy(data.split("test", ctx).inputs)',
            "with torch.inference_mode():",
            "    rows = torch.cat([network.module(part) for part in inputs.split(ctx.batch(256))]).numpy()",
        ]
    if distance:
        roles.append("distance: Distance")
        filled.append('"distance": "@NAME@_distance"')
    return {
        "IMPORT_MATH": "" if network else "import math\n\n",
        "IMPORT_TORCH": "import torch\n" if network else "",
        "IMPORT_NETWORK": "Network, " if network else "",
        "IMPORT_METHOD": "from @PKG@.method import Distance\n" if distance else "",
        "ROWS": "the outputs of a network on a dataset" if network else "the rows of a dataset",
        "FITS": '    fits = {"network": "data"}\n' if network else "",
        "ROLES": "".join(f"        {role},\n" for role in roles),
        "FILLED": "".join(f"        {role},\n" for role in filled),
        "BODY": "".join(f"        {line}\n" for line in body),
        "DISTANCES": "distance.between(rows, centre)" if distance else "np.linalg.norm(rows - centre, axis=1)",
    }


def _suite(name: str, parts: tuple[Part, ...]) -> str:
    lines = ["lipbench: 1", f"suite: {name}", f"task: {name}_task", "matrix:"]
    if "model" in parts:
        lines.append(f"  network: [{name}_net, {{use: {name}_net, width: 32, as: wide}}]")
    lines.append(f"  data: [{name}_data, {{use: {name}_data, noise: 0.2, as: noisy}}]")
    if "method" in parts:
        lines.append(f"  distance: [{name}_distance, {{use: {name}_distance, order: 1, as: manhattan}}]")
    return "\n".join([*lines, f"metrics: [{name}_metric]", "seeds: 3"]) + "\n"
