# SPDX-License-Identifier: Apache-2.0
"""Lower bounds from pairs of points: the given pairs, the line search, and the line search that ends in a derivative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Value

from ..certify import (
    certify_directions,
    certify_pairs,
    confined,
    lower_bound,
    pairs_in_region,
    raw_ratios,
    region_scope,
    witness,
)
from ..diagnostics import Trace, batch_dependence, differing_coordinates, retrace, sampled, trace_signs
from ..linesearch import GROUP_PAIRS, Search, Stop, groups, halve, merge, noise_adjusted, replay
from ..pairsource import Pairs
from ..probe import Probe
from ..result import Estimator, bound
from ..rounding import Reference, d_min, lengths
from ..task import NetworkOnRegion

# Coordinates of one end of all pairs of a batch that is not searched but only looked at.
_BATCH = 2**19

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is computed again in float64."""

    pairs: int
    entries: int
    directions: int

    @classmethod
    def of(cls, reference: Reference) -> Effort:
        """Much where a float64 forward is cheap, little where a batch of 8 does not fit the cache."""
        if reference.probe.chunk >= 8:
            return cls(pairs=256, entries=512, directions=32)
        return cls(pairs=4, entries=8, directions=1)


class RandomPairs(Estimator):
    """The largest ratio ||f(x) - f(y)|| / ||x - y|| over the given pairs: a lower bound on the Lipschitz constant.

    The steepest pairs are computed again in float64, and the largest certified ratio is reported. Costs 2 forwards a pair,
    and 2 float64 forwards for each of at most `recheck` pairs.

    Source: the definition of K; the baseline of the line-search notebook (file 000_39504cef9cdeeeec.txt).

    Args:
        recheck: How many of the steepest pairs are certified.
    """

    def __init__(self, *, recheck: Annotated[int, Field(ge=1)] = 8) -> None:
        self.recheck = recheck

    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """Compare all pairs, certify the steepest."""
        pairs = pairs_in_region(evidence)
        raw = torch.cat([raw_ratios(evidence, *pairs.take(rows)) for rows in _batches(evidence, pairs)])
        top = raw.argsort(descending=True, stable=True)[: self.recheck]
        x, y = pairs.take(top)
        certified = certify_pairs(evidence, x, y, k_raw=raw[top])

        def origin(i: int) -> dict[str, Any]:
            return {"pair": int(top[i]), "how": "the pair as drawn"}

        return lower_bound(evidence, x, y, certified, origin=origin, pairs=len(pairs), per_pair=quartiles(raw))


