# SPDX-License-Identifier: Apache-2.0
"""Tables with one row for each pair of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lipbench.api import Column, Entry, Record, Table

from ...reports.reading import average, good, written

Quantity = tuple[str, str, Mapping[str, object]]
"""Name of a column, the metric's component, and its parameters."""


def pair_table(records: Sequence[Record], *, title: str, columns: Sequence[Quantity], caption: str) -> Table:
    """Means over seeds, one row for each dataset, source and target.

    Args:
        records: In the order of the plan.
        title: Of the table.
        columns: What is shown.
        caption: Of the table.
    """
    uses = {use for _, use, _ in columns}
    found = [r for use in uses for r in good(records, use)]
    pairs = dict.fromkeys((r.roles["data"], r.roles["network"], r.roles["target"]) for r in records if r.uses["metric"] in uses)
    rows = []
    for data, source, target in pairs:
        mine = [r for r in found if (r.roles["data"], r.roles["network"], r.roles["target"]) == (data, source, target)]
        values = [average(list(good(mine, use, **params))) for _, use, params in columns]
        rows.append([Entry(text=text) for text in (data, source, target)] + [Entry(text=written(v), value=v) for v in values])
    keys = [Column(name=name, key=True) for name in ("data", "source", "target")]
    return Table(title=title, columns=[*keys, *(Column(name=n) for n, _, _ in columns)], rows=rows, caption=caption)
