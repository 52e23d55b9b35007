# SPDX-License-Identifier: Apache-2.0
"""Records read as bounds: on which constant, on which region, and whether they may be relied on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lipbench.api import Record

_KINDS = ("lower", "upper", "exact", "estimate")
_PLACES = ("global", "box", "centred box", "balls")
_SIZED = re.compile(r"(box|ball)\((.+)\)")


@dataclass(frozen=True, kw_only=True)
class Region:
    """Where a bound holds, or where it was searched."""

    place: Literal["global", "box", "centred box", "balls"]
    size: float = 0.0
    """Radius of the balls, or half width of a box around the centre of the data's box."""
    points: int = 0
    """Number of balls; the same seed draws the same centres."""

    def inside(self, other: Region) -> bool:
        """Whether every pair of points that this region admits is one of the other region; False where that is not known."""
        if other.place == "global":
            return True
        if other.place == "box":  # balls are cut by the box
            return self.place in ("box", "balls")
        return self.place == other.place and self.points == other.points and self.size <= other.size

    def __str__(self) -> str:
        if self.place == "global":
            return "R^n"
        if self.place == "box":
            return "box"
        return f"{'box' if self.place == 'centred box' else 'ball'}({self.size:g})"

    def order(self) -> tuple[int, float, int]:
        """For sorting: the widest places first, then by size."""
        return _PLACES.index(self.place), self.size, self.points


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A constant that bounds are about, up to region and seed: of one network on one dataset, in one norm, at one layer."""

    network: str
    data: str
    norm: str
    layer: str
    identity: str
    """Everything that makes network and data what they are, so that equal labels are not taken for equal networks."""

    def order(self) -> tuple[Any, ...]:
        """For sorting as a reader would."""
        return natural(self.data), natural(self.network), self.norm, self.layer, self.identity

    def __str__(self) -> str:
        return f"{self.network} on {self.data}, {self.norm}, {self.layer}"


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A finite value of a Lipschitz metric."""

    record: Record
    quantity: Quantity
    region: Region
    kind: str
    value: float
    """Per [0,1] input unit."""

    @property
    def sound(self) -> bool:
        """Whether it may stand as a bound: ranked, no statistical estimate, and certified where it bounds from above.

        A lower bound counts as well where its rounding error is estimated and subtracted, since it is ranked; see `proved`.
        """
        ranked = self.record.unranked is None and self.kind != "estimate"
        return ranked and (self.kind == "lower" or self.proved)

    @property
    def proved(self) -> bool:
        """Whether rounding is accounted for by a proof, not by an estimate."""
        return self.record.extras.get("certified") is True

    @property
    def low(self) -> float:
        """The value, or the lower end of the enclosure of an exact value."""
        return self._end("low")

    @property
    def high(self) -> float:
        """The value, or the upper end of the enclosure of an exact value."""
        return self._end("high")

    def _end(self, name: str) -> float:
        enclosure = self.record.interval if self.kind == "exact" else None
        return float(enclosure[name]) if enclosure else self.value

    @property
    def metric(self) -> str:
        """Label of the metric."""
        return self.record.metric

    @property
    def dtype(self) -> str:
        """Precision of the search."""
        return str(self.record.extras.get("dtype", ""))

    def task(self, name: str) -> Any:
        """A parameter of the task."""
        return task_of(self.record).get(name)

    def order(self) -> tuple[Any, ...]:
        """For sorting, the same whatever order the records come in."""
        return self.quantity.order(), self.record.seed, self.region.order(), self.metric, self.dtype, self.record.cell


def read_bounds(records: Iterable[Record]) -> list[Bound]:
    """The records that carry a finite bound, exact value or estimate, sorted."""
    found = [
        Bound(
            record=r,
            quantity=quantity_of(r),
            region=_region(str(r.extras.get("region", "")), r),
            kind=r.extras["kind"],
            value=float(r.value),
        )
        for r in records
        if r.status == "ok" and r.value is not None and math.isfinite(r.value) and r.extras.get("kind") in _KINDS
    ]
    return sorted(found, key=Bound.order)


def quantity_of(record: Record) -> Quantity:
    """What the record is about, also where the metric failed."""
    task, roles = task_of(record), record.roles
    # Networks may be drawn or fitted on the device, and draws are the same only within one class of devices.
    facts: list[Any] = [record.device.split(":")[0]]
    facts += [
        [role, label, record.uses.get(role), record.params.get(role), record.code.get(role), record.data.get(role)]
        for role, label in sorted(roles.items())
    ]
    return Quantity(
        network=roles.get("network", ""),
        data=roles.get("data", ""),
        norm=str(task.get("norm", "l2")),
        layer=str(task.get("layer", "logits")),
        identity=json.dumps(facts, sort_keys=True),
    )


def task_region(record: Record) -> Region:
    """The region that the task of a record asks about."""
    radius = task_of(record).get("radius")
    return Region(place="box") if radius is None else _balls(record, float(radius))


def task_of(record: Record) -> Mapping[str, Any]:
    """Parameters of the task."""
    return record.params.get("task", {})


def _region(text: str, record: Record) -> Region:
    task = task_region(record)
    if text == str(task):  # the text has six digits of the radius, the task has all
        return task
    sized = _SIZED.fullmatch(text)
    if sized is None:
        return Region(place="box" if text == "box" else "global")
    size = float(sized[2])
    return Region(place="centred box", size=size) if sized[1] == "box" else _balls(record, size)


def _balls(record: Record, radius: float) -> Region:
    return Region(place="balls", size=radius, points=int(task_of(record).get("points", 0)))


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """For sorting: numbers in a text by their size.

    >>> sorted(["relu 2-16-2", "relu 2-8-2"], key=natural)
    ['relu 2-8-2', 'relu 2-16-2']
    """
    parts = re.split(r"([0-9]+)", text)
    return tuple((0, int(p), "") if i % 2 else (1, 0, p) for i, p in enumerate(parts))


def number(value: float) -> str:
    """Five significant digits.

    >>> number(39.69909), number(0.00043018241), number(1234567.0)
    ('39.699', '0.00043018', '1.2346e+06')
    """
    return f"{value:.5g}"