class LineSearch(Estimator):
    """Halve the segment between the ends of each pair, keep the half with the larger ratio, again and again.

    In real arithmetic the ratio never falls; on a computer the last ratios are rounding noise divided by a tiny distance.
    The value is the largest ratio on the way that remains after all rounding is subtracted (k_cert), computed again in
    float64 from the stored numbers. With `stop: published` the last ratio of the best pair is what the published procedure
    reports; where float64 does not confirm it, it is shown and not ranked.

    A pair costs 2 forwards and one a halving; then 64 forwards for the noise floor (72 where the errors of float64 are not
    proved but estimated), one float64 forward for each halving of the reported pair and 2 for the best entry of each of at
    most 256 pairs (at most 8 halvings and 4 pairs where a network is so large that 8 inputs do not fit the cache).

    Source: line-search notebook (file 000_39504cef9cdeeeec.txt), the published procedure; the resolution
    d_min = 2 eps_out / (tau k) and the certificate
    k_cert = (||f64(x) - f64(y)|| (1 - (m+2)u) - e64(x) - e64(y)) / (d (1 + (n+2)u))
    follow from |k_p - k| <= (e_p(x) + e_p(y)) / d; running error analysis after Higham, Accuracy and Stability of Numerical
    Algorithms, 2002, section 3.3.

    Args:
        stop: `d_min`: stop where rounding may exceed the share `tau` of the ratio, and at `epsilon`; `published`: at
            `epsilon` alone, or where a midpoint is stuck.
        epsilon: Distance at which to stop, in raw input units.
        tau: Tolerated share of rounding noise in a ratio.
    """

    def __init__(self, *, stop: Literal["d_min", "published"] = "d_min", epsilon: Positive = 5e-5, tau: Share = 0.01) -> None:
        self.stop, self.epsilon, self.tau = stop, epsilon, tau

    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """Search in the task's precision, certify in float64."""
        found = _search(evidence, self.epsilon, self.tau, self.stop == "d_min")
        effort, search = Effort.of(found.reference), found.search
        top = found.sure.argsort(descending=True, stable=True)[: effort.pairs]
        rounds = found.round[top]
        x, y = replay(*found.pairs.take(top), search.left[:, top], rounds)
        certified = certify_pairs(evidence, x, y, k_raw=search.ratio[rounds, top], reference=found.reference)
        certified = confined(evidence, x, y, certified)
        facts: dict[str, Any] = {
            "rechecked_pairs": len(top),
            "batch_dependence": batch_dependence(evidence.probe, found.pairs.first(4)[0]),
        }

        def traced(pair: int) -> Trace:
            must = int(found.round[pair])
            return retrace(evidence, found.reference, found.pairs, search, pair, effort.entries, must)

        if self.stop == "published":
            trace = traced(pair := int(search.final_ratio().argmax()))
            last = len(trace.entries) - 1
            facts["k_published"] = float(trace.certified.k_raw[last])
            if trace.certified.is_artefact(last, self.tau):
                facts["best_k_cert"] = max(float(certified.k_cert.max()), float(trace.certified.k_cert.max()))
                return self._struck(evidence, found, trace, pair, facts)
        pair = int(top[certified.best()])
        return self._ranked(evidence, found, traced(pair), pair, facts)

    def _ranked(self, evidence: NetworkOnRegion, found: _Found, trace: Trace, pair: int, facts: dict[str, Any]) -> Value:
        """The largest certified ratio on the way of the best pair."""
        entry = trace.certified.best()
        return bound(
            evidence,
            float(trace.certified.k_cert[entry]),
            kind="lower",
            scope=region_scope(evidence),
            certified=trace.certified.rigorous,
            **self._facts(evidence, found, trace, entry, pair),
            **facts,
        )

    def _struck(self, evidence: NetworkOnRegion, found: _Found, trace: Trace, pair: int, facts: dict[str, Any]) -> Value:
        """The last ratio of a pair, which float64 does not confirm."""
        last = len(trace.entries) - 1
        raw, ref, cert = (float(k[last]) for k in (trace.certified.k_raw, trace.certified.k_ref, trace.certified.k_cert))
        # In float64 the reference is the search itself: there is no better evaluation that could call it wrong.
        why = f"rounding noise: the last ratio is {raw:.4g}, float64 gives {ref:.4g}"
        if raw <= (1 + self.tau) * ref:
            why = f"not confirmed: rounding may be more than {self.tau:.0%} of the last ratio {raw:.4g}; {cert:.4g} is certain"
        return bound(
            evidence,
            raw,
            kind="lower",
            scope=region_scope(evidence),
            certified=False,
            unranked=why,
            **self._facts(evidence, found, trace, last, pair),
            **facts,
        )

    def _facts(self, evidence: NetworkOnRegion, found: _Found, trace: Trace, entry: int, pair: int) -> dict[str, Any]:
        ratios = trace.certified.facts(entry, self.tau)
        origin = {"pair": pair, "halves": _halves(found.search, pair, trace.entries[entry]), "how": _HALVES}
        return {
            **ratios,
            "eps_out": found.noise,
            "d_min": _finite(d_min(found.noise, ratios["k_ref"], self.tau)),
            **trace_signs(trace.distance, trace.k_raw).to_json(),
            "differing_coordinates": [differing_coordinates(trace.x[i], trace.y[i]) for i in (0, entry, -1)],
            "trace": trace.to_json(),
            "trace_in_float64": f"{len(trace.entries)} of {len(trace.distance)} entries",
            "pair": pair,
            "halvings": int(found.search.rounds[pair]),
            "pairs": len(found.pairs),
            "per_pair": quartiles(found.sure.clamp_min(0)),
            "witness": witness(evidence.norm, origin, x=trace.x[entry], y=trace.y[entry]),
            "stop": self.stop,
        }


