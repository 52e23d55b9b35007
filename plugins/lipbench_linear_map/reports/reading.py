# SPDX-License-Identifier: Apache-2.0
"""Records read as results: under which setting, of which target and source, with which seed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from lipbench.api import Record

NULL_MAPS = frozenset({"identity", "random", "shuffled"})
"""Maps that carry nothing over: what they give is what a real map is compared with."""
_ROLES = ("data", "attack", "map", "feature", "surrogate")
_MAPPING = ("map", "map_fit", "map_rows", "negatives")
"""What a network's own detector does not depend on."""


_JSON = json.JSONEncoder(sort_keys=True)


class Point(NamedTuple):
    """One ordered pair of networks, with one seed."""

    target: str
    source: str
    seed: int


Found = Mapping[Point, float]


@dataclass(frozen=True)
class Setting:
    """Everything but the two networks, the seed and the metric."""

    facts: tuple[tuple[str, str], ...]
    """Role or task parameter, and in JSON what it is; a role has label, component and parameters."""

    def get(self, name: str) -> Any:
        """What a task parameter is; None where there is none of that name."""
        return json.loads(dict(self.facts).get(name, "null"))

    def label(self, role: str) -> str:
        """Label of a role; empty where it is not filled."""
        return str((self.get(role) or [""])[0])

    def use(self, role: str) -> str:
        """Component that fills a role."""
        return str((self.get(role) or ["", ""])[1])

    def params(self, role: str) -> Mapping[str, Any]:
        """Parameters of a role."""
        return dict((self.get(role) or ["", "", {}])[2])

    @property
    def null(self) -> bool:
        """Whether its map carries nothing over."""
        return self.use("map") in NULL_MAPS

    @property
    def options(self) -> dict[str, Any]:
        """The task's parameters."""
        return {name: json.loads(text) for name, text in self.facts if name not in (*_ROLES, "device")}

    def apart(self, *names: str) -> tuple[tuple[str, str], ...]:
        """All facts but these: settings that agree in it differ in nothing else."""
        return tuple(fact for fact in self.facts if fact[0] not in names)

    def __str__(self) -> str:
        """Its labels, the data first."""
        return ", ".join(label for role in ("data", "attack", "map", "feature") if (label := self.label(role)))


class Results:
    """The records of a suite, by setting and metric.

    Args:
        records: In the order of the plan, which is that of settings and networks too.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._settings: dict[Setting, dict[str, list[Record]]] = {}
        self._native: set[tuple[str, str]] = set()
        for record in records:
            mine = self._settings.setdefault(setting_of(record), {})
            mine.setdefault(record.uses.get("metric", record.metric), []).append(record)
            if record.extras.get("native") is True:
                self._native.add(pair_of(record))
        self._own = dict(self._natives())

    @property
    def settings(self) -> list[Setting]:
        """In the order of the plan."""
        return list(self._settings)

    @property
    def datasets(self) -> list[str]:
        """Labels of the data, in the order of the plan."""
        return list(dict.fromkeys(s.label("data") for s in self._settings))

    def native(self, point: Point) -> bool:
        """Whether source and target are one network."""
        return point.source == point.target or (point.target, point.source) in self._native

    def asked(self, setting: Setting, metric: str) -> list[Record]:
        """All records of a metric, failed ones too."""
        return self._settings[setting].get(metric, [])

    def failed(self, setting: Setting) -> list[Record]:
        """The records without a value, of any metric."""
        return [r for found in self._settings[setting].values() for r in found if not _measured(r)]

    def records(self, setting: Setting, metric: str, **params: Any) -> dict[Point, Record]:
        """What was measured by a metric with these parameters; the first of several with other parameters that differ."""
        found: dict[Point, Record] = {}
        for r in self.asked(setting, metric):
            given = r.params.get("metric", {})
            if _measured(r) and all(given.get(name) == value for name, value in params.items()):
                found.setdefault(point_of(r), r)
        return found

    def values(self, setting: Setting, metric: str, **params: Any) -> dict[Point, float]:
        """The values of a metric on all points, the diagonal too."""
        return {p: float(r.value or 0.0) for p, r in self.records(setting, metric, **params).items()}

    def mapped(self, setting: Setting, metric: str = "auroc", **params: Any) -> dict[Point, float]:
        """The values of a metric off the diagonal."""
        return {p: v for p, v in self.values(setting, metric, **params).items() if not self.native(p)}

    def own(self, setting: Setting, of: str, points: Iterable[Point]) -> dict[Point, float]:
        """AUROC of the own detector of each point's `source` or `target`, where any cell of the suite has measured it."""
        keys = {p: own_key(setting, of, p) for p in points}
        return {p: self._own[key] for p, key in keys.items() if key in self._own}

    def headline(self, data: str | None = None, metric: str = "auroc") -> Setting | None:
        """The setting with the most pairs, the first of several; null maps only where there are no others.

        Args:
            data: Label of the data; None for any.
            metric: What must have been asked there.
        """
        mine = [s for s in self._settings if data in (None, s.label("data")) and self.asked(s, metric)]
        pairs = {s: len({p[:2] for p in self.mapped(s, metric)}) for s in mine}
        return max(mine, key=lambda s: (not s.null, pairs[s]), default=None)

    def _natives(self) -> Iterator[tuple[Any, float]]:
        """Key of a network's own detector to its AUROC; equal keys have equal values unless records contradict each other."""
        for setting in reversed(self._settings):
            for p, v in self.values(setting, "auroc").items():
                if self.native(p):
                    yield own_key(setting, "target", p), v
            for of in ("source", "target"):
                for p, v in self.values(setting, "native_auroc", of=of).items():
                    yield own_key(setting, of, p), v


