# SPDX-License-Identifier: Apache-2.0
"""What a metric may hand back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lipbench.api import Interval, InvalidInput, Value


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"forwards": np.int64(3)}, "forwards=.*write int"),
        ({"backwards": float("nan")}, "backwards=nan is no int"),
        ({"forwards": "many"}, "forwards='many' is no int"),
        ({"interval": Interval(low=0.0, high=2.0, level="wide", method="t")}, "level"),  # type: ignore[arg-type]
        ({"interval": Interval(low=0.0, high=2.0, level=0.9, method=3)}, "method"),  # type: ignore[arg-type]
    ],
)
def test_a_field_that_is_not_of_its_type_is_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Value(value=1.0, direction="none", unit="1", **fields)
