# SPDX-License-Identifier: Apache-2.0
"""Takes the stub where auto_LiRPA cannot be imported, and says so."""

import sys
from pathlib import Path

try:
    import auto_LiRPA  # noqa: F401

    STUB = ""
except ImportError as error:
    for name in [n for n in sys.modules if n.split(".")[0] == "auto_LiRPA"]:
        del sys.modules[name]
    sys.path.insert(0, str(Path(__file__).parent / "stub"))
    STUB = f"a stub stands in for auto_LiRPA: {error}"


def pytest_report_header():
    return STUB or "auto_LiRPA is installed"
