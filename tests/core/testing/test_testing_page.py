# SPDX-License-Identifier: Apache-2.0
"""The example of docs/testing.md passes on the plugin of docs/plugins.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"


def written(page: str, name: str) -> str:
    """What the blocks of a page write to a file."""
    return "\n\n".join(re.findall(rf"^```python {re.escape(name)}\n(.*?)^```$", (DOCS / page).read_text(), flags=re.M | re.S))


def test_the_example_passes(pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("spread.py").write_text(written("plugins.md", "spread.py"))
    pytester.path.joinpath("test_spread.py").write_text(written("testing.md", "test_spread.py"))
    pytester.path.joinpath("pytest.ini").write_text("[pytest]\npythonpath = .\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["*5 components*"])
