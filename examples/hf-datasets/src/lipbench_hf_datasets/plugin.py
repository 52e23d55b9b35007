# SPDX-License-Identifier: Apache-2.0
"""What the plugin declares; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable

from lipbench.api import Component, hookimpl

lipbench_api = 1


@hookimpl
def lipbench_components() -> Iterable[Component]:
    """One dataset."""
    yield Component(
        kind="dataset",
        name="hf_table",
        factory="lipbench_hf_datasets.table:HfTable",
        summary="CSV, JSON or Parquet by datasets",
    )
