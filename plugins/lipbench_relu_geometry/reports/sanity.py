# SPDX-License-Identifier: Apache-2.0
"""What cannot be: counts that engines disagree on, crossings of the wrong parity, fewer cells in all than in a box."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lipbench.api import Record

from .reading import good


def sanity(records: Sequence[Record]) -> Iterable[str]:
    """Sentences, each a contradiction.

    Args:
        records: In any order.
    """
    for r in good(records, "enumeration_faults"):
        for fault in r.extras.get("faults", []):
            yield f"{r.roles['network']}, seed {r.seed}: {fault}"
    for r in good(records, "segment_cells", of="excess"):
        if r.extras.get("odd"):
            yield f"{r.roles['network']}, seed {r.seed}: {r.extras['odd']} segments cross an odd number of units too many"
    whole = {_key(r): r for r in good(records, "region_count", where="whole", kind="all")}
    for r in good(records, "region_count", where="box"):
        more = whole.get(_key(r))
        if more and any(b > a for a, b in zip(more.extras["counts"], r.extras["counts"], strict=True)):
            yield f"{r.roles['network']}, seed {r.seed}: more cells in the box than in the whole space"


def _key(r: Record) -> tuple[str, str, int]:
    return r.roles["network"], r.roles["data"], r.seed
