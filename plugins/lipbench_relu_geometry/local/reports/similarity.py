# SPDX-License-Identifier: Apache-2.0
"""Measures of similarity that fit no matrix, beside what they give where pairs are permuted or the source is untrained."""

from __future__ import annotations

from collections.abc import Sequence

from lipbench.api import Record, Table

from .pairs import pair_table


def similarity(records: Sequence[Record]) -> Table:
    """One row for each pair.

    Args:
        records: In the order of the plan.
    """
    return pair_table(
        records,
        title="How alike local maps are at the same points",
        columns=[
            ("cosine", "mapped_outputs", {"of": "cosine_before"}),
            ("excess", "cosine_test", {"of": "excess", "map": "identity"}),
            ("p", "cosine_test", {"of": "p", "map": "identity"}),
            ("cosine, mapped", "mapped_outputs", {"of": "cosine", "map": "fit"}),
            ("excess, mapped", "cosine_test", {"of": "excess", "map": "fit"}),
            ("CKA", "row_similarity", {"of": "cka", "on": "weights", "pairs": "same"}),
            ("CKA, permuted", "row_similarity", {"of": "cka", "on": "weights", "pairs": "shuffled"}),
            ("CKA of outputs", "row_similarity", {"of": "cka", "on": "outputs"}),
            ("Procrustes", "row_similarity", {"of": "procrustes", "on": "weights", "pairs": "same"}),
            ("Procrustes, permuted", "row_similarity", {"of": "procrustes", "on": "weights", "pairs": "shuffled"}),
        ],
        caption=(
            "Means over seeds, of the weights w at test points unless said otherwise. Excess is the mean cosine less its mean over all "
            "permutations of the pairs, p the mean of the permutation tests' p-values. Permuted: the target's points in random order, which is "
            "what finite samples give where nothing belongs together."
        ),
    )