def own_key(setting: Setting, of: str, point: Point) -> tuple[Any, ...]:
    """What the own detector of a point's `source` or `target` depends on: network, whose images it sees, setting and seed."""
    network = getattr(point, of)
    crafted = setting.get("crafted_on")
    victim = getattr(point, crafted) if crafted in ("source", "target") else network
    return setting.apart(*_MAPPING, "crafted_on"), network, victim, point.seed


def setting_of(record: Record) -> Setting:
    """The setting of a record, also of a failed one."""
    roles, uses, params = record.roles, record.uses, record.params
    facts: dict[str, Any] = {r: [roles[r], uses.get(r), params.get(r, {})] for r in _ROLES if r in roles}
    # Networks may be fitted on the device, and draws are the same only within one class of devices.
    return _setting(_JSON.encode(facts | {"device": [record.device.split(":")[0]], **params.get("task", {})}))


@lru_cache(maxsize=4096)
def _setting(facts: str) -> Setting:
    """Most records of a suite share their setting with others."""
    return Setting(tuple((name, _JSON.encode(fact)) for name, fact in json.loads(facts).items()))


def pair_of(record: Record) -> tuple[str, str]:
    """Labels of target and source."""
    return record.roles.get("target", ""), record.roles.get("source", "")


def point_of(record: Record) -> Point:
    """The pair of networks and the seed of a record."""
    return Point(*pair_of(record), record.seed)


def numbers(found: Mapping[Point, Record], key: str) -> dict[Point, float]:
    """A number that the records have in their extras, where they do."""
    return {
        p: float(number)
        for p, r in found.items()
        if isinstance(number := r.extras.get(key), (int, float)) and math.isfinite(number)
    }


def _measured(record: Record) -> bool:
    return record.status == "ok" and record.value is not None and math.isfinite(record.value)


def varying(settings: Sequence[Setting]) -> list[str]:
    """What tells these settings apart beside data, attack, map and feature: the surrogate and task parameters, by name."""
    names = dict.fromkeys(name for s in settings for name, _ in s.facts if name == "surrogate" or name in s.options)
    return [name for name in names if len({dict(s.facts).get(name) for s in settings}) > 1]


def differences(setting: Setting, other: Setting, *but: str) -> str:
    """What a setting has otherwise than another one, in words; `but` are names that do not matter."""
    theirs = dict(other.facts)
    return ", ".join(f"{name} {said(setting, name)}" for name, fact in setting.apart(*but) if theirs.get(name) != fact)


def said(setting: Setting, name: str) -> str:
    """A role or task parameter in words.

    >>> said(Setting((("map_rows", "null"), ("C", "1.0"))), "map_rows")
    'all'
    """
    if name in _ROLES:
        return setting.label(name)
    value = setting.get(name)
    if value is None:
        return "all" if name == "map_rows" else "none"
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
