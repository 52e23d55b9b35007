# SPDX-License-Identifier: Apache-2.0
"""The audit: values that cannot all be right."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from lipbench.api import Record

from .reading import AUROC, SHARES, attempts, evaluations, kind_of, measured, pair_name, pair_of, same_set


def sanity(records: Sequence[Record]) -> Iterator[str]:
    """One sentence for each contradiction.

    Checked are: shares in [0, 1]; that no detector tells a set from itself; that one detector has one AUROC on the same sets
    with the same seed, where an LMD detector that uses all attempts is the same as one that uses as many as there are; and
    that an image costs a detector the same whatever set it comes from.

    Args:
        records: In any order.
    """
    first: dict[str, Record] = {}
    cost: dict[str, Record] = {}
    for r in filter(measured, records):
        metric = r.uses.get("metric")
        if metric in SHARES and not 0 <= float(r.value or 0.0) <= 1:
            yield f"{_where(r)}: {r.metric} is {r.value!r}, outside [0, 1]"
        if metric == AUROC and same_set(r) and r.value != 0.5:
            yield f"{_where(r)}: both sets are one, but {r.metric} is {r.value!r}, not 0.5"
        if metric == AUROC:
            other = first.setdefault(_key(r, "in_dist", "out_dist", "backbone", "lift", "detector"), r)
            if other.value != r.value:
                yield f"the same detector has {r.metric} {other.value!r} ({_where(other)}) and {r.value!r} ({_where(r)})"
        # The adaptive solver of a likelihood takes as many steps as an image needs.
        if evaluations(r) is not None and r.params.get("lift", {}).get("method") != "rk45":
            other = cost.setdefault(_key(r, "backbone", "lift", "detector", seeded=False), r)
            if evaluations(other) != evaluations(r):
                yield f"an image costs {evaluations(other):g} evaluations ({_where(other)}) and {evaluations(r):g} ({_where(r)})"


def _key(record: Record, *roles: str, seeded: bool = True) -> str:
    """What a value hangs on: components and parameters, whatever their labels."""
    params = {role: dict(record.params.get(role, {})) for role in ("task", *roles)}
    if kind_of(record) == "lmd":
        params["detector"]["attempts"] = attempts(record)
    uses = {role: record.uses.get(role) for role in roles}
    data = {role: record.data.get(role) for role in roles}
    return json.dumps([uses, params, data, record.device.split(":")[0], record.seed if seeded else None], sort_keys=True)


def _where(record: Record) -> str:
    labels = [record.roles.get(role, "") for role in ("detector", "lift", "backbone")]
    return f"{', '.join(labels)}, {pair_name(pair_of(record))}, seed {record.seed}"
