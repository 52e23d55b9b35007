# SPDX-License-Identifier: Apache-2.0
"""Checks of a dataset."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lipbench.contract.components import Dataset, DataSpec, Split
from lipbench.testing.arrays import copied, different
from lipbench.testing.common import COMMON
from lipbench.testing.kit import Checks, Conformance, DoesNotApply, Subject, find, global_seed

SPLITS = ("train", "test")


@dataclass(frozen=True, kw_only=True)
class DatasetSubject(Subject):
    """A dataset under test."""

    coincide: bool = False

    def load(self, split: str, world: int = 0) -> Split:
        """A split of a new one, with the global generators at `world`."""
        made: Dataset = self.make()
        with global_seed(world):
            return made.split(split, self.context())

    @cached_property
    def parts(self) -> Mapping[str, Split]:
        """Each split, loaded once; not to be changed."""
        return {name: self.load(name) for name in SPLITS}


def specification(subject: DatasetSubject) -> Iterable[str]:
    """`spec()` says shape, range, unit and classes before the data is read."""
    spec = subject.make().spec()
    if not isinstance(spec, DataSpec):
        yield f"spec() must give a DataSpec, it gave a {type(spec).__name__}"
        return
    if not spec.shape or not all(isinstance(n, int) and n > 0 for n in spec.shape):
        yield f"spec().shape must be positive whole numbers, it is {spec.shape!r}"
    if not (math.isfinite(spec.low) and math.isfinite(spec.high) and spec.low < spec.high):
        yield f"spec() must have finite low < high, it has {spec.low!r} and {spec.high!r}"
    if not (math.isfinite(spec.unit) and spec.unit > 0):
        yield f"spec().unit must be a positive number, it is {spec.unit!r}"
    if spec.classes is not None and spec.classes < 1:
        yield f"spec().classes must be at least 1, or None, it is {spec.classes!r}"


def licence(subject: DatasetSubject) -> Iterable[str]:
    """Readers of a leaderboard are told the licence of the data."""
    if not getattr(subject.cls, "licence", "").strip():
        yield "the class attribute `licence` is empty"


def rows(subject: DatasetSubject) -> Iterable[str]:
    """Rows are float32 of the shape and in the range of the spec, targets int64 and below the number of classes."""
    spec = subject.make().spec()
    for name in SPLITS:
        part = subject.parts[name]
        if part.inputs.dtype != np.float32:
            yield f"{name}: inputs are {part.inputs.dtype}, they must be float32"
        low, high = float(part.inputs.min()), float(part.inputs.max())
        if low < spec.low or high > spec.high:
            yield f"{name}: inputs reach from {low:g} to {high:g}, but the spec says {spec.low:g} to {spec.high:g}"
        yield from _targets(name, part, spec)
        if part.ids is not None and len(part.ids) != len(part.inputs):
            yield f"{name}: there are {len(part.ids)} ids for {len(part.inputs)} rows"


def _targets(name: str, part: Split, spec: DataSpec) -> Iterable[str]:
    if part.targets is None:
        if spec.classes is not None:
            yield f"{name}: the spec has {spec.classes} classes, but there are no targets"
        return
    if part.targets.dtype != np.int64 or part.targets.shape != (len(part.inputs),):
        yield f"{name}: targets must be ({len(part.inputs)},) int64, they are {part.targets.shape} {part.targets.dtype}"
    elif spec.classes is None:
        yield f"{name}: there are targets, but spec().classes is None"
    elif part.targets.min() < 0 or part.targets.max() >= spec.classes:
        yield f"{name}: targets reach from {part.targets.min()} to {part.targets.max()}, outside of 0 to {spec.classes - 1}"


def determinism(subject: DatasetSubject) -> Iterable[str]:
    """The same seed gives the same rows, whatever the global generators hold."""
    for name in SPLITS:
        one, same, elsewhere = subject.parts[name], subject.load(name), subject.load(name, world=1)
        if different(copied(one), copied(same)):
            yield f"{name}: loading it twice gives other rows; draw from ctx.rng() or ctx.generator() alone"
        elif different(copied(one), copied(elsewhere)):
            yield f"{name}: its rows hang on a global random generator; draw from ctx.rng() or ctx.generator()"


def splits(subject: DatasetSubject) -> Iterable[str]:
    """Train and test are not the same rows."""
    if subject.coincide:
        raise DoesNotApply("its splits may coincide")
    train, test = (subject.parts[name].inputs for name in SPLITS)
    known = {row.tobytes() for row in train}
    shared = sum(row.tobytes() in known for row in test)
    # A few twins are in most collections; more is one split given twice.
    if shared > len(test) / 2:
        yield f"{shared} of {len(test)} test rows are in the train split as well"


def independence(subject: DatasetSubject) -> Iterable[str]:
    """What one reader writes into its rows no other reader sees."""
    made: Dataset = subject.make()
    first = made.split("test", subject.context())
    before = copied(first)
    if not first.inputs.flags.writeable:
        raise DoesNotApply("its rows cannot be written to")
    first.inputs[...] = 0
    again = made.split("test", subject.context())
    if different({"inputs": before["inputs"]}, {"inputs": again.inputs}):
        yield "rows that one reader changes are changed for the next; give a copy"


def files(subject: DatasetSubject) -> Iterable[str]:
    """`files()` names files or folders that exist."""
    for path in subject.make().files():
        if not path.exists():
            yield f"files() names {path.name}, which does not exist; raise InvalidInput and say where it was looked for"


CHECKS: Checks[DatasetSubject] = Checks(
    checks=(*COMMON, specification, licence, rows, determinism, splits, independence, files)
)


def check_dataset(
    component: type[Dataset] | str,
    *,
    params: Mapping[str, Any] | None = None,
    plugin: str | None = None,
    splits_may_coincide: bool = False,
    waive: Mapping[str, str] | None = None,
) -> Conformance:
    """Check that a dataset keeps the contract: spec, licence, types and ranges, determinism, splits, files.

    Args:
        component: Its name, or its class.
        params: Parameters that its constructor gets; small ones make the check fast.
        plugin: File or module of a plugin that is not installed.
        splits_may_coincide: True where train and test are the same rows on purpose.
        waive: Name of a check to the reason why it need not pass.

    Raises:
        ConformanceError: With a line for each fault.
    """
    cls, declared = find("dataset", component, plugin)
    subject = DatasetSubject(kind="dataset", cls=cls, declared=declared, params=params or {}, coincide=splits_may_coincide)
    return CHECKS.run(subject, waive or {})
