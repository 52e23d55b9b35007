# SPDX-License-Identifier: Apache-2.0
"""Which suites a folder of results holds."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from lipbench.contract.errors import UsageError, did_you_mean
from lipbench.results.store import RECORDS


def suite_folders(results: Path, wanted: Collection[str] = (), *, may_be_empty: bool = False) -> dict[str, Path]:
    """Folders of suites by name, sorted.

    Args:
        results: What `lipbench run --results` wrote to.
        wanted: Names of suites; empty for all.
        may_be_empty: Whether a folder without records is no error.

    Raises:
        UsageError: There is no such folder, it has no records, or it does not have a suite that is wanted.
    """
    if not results.is_dir():
        raise UsageError(f"{results}: there is no such folder; `lipbench run SUITE.yaml --results {results}` makes it")
    folders = {f.parent.name: f.parent for f in sorted(results.glob(f"*/{RECORDS}"))}
    for name in wanted:
        if name not in folders:
            raise UsageError(f"{results} has no suite {name!r}; {did_you_mean(name, folders)}")
    if not folders and (results / RECORDS).exists():
        raise UsageError(f"{results} is the folder of one suite; name the one above, {results.absolute().parent}")
    if not folders and not may_be_empty:
        raise UsageError(f"{results} has no records; `lipbench run SUITE.yaml --results {results}` writes some")
    return {name: folder for name, folder in folders.items() if not wanted or name in wanted}
