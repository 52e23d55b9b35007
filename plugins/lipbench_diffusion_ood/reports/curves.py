# SPDX-License-Identifier: Apache-2.0
"""AUROCs of LMD along one parameter, all else the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lipbench.api import Record

from .reading import AUROC, Pair, attempts, kind_of, measured, pair_of, said, same_set

_FILES = frozenset({"trunk", "heads"})
"""Parameters that name files: they tell nothing apart that the others do not."""


@dataclass
class Curve:
    """LMD detectors on one pair that differ in one parameter alone."""

    pair: Pair
    facts: Mapping[str, str]
    """What they have in common."""
    points: dict[Any, dict[int, Record]] = field(default_factory=dict)
    """Parameter to the record of each seed."""


def curves(records: Iterable[Record], role: str, name: str, value: Callable[[Record], Any]) -> list[Curve]:
    """LMD's AUROCs along one parameter of a role, all else the same; only curves of several points.

    Args:
        records: In the order of the plan.
        role: `detector` or `lift`; its parameters are told apart one by one, other roles by their labels.
        name: The parameter.
        value: What it comes to in a record; records where it is None are left out.
    """
    found: dict[tuple[Pair, str], Curve] = {}
    for r in records:
        if r.uses.get("metric") != AUROC or kind_of(r) != "lmd" or not measured(r) or same_set(r) or value(r) is None:
            continue
        facts = {other: r.roles.get(other, "") for other in ("backbone", "lift", "detector") if other != role}
        facts |= {"device": r.device.split(":")[0], "task": json.dumps(dict(r.params.get("task", {})), sort_keys=True)}
        facts |= {role: r.uses.get(role, "")}
        facts |= {f"{role} {k}": said(v) for k, v in r.params.get(role, {}).items() if k != name and k not in _FILES}
        curve = found.setdefault((pair_of(r), json.dumps(facts, sort_keys=True)), Curve(pair_of(r), facts))
        curve.points.setdefault(value(r), {}).setdefault(r.seed, r)
    return [curve for curve in found.values() if len(curve.points) > 1]


def attempts_curves(records: Iterable[Record]) -> list[Curve]:
    """LMD's AUROCs against the number of its attempts, from the same reconstructions."""
    return curves(records, "detector", "attempts", attempts)


def names_apart(found: Sequence[Curve], first: str) -> list[str]:
    """Names of curves: a fact that always stands first, and then whatever tells those of one pair apart."""
    by_pair: dict[tuple[Pair, str], set[str | None]] = {}
    keys = dict.fromkeys(key for c in found for key in c.facts if key not in (first, "device"))
    for c in found:
        for key in keys:
            by_pair.setdefault((c.pair, key), set()).add(c.facts.get(key))
    told = [key for key in keys if any(len(words) > 1 for (_, k), words in by_pair.items() if k == key)]
    return [", ".join([c.facts.get(first, ""), *(_fact(key, c.facts[key]) for key in told if key in c.facts)]) for c in found]


def _fact(key: str, word: str) -> str:
    name = key.partition(" ")[2]
    return f"{name} {word}" if name and name not in ("mask", "aggregate") else word
