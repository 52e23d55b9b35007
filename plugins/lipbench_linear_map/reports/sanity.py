# SPDX-License-Identifier: Apache-2.0
"""The audit: values that cannot all be right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from lipbench.api import Record

from .reading import Point, Results, Setting, own_key, point_of

_SHARES = frozenset(
    {
        "auroc", "native_auroc", "direct_auroc", "clean_false_alarm", "auroc_vs_noise", "auroc_success_only", "pixel_auroc",
        "adaptive_auroc", "adaptive_robust_accuracy", "tpr_at_fpr", "svm_accuracy", "head_accuracy",
    }
)  # fmt: skip
"""Metrics whose values lie in [0, 1]."""
# An image of the data differs from its attacked copy by float32 numbers of size 1; their differences err by about 1e-7.
_BUDGET = 1e-6
_SAME = 1e-12
"""Between values that two cells worked out alike."""
_SCALED = 1e-9
"""Relative, between values that differ by a factor."""


def sanity(records: Sequence[Record]) -> Iterator[str]:
    """One sentence for each contradiction.

    Checked are: shares in [0, 1]; that the diagonal is the target's own detector to the last digit; that a network's own
    detector gives one AUROC whatever it is paired with; that no perturbation leaves the budget of its attack, unless it was
    rounded afterwards; that the error of a vector is that of an element times the width; and that the gap is a difference.

    Args:
        records: In any order.
    """
    results = Results(records)
    checks: Sequence[Callable[[Results, Setting], Iterator[str]]] = (_range, _diagonal, _budget, _width, _gap)
    for setting in results.settings:
        for check in checks:
            yield from check(results, setting)
    yield from _one_value(results)


def _range(results: Results, setting: Setting) -> Iterator[str]:
    for metric in sorted(_SHARES):
        for r in results.asked(setting, metric):
            if r.status == "ok" and r.value is not None and not 0 <= r.value <= 1:
                yield f"{_where(setting, point_of(r))}: {r.metric} is {r.value!r}, outside [0, 1]"


def _diagonal(results: Results, setting: Setting) -> Iterator[str]:
    native = results.values(setting, "native_auroc", of="target")
    for point, value in results.values(setting, "auroc").items():
        if results.native(point) and point in native and native[point] != value:
            yield (
                f"{_where(setting, point)}: nothing is mapped on the diagonal, but auroc is {value!r} and native_auroc of the "
                f"target {native[point]!r}"
            )


def _one_value(results: Results) -> Iterator[str]:
    first: dict[object, tuple[float, str]] = {}
    for setting in results.settings:
        for of in ("source", "target"):
            for point, value in results.values(setting, "native_auroc", of=of).items():
                here = f"{_where(setting, point)}, of {of}"
                other, there = first.setdefault(own_key(setting, of, point), (value, here))
                if not math.isclose(value, other, rel_tol=0, abs_tol=_SAME):
                    yield f"the same detector on the same images has native_auroc {other!r} ({there}) and {value!r} ({here})"


def _budget(results: Results, setting: Setting) -> Iterator[str]:
    attack = setting.params("attack")
    eps = attack.get("eps")
    if not isinstance(eps, (int, float)) or attack.get("eps_space", "pixel") != "pixel" or setting.get("quantise") is not None:
        return
    for point, r in results.records(setting, "perturbation", norm="linf").items():
        largest = r.extras.get("largest")
        if isinstance(largest, (int, float)) and largest > eps + _BUDGET:
            yield f"{_where(setting, point)}: a perturbation of {largest!r} leaves the budget eps = {eps!r}"


def _width(results: Results, setting: Setting) -> Iterator[str]:
    vectors = results.values(setting, "map_mse", per="vector")
    for point, r in results.records(setting, "map_mse", per="element").items():
        width = r.extras.get("width")
        if point in vectors and isinstance(width, (int, float)):
            expected = float(r.value or 0.0) * width
            if not math.isclose(vectors[point], expected, rel_tol=_SCALED, abs_tol=0):
                yield (
                    f"{_where(setting, point)}: map_mse of a vector is {vectors[point]!r}, but {r.value!r} an element times "
                    f"{width} is {expected!r}"
                )


def _gap(results: Results, setting: Setting) -> Iterator[str]:
    auroc, own = results.values(setting, "auroc"), results.values(setting, "native_auroc", of="source")
    for point, value in results.values(setting, "transfer_gap").items():
        if point in auroc and point in own:
            expected = auroc[point] - own[point]
            if not math.isclose(value, expected, rel_tol=0, abs_tol=_SCALED):
                yield f"{_where(setting, point)}: transfer_gap is {value!r}, but auroc less native_auroc of the source {expected!r}"


def _where(setting: Setting, point: Point) -> str:
    return f"{setting}, {point.source} to {point.target}, seed {point.seed}"
