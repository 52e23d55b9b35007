# SPDX-License-Identifier: Apache-2.0
"""Halving segments of all pairs at once, one new evaluation a round, and replaying what was searched without storing it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad

from .rounding import d_min, lengths

# Working memory of one group of pairs: large enough for full batches, and a bound whatever the number of pairs.
GROUP_BYTES = 64 * 2**20
GROUP_PAIRS = 1024
# At this distance and below the published search counts a ratio as 0 instead of dividing.
_NO_DIVISION = 1e-10
# Halving a float64 segment ends of itself long before; only a function that is not one could go on.
_MAX_ROUNDS = 2200

Function = Callable[[Tensor], Tensor]
Array = npt.NDArray[Any]


@dataclass(kw_only=True)
class Stop:
    """When a pair has been halved often enough.

    With `tau` unset the rule is the published one: at distance `epsilon`. With `tau` the search also stops at the distance
    below which noise could exceed that share of the largest ratio seen so far in any pair.
    """

    epsilon: float
    noise: float = 0.0
    """Largest error of one output, eps_out."""
    tau: float | None = None
    steepest: float = field(default=0.0, init=False)
    """Largest ratio seen, less the noise it may contain."""

    @property
    def blank(self) -> float:
        """Distance at and below which a ratio counts as 0: the published one, or 0 where the search is to go that far."""
        return _NO_DIVISION if self.epsilon > 10 * _NO_DIVISION else 0.0

    def at(self, numerator: Array, distance: Array) -> float:
        """The distance at which to stop, given the numerators and distances of the running pairs."""
        if self.tau is None:
            return self.epsilon
        sure = float(noise_adjusted(torch.from_numpy(numerator), torch.from_numpy(distance), self.noise).max())
        self.steepest = max(self.steepest, sure)
        return max(self.epsilon, d_min(self.noise, self.steepest, self.tau)) if self.steepest > 0 else self.epsilon


def noise_adjusted(numerator: Tensor, distance: Tensor, noise: float) -> Tensor:
    """What is left of ratios when both outputs are wrong by `noise`; -inf where there is no pair or no distance."""
    sure = (numerator.double() - 2 * noise) / distance.double()
    return torch.where(distance > 0, sure, -math.inf)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What happened to P pairs in up to R rounds; NaN after the last round of a pair. On the CPU."""

    distance: Tensor
    """(R+1, P) float64, row 0 is the given pair."""
    numerator: Tensor
    """(R+1, P) float64 distance of the outputs."""
    ratio: Tensor
    """(R+1, P) float64, divided in the precision of the search."""
    left: Tensor
    """(R, P) bool, whether the left half was kept."""
    rounds: Tensor
    """(P,) how often each pair was halved."""

    def final_ratio(self) -> Tensor:
        """(P,) the last ratio of each pair."""
        return self.ratio[self.rounds, torch.arange(len(self.rounds))]


def _divide(numerator: Array, distance: Array, blank: float) -> Array:
    return np.where(distance > blank, numerator / distance, 0.0)


@dataclass(frozen=True, kw_only=True)
class _Round:
    """One round of the pairs that ran, or their start; lengths in the precision of the search."""

    index: Array
    """(P,) which pairs."""
    distance: Array
    """(P,) of what was kept."""
    numerator: Array
    """(P,) distance of its outputs."""
    left: Array
    """(P,) whether the left half was kept."""


