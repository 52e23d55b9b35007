# SPDX-License-Identifier: Apache-2.0
"""Records read as results."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lipbench.api import Record

if TYPE_CHECKING:
    import numpy as np


def measured(records: Sequence[Record], metric: str) -> list[Record]:
    """Good records of a metric, of the first seed of each cell, in the order of the plan."""
    found: dict[tuple[Any, ...], Record] = {}
    for r in records:
        if r.uses.get("metric") == metric and r.status == "ok" and r.value is not None and math.isfinite(r.value):
            found.setdefault((pair_of(r), distance_of(r), r.metric), r)
    return list(found.values())


def pair_of(record: Record) -> str:
    """Label of the pair."""
    return record.roles.get("pair", "")


def distance_of(record: Record) -> str:
    """Label of the distance."""
    return record.roles.get("distance", "")


def parameter(record: Record, name: str) -> Any:
    """A parameter of the metric; None where it has none of that name."""
    return record.params.get("metric", {}).get(name)


def in_order(names: Iterable[str]) -> list[str]:
    """Each once, in the order of their first."""
    return list(dict.fromkeys(names))


def picture(text: str) -> np.ndarray:
    """What a metric has kept as base64 of a PNG or JPEG."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image.convert("RGB"))
