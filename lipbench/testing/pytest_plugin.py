# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin: components are tested with a cache of their own, and waived checks are shown at the end of a session."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def _lipbench_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What was learned of components in other runs must not decide a test."""
    if "LIPBENCH_CACHE" in os.environ:
        yield
        return
    os.environ["LIPBENCH_CACHE"] = str(tmp_path_factory.getbasetemp() / "lipbench-cache")
    yield
    del os.environ["LIPBENCH_CACHE"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many checks ran, and name those that were waived."""
    kit = sys.modules.get("lipbench.testing.kit")
    if kit is None or not kit.REPORTS:
        return
    results = [(report, result) for report in kit.REPORTS for result in report.results]
    counts = {status: sum(r.status == status for _, r in results) for status in ("ok", "does not apply", "waived", "fault")}
    terminalreporter.section("lipbench conformance")
    terminalreporter.write_line(
        f"{len(kit.REPORTS)} components: " + ", ".join(f"{count} checks {status}" for status, count in counts.items() if count)
    )
    for report, result in results:
        if result.status == "waived":
            terminalreporter.write_line(f"waived: {report.kind} {report.name}, {result.check}: {result.messages[0]}")
