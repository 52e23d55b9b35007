# SPDX-License-Identifier: Apache-2.0
"""From a name and kinds of components to the files of a package."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from lipbench import __version__
from lipbench.contract.components import KINDS, Kind
from lipbench.contract.errors import LipbenchError
from lipbench.contract.version import API_VERSION
from lipbench.files import write_atomic

_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")
_NEEDS: Mapping[Kind, tuple[Kind, ...]] = {"method": ("task", "metric"), "task": ("metric",)}
"""A method is used by a task alone, and a task without a metric measures nothing."""
_WHAT: Mapping[Kind, tuple[str, str]] = {
    "dataset": ("Points", "noisy points on a circle"),
    "model": ("HiddenLayer", "one hidden layer with random weights"),
    "method": ("Distance", "distance of order 1 or 2"),
    "task": ("Spread", "how far outputs spread"),
    "metric": ("MeanDistance", "mean distance from the mean"),
}
"""Class and summary of the component of each kind."""
_SUFFIX: Mapping[Kind, str] = {"dataset": "data", "model": "net", "method": "distance", "task": "task", "metric": "metric"}


def kinds_for(asked: Iterable[Kind]) -> tuple[Kind, ...]:
    """The asked kinds and those that they need, all where none is asked, in the order of `KINDS`."""
    chosen = set(asked) or set(KINDS)
    for kind in tuple(chosen):
        chosen.update(_NEEDS.get(kind, ()))
    return tuple(kind for kind in KINDS if kind in chosen)


def make_plugin(name: str, folder: Path, asked: Iterable[Kind] = ()) -> list[Path]:
    """Write the files of a package for one component of each kind.

    Args:
        name: Of the plugin; its package is `lipbench_NAME`.
        folder: Where the package goes; must not exist, or be empty.
        asked: Kinds of components; none for all.

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
    for place, text in _texts(name, kinds_for(asked)).items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)
        written.append(path)
    return written


def _texts(name: str, kinds: tuple[Kind, ...]) -> dict[str, str]:
    package = f"lipbench_{name}"
    words = {
        "NAME": name,
        "PKG": package,
        "DIST": package.replace("_", "-"),
        "VERSION": __version__,
        "API": str(API_VERSION),
        "WHAT": _listed([f"a {kind}" for kind in kinds]),
        "DECLARATIONS": "\n".join(_declaration(kind, "task" in kinds) for kind in kinds),
        **_of_task("method" in kinds),
    }
    code = {kind: f"package/{kind}.py.in" for kind in kinds}
    if "task" in kinds:
        code["evidence"] = "package/evidence.py.in"  # type: ignore[index]
    elif "metric" in kinds:
        code["metric"] = "package/metric_of_lipschitz.py.in"
    template = {
        "README.md": "README.md.in",
        "pyproject.toml": "pyproject.toml.in",
        ".gitignore": "gitignore.in",
        ".github/workflows/ci.yml": "ci.yml.in",
        f"src/{package}/plugin.py": "package/plugin.py.in",
        **{f"src/{package}/{module}.py": source for module, source in code.items()},
    }
    made = {place: _filled(_template(source), words) for place, source in template.items()}
    made[f"src/{package}/__init__.py"] = f'"""A plugin of lipbench with {words["WHAT"]}."""\n'
    made[f"src/{package}/py.typed"] = ""
    made[f"suites/{name}.yaml"] = _suite(name, kinds)
    made["tests/test_conformance.py"] = _filled(_tests(kinds), words)
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


def _declaration(kind: Kind, own_task: bool) -> str:
    cls, summary = _WHAT[kind] if kind != "metric" or own_task else ("Slope", "slope in one direction")
    return (
        f'    yield Component(\n        kind="{kind}",\n        name="@NAME@_{_SUFFIX[kind]}",\n'
        f'        factory="@PKG@.{kind}:{cls}",\n        summary="{summary}",\n    )'
    )


def _of_task(with_method: bool) -> dict[str, str]:
    """How the task measures distances: by a method that fills a role, or by itself."""
    if with_method:
        return {
            "IMPORT_METHOD": "from @PKG@.method import Distance\n",
            "ROLE": "distance: Distance, ",
            "DISTANCES": "distance.between(outputs, centre)",
        }
    return {"IMPORT_METHOD": "", "ROLE": "", "DISTANCES": "np.linalg.norm(outputs - centre, axis=1)"}