class _Running:
    """The pairs that still run.

    Only one end of a pair changes in a round, so ends are kept as `old` (the survivor of the last choice) and `new` (the
    last midpoint), with a mark for pairs whose `old` is x. This halves the copying; sums and lengths do not depend on the
    order of the ends. A forward drives everything else out of the cache, code included, so there are few calls in a round,
    those that touch whole inputs follow each other, and choices are made in numpy, on the CPU.
    """

    def __init__(self, f: Function, x: Tensor, y: Tensor, norm: str, blank: float) -> None:
        self.f, self.norm, self.shape, self.blank = f, norm, x.shape[1:], blank
        self.old, self.new = x.flatten(1), y.flatten(1)
        self.f_old, self.f_new = f(x), f(y)
        self.index = np.arange(len(x))
        self.old_is_x = np.ones(len(x), dtype=bool)
        # Shared memory: a choice written as numbers is at once the weight by which rows are selected.
        self.choice = np.zeros((len(x), 1), dtype=np.float32)
        self.weight = torch.from_numpy(self.choice)
        self.chosen = False
        self.memory, self.f_memory = (v.new_empty((k * len(v), v.shape[1])) for v, k in ((self.old, 5), (self.f_old, 3)))
        self._lay_out(len(x))
        self.distance = self._lengths(self.old - self.new)
        self.numerator = self._lengths(self.f_old - self.f_new)

    def _lay_out(self, count: int) -> None:
        """Working memory for `count` pairs; what was given is not written to, nor what f returned."""
        self.own, self.middle, self.spare = (self.memory[i * count : (i + 1) * count] for i in range(3))
        self.gaps, self.f_gaps = self.memory[3 * count : 5 * count], self.f_memory[count : 3 * count]
        self.f_own = self.f_memory[:count]

    def _lengths(self, v: Tensor) -> Array:
        found: Array = lengths(v, self.norm).numpy(force=True)
        return found

    def start(self) -> _Round:
        """The given pairs."""
        return _Round(index=self.index, distance=self.distance, numerator=self.numerator, left=self.old_is_x)

    def _select(self) -> None:
        """Carry out the last choice: the kept end becomes `old`, the midpoint `new`."""
        if not self.chosen:
            return
        # A weight of exactly 0 or 1 selects rows without rounding, four times faster than torch.where with such a mask.
        self.old = torch.lerp(self.new, self.old, self.weight.to(self.old), out=self.own)
        self.f_old = torch.lerp(self.f_new, self.f_old, self.weight.to(self.f_old), out=self.f_own)
        self.new, self.f_new = self.middle, self.f_middle
        self.middle, self.spare = self.spare, self.middle

    def halve(self) -> _Round:
        """One round for all running pairs."""
        self._select()
        count = len(self.index)
        torch.add(self.old, self.new, out=self.middle).mul_(0.5)
        torch.sub(self.old, self.middle, out=self.gaps[:count])
        torch.sub(self.middle, self.new, out=self.gaps[count:])
        d = self._lengths(self.gaps).reshape(2, count)
        self.f_middle = self.f(self.middle.view(count, *self.shape))
        torch.sub(self.f_old, self.f_middle, out=self.f_gaps[:count])
        torch.sub(self.f_middle, self.f_new, out=self.f_gaps[count:])
        n = self._lengths(self.f_gaps).reshape(2, count)
        k_old, k_new = _divide(n, d, self.blank)
        # Left only where it is strictly steeper: a tie goes to the half that ends in y.
        left = np.where(self.old_is_x, k_old > k_new, k_new > k_old)
        keep_old = left == self.old_is_x
        self.choice[:, 0], self.chosen, self.old_is_x = keep_old, True, left
        self.distance, self.numerator = np.where(keep_old, d[0], d[1]), np.where(keep_old, n[0], n[1])
        return _Round(index=self.index, distance=self.distance, numerator=self.numerator, left=left)

    def keep(self, alive: Array) -> None:
        """Let finished pairs leave the batch."""
        self._select()
        self.chosen = False
        rows = torch.from_numpy(alive.nonzero()[0]).to(self.old.device)
        self.choice, self.weight = self.choice[: len(rows)], self.weight[: len(rows)]
        for name in ("old", "new", "f_old", "f_new"):
            setattr(self, name, getattr(self, name)[rows])
        for name in ("index", "old_is_x", "distance", "numerator"):
            setattr(self, name, getattr(self, name)[alive])
        self._lay_out(len(rows))


