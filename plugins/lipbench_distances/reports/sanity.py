# SPDX-License-Identifier: Apache-2.0
"""The audit: values that cannot all be right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lipbench.api import Record

from .reading import distance_of, measured, pair_of, parameter

_ROUNDING = 1e-6
"""Relative, between distances of the same samples."""
_PROVED = {
    "identity": frozenset({"frechet", "mean_covariance", "mean_difference", "wasserstein", "sliced_wasserstein", "energy"}),
    "triangle": frozenset({"mean_covariance", "mean_difference", "wasserstein", "sliced_wasserstein", "energy"}),
}
"""Distances that obey an axiom by a theorem, whatever their parameters but `squared`."""


def sanity(records: Sequence[Record]) -> Iterator[str]:
    """One sentence for each contradiction.

    Checked are: shares in [0, 1]; axioms that are theorems; and that the Gaussian W2 that matching leaves is not above the exact W2
    (Gelbrich's bound).

    Args:
        records: In any order.
    """
    for metric in ("separation", "power"):
        for r in measured(records, metric):
            if not 0 <= (r.value or 0.0) <= 1:
                yield f"{_where(r)}: {r.metric} is {r.value!r}, outside [0, 1]"
    for r in measured(records, "axiom_violations"):
        if r.value and _proved(r):
            yield f"{_where(r)}: {r.value:g} % of the triples violate {parameter(r, 'axiom')}, which is a theorem"
    for r in measured(records, "matching"):
        bound = r.extras.get("gaussian_w2", 0.0)
        if bound > (r.value or 0.0) + _ROUNDING * (1 + abs(r.extras.get("start", 0.0))):
            yield f"{_where(r)}: the Gaussian W2 that is left, {bound:g}, is above the exact one, {r.value:g}"


def _proved(record: Record) -> bool:
    use, params = record.uses.get("distance"), record.params.get("distance", {})
    axiom = parameter(record, "axiom")
    if use == "gaussian_w2":
        return params.get("form") == "stable" and (axiom == "identity" or (axiom == "triangle" and not params.get("squared")))
    if use == "gram_loss":
        return axiom == "identity" or (axiom == "triangle" and params.get("squared") is False)
    return use in _PROVED.get(str(axiom), ()) and not params.get("squared")


def _where(record: Record) -> str:
    return f"{pair_of(record)}, {distance_of(record)}, seed {record.seed}"
