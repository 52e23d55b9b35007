# SPDX-License-Identifier: Apache-2.0
"""Maps between networks beside what needs no trained source, no map or no pairs."""

from __future__ import annotations

from collections.abc import Sequence

from lipbench.api import Record, Table

from .pairs import pair_table


def mapping_controls(records: Sequence[Record]) -> Table:
    """One row for each pair.

    Args:
        records: In the order of the plan.
    """
    shown: list[tuple[str, dict[str, object]]] = [
        ("no map", {"of": "accuracy", "map": "identity"}),
        ("mapped", {"of": "accuracy", "map": "fit", "rows": "biased"}),
        ("w alone", {"of": "accuracy", "map": "fit", "rows": "unbiased"}),
        ("shuffled pairs", {"of": "accuracy", "map": "shuffled"}),
        ("target's mean map", {"of": "accuracy", "map": "mean"}),
        ("agreement", {"of": "agreement", "map": "fit"}),
        ("gain", {"of": "gain", "map": "fit"}),
        ("R2", {"of": "r2", "map": "fit", "rows": "biased"}),
    ]
    return pair_table(
        records,
        title="From the local maps of one network to those of another",
        columns=[(name, "mapped_outputs", params) for name, params in shown],
        caption=(
            "Means over seeds. Accuracy of the predicted maps on test points, but for agreement (with the target's classes), gain (of "
            "agreement over the source without a map) and R2. No map leaves the source as it is. A source that was never trained and "
            "still does well shows that the number is not about what the source has learned."
        ),
    )
