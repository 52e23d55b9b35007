# SPDX-License-Identifier: Apache-2.0
"""Plugins as pip leaves them: a module and the metadata of its distribution, in a folder on the path."""

from __future__ import annotations

from pathlib import Path

COMPONENT = (
    "from lipbench.api import Component, hookimpl\n"
    "@hookimpl\ndef lipbench_components():\n"
    "    yield Component(kind='metric', name={name!r}, factory={factory!r}, summary='a metric')\n"
)


def install(
    folder: Path, name: str, source: str | None, *, requires: str = "", point: str = "", plugin: str = "", version: str = "1.5"
) -> Path:
    """Install distribution `dist-NAME`, whose plugin NAME is the module `plug_NAME`; the file of the module."""
    module = folder / f"plug_{name}.py"
    if source is not None:
        module.write_text(source)
    metadata = folder / f"dist_{name}-{version}.dist-info"
    metadata.mkdir()
    wanted = f"Requires-Dist: {requires}\n" if requires else ""
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: {version}\n{wanted}")
    (metadata / "entry_points.txt").write_text(f"[lipbench]\n{plugin or name} = {point or module.stem}\n")
    return module
