# SPDX-License-Identifier: Apache-2.0
"""The claims of the source beside what was measured, with the control that each needs."""

from __future__ import annotations

from collections.abc import Sequence

from lipbench.api import Column, Entry, Record, Table

from .reading import average, good, points_of, written


def claims(records: Sequence[Record]) -> Table:
    """One row for each thing that the source claims and the records have something to say of.

    Args:
        records: In any order.
    """
    rows = [*_fit(records), *_nearest(records), *_attacks(records), *_bisection(records)]
    return Table(
        title="What the source claims, and what is seen here",
        columns=[Column(name="claim"), Column(name="network"), Column(name="measured"), Column(name="control")],
        rows=[[Entry(text=t) for t in row] for row in rows],
        caption=(
            "Means over seeds. An AUROC of 0.5 is no difference; random signs are noise of the size of the attack. A correlation "
            "is taken over the replicas of one architecture, where the number of parameters is the same."
        ),
    )


def _networks(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(r.roles["network"] for r in records))


def _fit(records: Sequence[Record]) -> list[tuple[str, ...]]:
    found = list(good(records, "regions_and_error", where="box"))
    whole = list(good(records, "regions_and_error", where="whole"))
    return [
        (
            "more cells, better fit",
            name,
            f"rank correlation {written(average(mine), 2)} with cells in the box",
            f"{written(average([r for r in whole if r.roles['network'] == name]), 2)} with all cells",
        )
        for name in _networks(found)
        if (mine := [r for r in found if r.roles["network"] == name])
    ]


def _nearest(records: Sequence[Record]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name in _networks(list(good(records, "nearest_agreement", by="hamming", count="agree"))):
        for split in ("train", "test"):

            def share(by: str, name: str = name, split: str = split) -> float | None:
                return average(
                    [
                        r
                        for r in good(records, "nearest_agreement", by=by, among="split", count="agree")
                        if r.roles["network"] == name and points_of(r) == split
                    ]
                )

            if share("hamming") is None:
                continue
            control = f"Euclid {written(share('euclid'))}, last layer {written(share('penultimate'))}"
            rows.append(
                (f"bits find the class better than Euclid, {split}", name, f"bits {written(share('hamming'))}", control)
            )
    return rows


def _attacks(records: Sequence[Record]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for uses, words, params in (
        ("probe_auroc", "attacked points cross more units", {}),
        ("radius_auroc", "attacked points sit in smaller cells", {"by": "ball"}),
    ):
        found = list(good(records, uses, **params))
        for name in _networks(found):
            mine = [r for r in found if r.roles["network"] == name]
            attacks = list(dict.fromkeys(points_of(r) for r in mine))
            values = {a: average([r for r in mine if points_of(r) == a]) for a in attacks}
            control = {a: v for a, v in values.items() if "sign" in a}
            rest = {a: v for a, v in values.items() if a not in control}
            said = [", ".join(f"{a} AUROC {written(v)}" for a, v in part.items()) or "-" for part in (rest, control)]
            rows.append((words, name, *said))
    return rows


def _bisection(records: Sequence[Record]) -> list[tuple[str, ...]]:
    found = list(good(records, "bisection_miss"))
    return [
        (
            f"the bisection lists all cells of a segment ({variant})",
            name,
            f"misses some on {written(average(mine))} of them",
            f"stalls on {written(sum(r.extras['stalled'] for r in mine) / len(mine))}",
        )
        for variant in ("published", "repaired")
        for name in _networks(found)
        if (mine := [r for r in found if r.roles["network"] == name and r.params["metric"]["variant"] == variant])
    ]