class LineSearchJvp(Estimator):
    """The line search down to the distance that rounding allows, ended by a Jacobian-vector product.

    At d <= d_min differences are given up: ||J(z) u|| at the midpoint z along the segment's direction u has no
    cancellation. The steepest places are then confirmed by a finite float64 pair around z along u, whose certified ratio is
    the value.

    A pair costs 2 forwards, one a halving and 2 for the product; then 64 forwards for the noise floor and 12 float64
    forwards for each of at most 32 places (1 where 8 inputs of the network do not fit the cache).

    Source: as LineSearch; a Jacobian-vector product instead of differences is the remedy for their cancellation
    (Griewank and Walther, Evaluating Derivatives, 2008, chapter 3).

    Args:
        epsilon: Distance at which halving stops at the latest, in raw input units.
        tau: Tolerated share of rounding noise in a ratio.
    """

    def __init__(self, *, epsilon: Positive = 5e-5, tau: Share = 0.01) -> None:
        self.epsilon, self.tau = epsilon, tau

    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """Search, differentiate, certify."""
        found = _search(evidence, self.epsilon, self.tau, True)
        effort = Effort.of(found.reference)
        jvps = torch.cat([self._slopes(evidence, found, rows) for rows in _batches(evidence, found.pairs)])
        top = jvps.argsort(descending=True, stable=True)[: effort.directions]
        z, u = _middles(found, top)
        certified, x, y = certify_directions(evidence, z, u, k_raw=jvps[top], reference=found.reference)
        best = certified.best()
        pair = int(top[best])
        k_jvp = float(_slope(found.reference.probe, z[best : best + 1], u[best : best + 1], evidence.norm)[0])
        raw, rounds = float(certified.k_raw[best]), int(found.search.rounds[pair])
        distance, ratio = (t[: rounds + 1, pair].tolist() for t in (found.search.distance, found.search.ratio))

        def origin(i: int) -> dict[str, Any]:
            p = int(top[i])
            return {"pair": p, "halves": _halves(found.search, p, int(found.search.rounds[p])), "how": _AROUND}

        return lower_bound(
            evidence,
            x,
            y,
            certified,
            origin=origin,
            trace=sampled(d=distance, k_raw=ratio),
            k_jvp64=k_jvp,
            jvp_inflation=raw / k_jvp if k_jvp > 0 else None,
            eps_out=found.noise,
            d_min=_finite(d_min(found.noise, k_jvp, self.tau)),
            d_search=distance[-1],
            halvings=rounds,
            pairs=len(found.pairs),
            pair=pair,
            per_pair=quartiles(jvps),
        )

    def _slopes(self, evidence: NetworkOnRegion, found: _Found, rows: Tensor) -> Tensor:
        z, u = _middles(found, rows)
        return _slope(evidence.probe, z, u, evidence.norm)


# What the letters of a witness mean.
_HALVES = "the pair after keeping these halves, L for the one with x and R for the one with y"
_AROUND = "at distance d around the middle of the pair after keeping these halves (L with x, R with y), along x - y"


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A finished search and what is needed to read it."""

    pairs: Pairs
    search: Search
    reference: Reference
    noise: float
    sure: Tensor
    """(P,) the largest ratio of each pair less the noise it may contain."""
    round: Tensor
    """(P,) the round after which it was seen."""


def _batches(evidence: NetworkOnRegion, pairs: Pairs) -> Sequence[Tensor]:
    """Indices of as many pairs as the network takes at once, and as are small beside what it keeps."""
    size = min(evidence.probe.chunk, GROUP_PAIRS, _BATCH // evidence.probe.inputs)
    return torch.arange(len(pairs)).split(max(1, size))


def _search(evidence: NetworkOnRegion, epsilon: float, tau: float, sound: bool) -> _Found:
    reference = Reference(evidence)
    noise = reference.noise_floor()
    pairs = pairs_in_region(evidence)
    stop = Stop(epsilon=epsilon, noise=noise, tau=tau if sound else None)
    device = evidence.probe.device

    def halved(rows: slice) -> Search:
        x, y = pairs.take(torch.arange(rows.start, rows.stop))
        return halve(evidence.probe, x.to(device), y.to(device), norm=evidence.norm, stop=stop)

    search = merge([halved(rows) for rows in groups(len(pairs), pairs.first(1)[0])])
    sure, when = noise_adjusted(search.numerator, search.distance, noise).max(0)
    return _Found(pairs=pairs, search=search, reference=reference, noise=noise, sure=sure, round=when)


def _halves(search: Search, pair: int, rounds: int) -> str:
    return "".join("L" if left else "R" for left in search.left[:rounds, pair].tolist())


def _middles(found: _Found, index: Tensor) -> tuple[Tensor, Tensor]:
    """(P, *shape) float64 midpoints of the pairs where they were last seen, and x - y of the pairs as given."""
    first, second = found.pairs.take(index)
    x, y = replay(first, second, found.search.left[:, index], found.search.rounds[index])
    return (x.double() + y.double()) / 2, first.double() - second.double()


def _slope(probe: Probe, z: Tensor, u: Tensor, norm: str) -> Tensor:
    """(P,) ||J(z) u|| / ||u||; the direction is scaled in float64 first, so that half precision does not overflow."""
    size = lengths(u.double(), norm)
    unit = u.double() / size.clamp_min(1e-300).reshape(-1, *(1,) * (u.dim() - 1))
    slope = lengths(probe.jvp(z, unit)[1], norm).double().cpu()
    return torch.where(size > 0, slope, 0.0)


def quartiles(values: Tensor) -> list[float]:
    """Smallest, lower quartile, median, upper quartile and largest."""
    q = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
    return [float(v) for v in values.double().quantile(q)]


def _finite(x: float) -> float | None:
    return x if x < float("inf") else None