@torch.inference_mode()
@np.errstate(over="ignore", divide="ignore", invalid="ignore")
def halve(f: Function, x: Tensor, y: Tensor, *, norm: str, stop: Stop) -> Search:
    """Halve every segment [x_i, y_i] until it is short enough, each time keeping the half with the larger ratio.

    While d > stop: z = (x + y) / 2; keep [x, z] where k(x, z) > k(z, y), else [z, y]; stop also where rounding leaves the
    distance unchanged. f(x) and f(y) are carried along, so a pair costs 2 evaluations and one a round.

    Args:
        f: (B, *shape) -> (B, m).
        x: (P, *shape) first ends, in the precision of the search.
        y: (P, *shape) second ends.
        norm: l2, l1 or linf.
        stop: When to stop; it learns the largest ratio, so that groups of pairs share it.
    """
    run = _Running(f, x, y, norm, stop.blank)
    rounds = [run.start()]
    alive = run.distance > stop.at(run.numerator, run.distance)
    while (running := np.count_nonzero(alive)) and len(rounds) <= _MAX_ROUNDS:
        if running < len(alive):
            run.keep(alive)
        before = run.distance
        rounds.append(run.halve())
        alive = (run.distance > stop.at(run.numerator, run.distance)) & (run.distance != before)
    return _table(rounds, stop.blank)


def _table(rounds: list[_Round], blank: float) -> Search:
    """Put the rounds, each with the pairs that still ran, into tables."""
    shape = len(rounds), len(rounds[0].index)
    place = np.repeat(np.arange(len(rounds)), [len(r.index) for r in rounds]), np.concatenate([r.index for r in rounds])

    def table(values: Array) -> Tensor:
        full = np.full(shape, math.nan)
        full[place] = values
        return torch.from_numpy(full)

    distance, numerator = np.concatenate([r.distance for r in rounds]), np.concatenate([r.numerator for r in rounds])
    left = np.zeros(shape, dtype=bool)
    left[place] = np.concatenate([r.left for r in rounds])
    return Search(
        distance=table(distance),
        numerator=table(numerator),
        ratio=table(_divide(numerator, distance, blank)),
        left=torch.from_numpy(left[1:]),
        rounds=torch.from_numpy(np.bincount(place[1], minlength=shape[1]) - 1),
    )


def groups(pairs: int, x: Tensor) -> Iterator[slice]:
    """Slices of the pairs whose ends fit the working memory, the same however many pairs there are."""
    size = max(1, min(GROUP_PAIRS, GROUP_BYTES // max(1, 2 * x[0].numel() * x.element_size())))
    for start in range(0, pairs, size):
        yield slice(start, min(pairs, start + size))


def merge(parts: Sequence[Search]) -> Search:
    """Searches of groups of pairs as one."""
    rounds = max(len(p.left) for p in parts)

    def tall(tables: list[Tensor], height: int, fill: float) -> Tensor:
        return torch.cat([pad(t, (0, 0, 0, height - len(t)), value=fill) for t in tables], 1)

    return Search(
        distance=tall([p.distance for p in parts], rounds + 1, math.nan),
        numerator=tall([p.numerator for p in parts], rounds + 1, math.nan),
        ratio=tall([p.ratio for p in parts], rounds + 1, math.nan),
        left=tall([p.left for p in parts], rounds, False),
        rounds=torch.cat([p.rounds for p in parts]),
    )


def replay(x: Tensor, y: Tensor, left: Tensor, rounds: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs after given numbers of rounds, bit for bit, without an evaluation.

    Args:
        x: (P, *shape) first ends as given to `halve`.
        y: (P, *shape) second ends.
        left: (R, P) from `Search`.
        rounds: (P,) how many rounds to replay for each pair.
    """
    x, y = x.clone(), y.clone()
    for r in range(int(rounds.max()) if len(rounds) else 0):
        middle = (x + y) * 0.5
        running = rounds > r
        to_y, to_x = running & left[r], running & ~left[r]
        y[to_y], x[to_x] = middle[to_y], middle[to_x]
    return x, y


def trail(x: Tensor, y: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
    """All points that one search touched, and which two of them were the pair after each round.

    Args:
        x: (*shape) first end.
        y: (*shape) second end.
        left: (R,) choices of this pair.

    Returns:
        (R+2, *shape) points: x, y, midpoints; and (R+1, 2) rows of the pairs.
    """
    points, ends = [x, y], [(0, 1)]
    for r, went_left in enumerate(left.tolist()):
        i, j = ends[-1]
        points.append((points[i] + points[j]) * 0.5)
        ends.append((i, r + 2) if went_left else (r + 2, j))
    return torch.stack(points), torch.tensor(ends)
