# SPDX-License-Identifier: Apache-2.0
"""How many centres are enough, how many numbers these are, and what the network keeps when pruned to that size."""

from __future__ import annotations

from collections.abc import Sequence

from lipbench.api import Column, Entry, Record, Table

from ...reports.reading import average, good, written


def sizes(records: Sequence[Record]) -> Table:
    """One row for each network.

    Args:
        records: In the order of the plan.
    """
    needed, kept = list(good(records, "centres_needed")), list(good(records, "pruned_network"))
    settings = sorted({(r.params["metric"]["of"], r.params["metric"]["share"]) for r in needed})
    ks = sorted({r.params["metric"]["k"] for r in kept if r.params["metric"]["of"] == "accuracy"})
    clusters = list(good(records, "clustered_outputs", of="accuracy", assign="row", rows="raw"))
    rows = []
    for name in dict.fromkeys(r.roles["network"] for r in (*needed, *kept)):
        numbers = average([r for r in good(kept, "pruned_network", of="numbers") if r.roles["network"] == name])
        line = [Entry(text=name), Entry(text=written(numbers, 0), value=numbers)]
        for of, share in settings:
            mine = [r for r in good(needed, "centres_needed", of=of, share=share) if r.roles["network"] == name]
            line.append(_range(mine))
        for k in ks:
            # Without those that cannot be made as small.
            smaller = [r for r in good(kept, "pruned_network", of="accuracy") if r.unranked is None]
            for found in (clusters, smaller):
                value = average([r for r in found if r.roles["network"] == name and r.params["metric"]["k"] == k])
                line.append(Entry(text=written(value), value=value))
        rows.append(line)
    names = ["numbers", *(f"k for {share:.0%} of {of}" for of, share in settings)]
    names += [f"{what}, k = {k}" for k in ks for what in ("centres", "pruned")]
    return Table(
        title="How many centres are enough",
        columns=[Column(name="network", key=True), *(Column(name=n) for n in names)],
        rows=rows,
        caption=(
            "Numbers: parameters of the network; k centres for each output hold k o (d + 1). The smallest k of the list that keeps the share of "
            "the network's accuracy, or of the test points with its class (fidelity): least and most over seeds; > where no k of the list did. "
            "Centres and pruned: accuracy of k centres, and of the network without its smallest weights at the same size, not trained again; - where its "
            "offsets and numbers of batch norm alone are more."
        ),
    )


def _range(records: Sequence[Record]) -> Entry:
    """Least and most over seeds."""
    ends = sorted((r.value or 0.0, not r.extras["enough"]) for r in records)
    if not ends:
        return Entry(text="-")
    words = [f"{'> ' if beyond else ''}{value:.0f}" for value, beyond in ends]
    return Entry(text=words[0] if words[0] == words[-1] else f"{words[0]} to {words[-1]}", value=ends[-1][0])
