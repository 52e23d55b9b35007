# SPDX-License-Identifier: Apache-2.0
"""What else than their kind the scores of images follow."""

from __future__ import annotations

from collections.abc import Sequence

from lipbench.api import Record

from .finding import Finding
from .reading import mean, measured


def drift(records: Sequence[Record]) -> Finding | None:
    """Rank correlations of in-domain scores with brightness and complexity, averaged over in-domain sets."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for r in records:
        if r.uses.get("metric") == "score_drift" and measured(r):
            # The same for every other set: it is about in-domain images alone.
            key = r.roles.get("detector", ""), r.group
            found.setdefault(key, {}).setdefault(r.roles.get("in_dist", ""), float(r.value or 0.0))
    if not found:
        return None
    (name, trait), values = max(found.items(), key=lambda item: mean(abs(v) for v in item[1].values()))
    return Finding(
        question="what else do scores follow?",
        finding=f"most of all those of {name} the {trait} of the image: Spearman's rho {_spread(values)}",
        figures=[f"{n} with {t} {_spread(v)}" for (n, t), v in found.items()],
    )


def _spread(values: dict[str, float]) -> str:
    found = list(values.values())
    return f"{found[0]:+.2f}" if len(found) == 1 else f"{min(found):+.2f} to {max(found):+.2f}"
