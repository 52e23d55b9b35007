# SPDX-License-Identifier: Apache-2.0
"""Halving segments of all pairs at once, one new evaluation a round, and replaying what was searched without storing it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

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

    def at(self, numerator: Tensor, distance: Tensor) -> float:
        """The distance at which to stop, given the numerators and distances of the running pairs."""
        if self.tau is None:
            return self.epsilon
        sure = float(noise_adjusted(numerator, distance, self.noise).max())
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


def _divide(numerator: Tensor, distance: Tensor, blank: float) -> Tensor:
    return torch.where(distance > blank, numerator / distance, 0.0)


class _Running:
    """The pairs that still run.

    Only one end of a pair changes in a round, so ends are kept as `old` (the survivor of the last choice) and `new` (the
    last midpoint), with a mark for pairs whose `old` is y. This halves the copying; sums and lengths do not depend on the
    order of the ends.
    """

    def __init__(self, f: Function, x: Tensor, y: Tensor, norm: str, blank: float) -> None:
        self.f, self.norm, self.shape, self.blank = f, norm, x.shape[1:], blank
        # A copy, because it is written to and f may return its own buffer.
        self.f_old, self.f_new = f(x).clone(), f(y)
        self.old, self.new = x.flatten(1).clone(), y.flatten(1).clone()
        self.middle, self.scratch = torch.empty_like(self.old), torch.empty_like(self.old)
        self.old_is_y = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self.index = torch.arange(len(x), device=x.device)
        self.distance = lengths(self.old - self.new, norm)
        self.numerator = lengths(self.f_old - self.f_new, norm)

    def halve(self) -> tuple[Tensor, Tensor]:
        """One round for all running pairs: which kept the left half, and whose midpoint is stuck."""
        torch.add(self.old, self.new, out=self.middle).mul_(0.5)
        f_middle = self.f(self.middle.unflatten(1, self.shape))
        d_old = lengths(torch.sub(self.old, self.middle, out=self.scratch), self.norm)
        d_new = lengths(torch.sub(self.middle, self.new, out=self.scratch), self.norm)
        n_old, n_new = lengths(self.f_old - f_middle, self.norm), lengths(f_middle - self.f_new, self.norm)
        k_old, k_new = _divide(n_old, d_old, self.blank), _divide(n_new, d_new, self.blank)
        # Left only where it is strictly steeper: a tie goes to the half that ends in y.
        keep_old = torch.where(self.old_is_y, k_old >= k_new, k_old > k_new)
        left = keep_old ^ self.old_is_y
        # A weight of exactly 0 or 1 selects rows without rounding, four times faster than torch.where with such a mask.
        moved = (~keep_old).to(self.old.dtype)[:, None]
        torch.lerp(self.old, self.new, moved, out=self.old)
        torch.lerp(self.f_old, self.f_new, moved.to(self.f_old.dtype), out=self.f_old)
        self.new, self.middle, self.f_new = self.middle, self.new, f_middle
        self.old_is_y = ~left
        distance = torch.where(keep_old, d_old, d_new)
        stuck = distance == self.distance
        self.distance, self.numerator = distance, torch.where(keep_old, n_old, n_new)
        return left, stuck

    def keep(self, mask: Tensor) -> None:
        """Let finished pairs leave the batch."""
        rows = mask.nonzero()[:, 0]
        for name in ("old", "new", "f_old", "f_new", "old_is_y", "index", "distance", "numerator"):
            setattr(self, name, getattr(self, name)[rows])
        self.middle, self.scratch = self.middle[: len(rows)], self.scratch[: len(rows)]


@torch.inference_mode()
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
    rows = [(run.index, run.distance, run.numerator)]
    lefts: list[Tensor] = []
    alive = run.distance > stop.at(run.numerator, run.distance)
    while bool(alive.any()) and len(lefts) < _MAX_ROUNDS:
        if not bool(alive.all()):
            run.keep(alive)
        left, stuck = run.halve()
        lefts.append(left)
        rows.append((run.index, run.distance, run.numerator))
        alive = (run.distance > stop.at(run.numerator, run.distance)) & ~stuck
    return _table(rows, lefts, stop.blank)


def _table(rows: list[tuple[Tensor, Tensor, Tensor]], lefts: list[Tensor], blank: float) -> Search:
    """Put the rounds, each with the pairs that still ran, into tables."""
    count = len(rows[0][0])
    index, distance, numerator = (torch.cat([r[i] for r in rows]) for i in range(3))
    place = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor([len(r[0]) for r in rows])), index.cpu()
    table = torch.full((3, len(rows), count), math.nan, dtype=torch.float64)
    for i, values in enumerate((distance, numerator, _divide(numerator, distance, blank))):
        table[i][place] = values.double().cpu()
    bits = torch.zeros((len(lefts), count), dtype=torch.bool)
    if lefts:
        bits[place[0][count:] - 1, place[1][count:]] = torch.cat(lefts).cpu()
    return Search(
        distance=table[0],
        numerator=table[1],
        ratio=table[2],
        left=bits,
        rounds=(~table[0].isnan()).sum(0) - 1,
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
