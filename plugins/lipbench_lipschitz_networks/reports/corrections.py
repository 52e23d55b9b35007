# SPDX-License-Identifier: Apache-2.0
"""The table of corrections: what the source says of its layers and its distance, and what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from lipbench.api import Column, Entry, Record, Table

from .reading import Key, alpha, first_seeds, key, measured, value

Line = tuple[str, str, str]
"""What the source says, what is so, the figures."""


def corrections(records: Sequence[Record]) -> Table:
    """A line for each statement of the source that the suite has measured.

    Args:
        records: In the order of the plan.
    """
    makers: Sequence[Callable[[Sequence[Record]], Line | None]] = (_cost, _factor, _average, _overlap, _activations, _alphas)
    lines = [line for make in makers if (line := make(records)) is not None]
    names = ("the source says", "measured", "figures") if lines else ()
    return Table(
        title="Corrections",
        columns=[Column(name=name) for name in names],
        rows=[[Entry(text=text) for text in line] for line in lines],
    )


def _cost(records: Sequence[Record]) -> Line | None:
    first = first_seeds(r for r in measured(records, "kr") if not r.unranked)
    found = [r for r in first.values() if r.uses.get("data") == "toy_squares"]
    if not found:
        return None
    best = max(found, key=lambda r: r.extras["kr"] / r.extras["w1"])
    return (
        "the distance of the squares is an l1 distance",
        "it is l2; no 1-Lipschitz network reaches the other",
        f"W1 {best.extras['w1']:g} by l2 cost, {best.extras['w1_l1_cost']:g} by l1; best KR {best.extras['kr']:.4f} "
        f"({best.roles['network']})",
    )


def _layer_bounds(records: Sequence[Record], chosen: Callable[[dict[str, object]], bool]) -> dict[Key, float]:
    """The largest product bound of single layers that are chosen by their parameters."""
    found: dict[Key, float] = {}
    for r in measured(records, "product_bound"):
        if r.uses.get("network") == "lip_layer" and chosen(dict(r.params["network"])):
            found[key(r)] = max(value(r), found.get(key(r), 0.0))
    return found


def _listed(bounds: dict[Key, float]) -> str:
    return ", ".join(f"{network} {bound:.4f}" for (network, _), bound in bounds.items())


def _factor(records: Sequence[Record]) -> Line | None:
    found = _layer_bounds(records, lambda p: p["of"] == "conv" and p["conv_bound"] == "deel")
    if not found:
        return None
    above = sum(bound > 1 + 1e-6 for bound in found.values())
    return (
        "its factor makes convolutions 1-Lipschitz",
        f"it averages over windows and is no bound: above 1 for {above} of {len(found)}",
        _listed(found),
    )


def _average(records: Sequence[Record]) -> Line | None:
    found = _layer_bounds(records, lambda p: p["of"] in ("avg", "global_avg"))
    if not found:
        return None
    return "average pooling is not 1-Lipschitz", "it is, and it attenuates", _listed(found)


def _overlap(records: Sequence[Record]) -> Line | None:
    found = _layer_bounds(records, lambda p: p["of"] == "max")
    if not found:
        return None
    return "max pooling is 1-Lipschitz", "where windows do not overlap", _listed(found)


def _activations(records: Sequence[Record]) -> Line | None:
    found: dict[str, list[float]] = {}
    for r in measured(records, "kr"):
        params = r.params["network"]
        mode = r.params.get("data", {}).get("mode")
        if mode == "ternary" and params.get("norm") == "bjorck" and r.metric == "kr":
            found.setdefault(str(params["act"]), []).append(100 * r.extras["kr"] / r.extras["w1"])
    if len(found) < 2:
        return None
    figures = ", ".join(f"{name} {fmean(v):.1f} %" for name, v in sorted(found.items(), key=lambda item: -fmean(item[1])))
    return (
        "the network finds the distance",
        "it takes an activation that keeps gradient norms",
        f"KR / W1, ternary squares: {figures}",
    )


def _alphas(records: Sequence[Record]) -> Line | None:
    krs: dict[str, dict[float, list[float]]] = {}
    for r in measured(records, "kr"):
        a = alpha(r)
        if a is not None and r.uses.get("data") == "two_moons" and r.params["network"].get("act") != "relu":
            # Not the value, which is a share of W1 where the metric is `relative`.
            krs.setdefault(r.roles["data"], {}).setdefault(a, []).append(r.extras["kr"])
    data = max(krs, key=lambda d: len(krs[d]), default="")
    if len(krs.get(data, {})) < 2:
        return None
    figures = ", ".join(f"alpha {a:g}: {fmean(v):.3f}" for a, v in sorted(krs[data].items()))
    return "HKR estimates W1 and classifies", "KR falls as alpha grows: it does one or the other", f"KR on {data}: {figures}"
