# SPDX-License-Identifier: Apache-2.0
"""What a metric hands back, and the finished record that the harness makes of it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from lipbench.contract.errors import InvalidInput

Direction = Literal["higher", "lower", "none"]
Status = Literal["ok", "failed", "timeout"]
Standing = Literal["", "ok", "partial", "failed", "missing"]
JSON = Any  # JSON-able: None, bool, int, float, str, list, dict


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The uncertainty of one value."""

    low: float
    """Lower end, in the unit of the value."""
    high: float
    """Upper end, in the unit of the value."""
    level: float
    """Coverage between 0 and 1; 1 for a rigorous enclosure."""
    method: str
    """How it was made: `bootstrap`, `delong`, `t over seeds`, `rounding error bound`, ..."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A measured number with all that is needed to read and to rank it."""

    value: float
    """The number; must be finite."""
    direction: Direction
    """Which way is better; `none` is never ranked."""
    unit: str
    """The unit in words, `1` for a pure number."""
    interval: Interval | None = None
    """Uncertainty within this one cell; the leaderboard adds the spread over seeds."""
    group: str = ""
    """Only values of one group are ranked against each other, such as `lower, l2, global`."""
    unranked: str | None = None
    """Why this value must not be ranked (shown struck through with this reason); None where it may."""
    extras: Mapping[str, JSON] = field(default_factory=dict)
    """Anything else worth keeping, JSON-able: traces, witnesses, diagnostics."""
    forwards: int = 0
    """Inputs sent through the network, a tangent counted as one more."""
    backwards: int = 0
    """Cotangents sent back through the network."""

    def __post_init__(self) -> None:
        """Check what a record will be made of.

        Raises:
            InvalidInput: A field is not of its type, or the extras are not JSON.
        """
        texts = {"unit": self.unit, "group": self.group, "unranked": self.unranked or ""}
        wrong = [f"{name}={text!r} is no text" for name, text in texts.items() if not isinstance(text, str)]
        counts = {"forwards": self.forwards, "backwards": self.backwards}
        wrong += [f"{name}={count!r} is no int; write int(...)" for name, count in counts.items() if not isinstance(count, int)]
        if self.direction not in get_args(Direction):
            wrong.append(f"direction={self.direction!r} is none of {', '.join(get_args(Direction))}")
        if self.interval is not None and not (
            isinstance(self.interval, Interval)
            and all(
                isinstance(x, (int, float)) and math.isfinite(x)
                for x in (self.interval.low, self.interval.high, self.interval.level)
            )
            and isinstance(self.interval.method, str)
        ):
            wrong.append("interval must be an Interval with finite ends and level, and its method a text")
        try:
            json.dumps(dict(self.extras), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            wrong.append(f"extras are not JSON: {error}")
        if wrong:
            raise InvalidInput(f"Value: {'; '.join(wrong)}")


@dataclass(frozen=True, kw_only=True)
class Record:
    """A finished cell: one line of `records.jsonl`."""

    cell: str
    """Content hash of all that could change the value."""
    suite: str
    task: str
    roles: Mapping[str, str]
    """Role name to the label of the component that fills it."""
    params: Mapping[str, Mapping[str, JSON]]
    """Resolved parameters: `task`, `metric` and one entry a role."""
    seed: int
    metric: str
    """Label of the metric."""
    uses: Mapping[str, str]
    """Component names behind the labels: `task`, `metric` and one entry a role."""
    code: Mapping[str, str]
    """Fingerprints of the code, one for each entry of `uses`."""
    data: Mapping[str, str]
    """Fingerprints of the files that datasets and models read, by role."""
    status: Status
    value: float | None = None
    unit: str = "1"
    direction: Direction = "none"
    interval: Mapping[str, JSON] | None = None
    group: str = ""
    unranked: str | None = None
    extras: Mapping[str, JSON] = field(default_factory=dict)
    cost: Mapping[str, JSON] = field(default_factory=dict)
    """`seconds` (wall), `forwards`, `backwards`, `peak_bytes`."""
    device: str = "cpu"
    """Such as `cpu` or `cuda:0`; on a cluster with the machine, such as `cuda:0@node7`."""
    error: Mapping[str, str] | None = None
    """`class` (crash, invalid, nan, oom, timeout) and a one-line `message`; None where status is ok."""
    run: str = ""
    """Id of the run that made it; `runs/<id>.json` has the environment."""

    def to_json(self) -> dict[str, JSON]:
        """The record as a JSON object, keys in the order of the fields."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, raw: Mapping[str, JSON]) -> Record:
        """Build a record from a JSON object; unknown keys are ignored so that older readers read newer files.

        Raises:
            KeyError, TypeError: A required field is missing.
        """
        return cls(**{k: v for k, v in raw.items() if k in _RECORD_FIELDS})


_RECORD_FIELDS = frozenset(f.name for f in dataclasses.fields(Record))


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    name: str
    direction: Direction = "none"
    unit: str = ""
    key: bool = False
    """Names the row, such as a role or a parameter, instead of measuring something."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One place in a table."""

    text: str
    """What is shown, unescaped; renderers escape it."""
    value: float | None = None
    """The number behind the text, None for words."""
    best: bool = False
    """Shown in bold: of the first rank."""
    second: bool = False
    """Shown underlined: of the rank after the first."""
    struck: bool = False
    """Shown struck through: measured, but not to be ranked."""
    note: int | None = None
    """Number of a footnote, from 1."""
    interval: Interval | None = None
    """Uncertainty of the value; its method says over what: `t over seeds`, or what the metric itself says of one seed."""
    group: str = ""
    """Values of one group, direction and unit compete."""
    rank: int | None = None
    """1 and the number of competitors that a test finds better, so that several may share it; None where it does not compete."""
    effect: float | None = None
    """How far it lies behind the best of its contest: paired Cohen's d over the shared seeds, at least two; None elsewhere."""
    seeds: tuple[int, int] | None = None
    """How many seeds the value is the mean of, and how many were asked for; None for words."""
    standing: Standing = ""
    """`ok`: all seeds are in. `partial`: some are. `failed`: none is, and one ran. `missing`: none ran. Empty for words
    and for numbers whose text says more than the number."""
    cells: tuple[str, ...] = ()
    """Ids of the cells behind it, in the order of the plan."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A leaderboard table, before it is rendered in any format."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Entry]]
    notes: Sequence[str] = ()
    """Footnotes in order; note k of an entry is `notes[k - 1]`."""
    caption: str = ""
    """One paragraph under the title: how to read it."""