def _suite(name: str, kinds: tuple[Kind, ...]) -> str:
    own = "task" in kinds
    network = (
        f"[{name}_net, {{use: {name}_net, width: 32, as: wide}}]"
        if "model" in kinds
        else "{use: random_relu, sizes: [2, 8, 2]}"
    )
    plain = "{use: uniform_noise, shape: [2], low: -1, high: 1, integers: false, count: 64, as: square}"
    lines = [
        "lipbench: 1",
        f"suite: {name}",
        f"task: {name}_task" if own else "task: {use: lipschitz, count: 16, points: 16}",
        "matrix:",
        f"  network: {network}",
        f"  data: {f'{name}_data' if 'dataset' in kinds else plain}",
        *([f"  distance: [{name}_distance, {{use: {name}_distance, order: 1, as: manhattan}}]"] if "method" in kinds else []),
        f"metrics: [{', '.join([*([] if own else ['random_pairs', 'spectral_product']), *([f'{name}_metric'] if 'metric' in kinds else [])])}]",
        "seeds: 3",
    ]
    return "\n".join(lines) + "\n"


def _tests(kinds: tuple[Kind, ...]) -> str:
    """Tests by the conformance kit."""
    own = "task" in kinds
    network, data = "@NAME@_net" if "model" in kinds else "", "@NAME@_data" if "dataset" in kinds else ""
    data_use = f'{{"use": "{data}", "count": 16}}' if data else (
        '{"use": "uniform_noise", "shape": [2], "low": -1, "high": 1, "integers": False, "count": 16}'
    )  # fmt: skip
    network_use = f'"{network}"' if network else '{"use": "random_relu", "sizes": [2, 8, 2]}'
    roles = [
        f'"network": {network_use}',
        f'"data": {data_use}',
        *(['"distance": "@NAME@_distance"'] if "method" in kinds else []),
    ]
    tests: list[str] = []
    imports: set[str] = set()
    used: set[str] = set()
    if "dataset" in kinds:
        imports.add("check_dataset")
        tests.append('def test_dataset() -> None:\n    check_dataset("@NAME@_data")\n')
    if "model" in kinds:
        imports.add("check_model")
        source = "Points(count=16)" if data else "UniformNoise(shape=[2], low=-1, high=1, integers=False, count=16)"
        used.add("from @PKG@.dataset import Points" if data else "from lipbench_basics.datasets.noise import UniformNoise")
        tests.append(f'def test_model() -> None:\n    data = {source}\n    check_model("@NAME@_net", data=data)\n')
    if "method" in kinds:
        imports.add("check_method")
        used.add("import numpy as np")
        tests.append(
            "def test_method() -> None:\n    rows = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)\n"
            '    check_method(\n        "@NAME@_distance",\n        inputs=lambda: rows.copy(),\n'
            "        call=lambda method, given, ctx: method.between(given, given[0]),\n    )\n"
        )
    listed = "".join(f"    {role},\n" for role in roles)
    if own:
        imports |= {"check_task", "check_metric"}
        used |= {"import numpy as np", "from @PKG@.evidence import Outputs"}
        tests.append('def test_task() -> None:\n    check_task("@NAME@_task", roles=ROLES, metrics=["@NAME@_metric"])\n')
        tests.append(
            "def test_metric() -> None:\n    check_metric(\n"
            '        "@NAME@_metric",\n        evidence=lambda: Outputs(np.linspace(0.5, 1.0, 9, dtype=np.float32)),\n'
            "        better=lambda: Outputs(np.linspace(1.0, 2.0, 9, dtype=np.float32)),\n"
            '        unit="output",\n        invariances={"permutation": None, "scaling": 1},\n    )\n'
        )
    elif "metric" in kinds:
        imports |= {"check_metric", "make_evidence"}
        tests.append(
            "def test_metric() -> None:\n"
            '    metric, few = "@NAME@_metric", {"count": 8, "points": 8}\n'
            '    evidence = make_evidence("lipschitz", roles=ROLES, metric=metric, params=few)\n'
            "    check_metric(metric, evidence=lambda: evidence)\n"
        )
    constant = f"ROLES = {{\n{listed}}}\n\n\n" if "metric" in kinds else ""
    imports_ = f"from lipbench.testing import {', '.join(sorted(imports))}"
    own_lines = sorted(line for line in used if "@PKG@" in line)
    others = sorted([*(used - set(own_lines)), imports_], key=lambda line: (line.startswith("from"), line))
    blocks = ["\n".join(block) for block in (others, own_lines) if block]
    head = '"""The components keep the contract of their kinds."""\n\nfrom __future__ import annotations\n\n'
    blank = "\n\n" if constant else "\n\n\n"
    return head + "\n\n".join(blocks) + blank + constant + "\n\n".join(tests)
