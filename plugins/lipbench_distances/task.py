# SPDX-License-Identifier: Apache-2.0
"""The task `distribution_distance`: a pair of distributions, and a distance that is put to the test."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from lipbench.api import Context, NotFinite, Task

from .base import Distance, Distribution, Pair

_T = TypeVar("_T")

LEVEL = 0.05
"""Of the test whose power is measured."""


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Distances of repeated samples."""

    across: Tensor
    """(R,) between a sample of the first and one of the second distribution."""
    within: Tensor
    """(2 R,) between two samples of the first, then two of the second: what a pair looks like that is no pair."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What metrics of this task read."""

    pair: Pair
    distance: Distance
    ctx: Context
    """Of the evidence: its draws are the same for every pair of as many features, and for every distance."""
    _kept: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def once(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """What was made under this key, for all metrics that need it."""
        if key not in self._kept:
            self._kept[key] = make()
        found: _T = self._kept[key]
        return found

    @property
    def distributions(self) -> tuple[Distribution, Distribution]:
        """The two; the first draw of a family."""
        return self.once("pair", lambda: self.pair.pick(self.ctx.rng("pair")))

    def member(self, repeat: int) -> tuple[Distribution, Distribution]:
        """The two of a repeat: of a family another draw for each, and the same for all metrics."""
        if not self.pair.family:
            return self.distributions
        return self.once(("member", repeat), lambda: self.pair.pick(self.ctx.rng(f"member {repeat}")))

    def value(self, x: Tensor, y: Tensor) -> float:
        """The distance of two samples, NaN where its formula breaks down."""
        with torch.no_grad():
            return float(self.distance.between(x, y, self.ctx))

    def repeated(self, rows: int, repeats: int) -> Repeats:
        """Distances of fresh samples, of a family those of fresh members, drawn once for all metrics that ask for as many.

        Raises:
            NotFinite: One of them is NaN.
        """
        return self.once((rows, repeats), lambda: self._repeats(rows, repeats))

    def _repeats(self, rows: int, repeats: int) -> Repeats:
        across, one, other = [], [], []
        for i in range(repeats):
            rng = self.ctx.rng(f"repeat {i}")
            first, second = self.member(i)
            x, x2, y, y2 = (p.draw(rows, rng) for p in (first, first, second, second))
            across.append(self.value(x, y))
            one.append(self.value(x, x2))
            other.append(self.value(y, y2))
            self.ctx.report(f"{i + 1} of {repeats} repeats of {rows} rows")
        made = Repeats(across=torch.tensor(across, dtype=torch.float64), within=torch.tensor(one + other, dtype=torch.float64))
        broken = int(made.across.isnan().sum() + made.within.isnan().sum())
        if broken:
            raise NotFinite(f"{broken} of {3 * repeats} distances of {rows} rows are NaN")
        return made


class DistributionDistance(Task):
    """What does a distance between distributions see, and what does it cost?

    Metrics ask for its axioms on random families, whether it tells a pair from two samples of one distribution, its bias and
    spread, what is left when an optimiser has brought it to 0, its cost, and for a style transfer.
    """

    shared = True

    def evidence(self, pair: Pair, distance: Distance, ctx: Context) -> Compared:
        """Both as they are; metrics draw."""
        return Compared(pair=pair, distance=distance, ctx=ctx)
