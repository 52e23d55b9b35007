# SPDX-License-Identifier: Apache-2.0
"""Audit, tables and plots, from records that metrics have made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import pytest
from distance_cases import CTX, compared
from lipbench_distances.base import Distance, Pair
from lipbench_distances.distances.by_moments import GaussianW2, GramLoss
from lipbench_distances.metrics.axioms import AxiomViolations
from lipbench_distances.metrics.cost import Cost
from lipbench_distances.metrics.matching import Matching
from lipbench_distances.metrics.sampling import Bias, Separation
from lipbench_distances.metrics.shared_moments import SharedMoments
from lipbench_distances.metrics.style import StyleTransfer
from lipbench_distances.pairs.gaussians import Marron, RandomGaussians
from lipbench_distances.pairs.photographs import Photographs
from lipbench_distances.reports.axioms import axioms, triangles
from lipbench_distances.reports.bias import bias, biases
from lipbench_distances.reports.cost import cost, seconds
from lipbench_distances.reports.looks import mosaics, styles
from lipbench_distances.reports.matching import flows, left_undone
from lipbench_distances.reports.sanity import sanity
from lipbench_distances.reports.separation import sampling, separation, separation_curves

from lipbench.api import Metric, Record, Table

mpl.use("Agg")

XY = ("X, Y", "marron", Marron())
RANDOM = ("random", "random_gaussians", RandomGaussians(d=3))
GRAM = ("Gram loss", "gram_loss", GramLoss())
W2 = ("Gaussian W2", "gaussian_w2", GaussianW2())
FRECHET = ("Frechet", "gaussian_w2", GaussianW2(squared=True))


def record(
    pair: tuple[str, str, Pair], distance: tuple[str, str, Distance], name: str, metric: Metric, label: str = ""
) -> Record:
    """What the harness would write of this metric."""
    value = metric.compute(compared(pair[2], distance[2]), CTX)
    return Record(
        cell=f"{pair[0]} {distance[0]} {label or name}", suite="s", task="distribution_distance",
        roles={"pair": pair[0], "distance": distance[0]},
        uses={"task": "distribution_distance", "metric": name, "pair": pair[1], "distance": distance[1]},
        params={"metric": dict(vars(metric)), "distance": dict(vars(distance[2]))}, seed=0, metric=label or name, code={}, data={},
        status="ok", value=value.value, unit=value.unit, direction=value.direction, group=value.group, extras=value.extras,
    )  # fmt: skip


@pytest.fixture(scope="module")
def records() -> list[Record]:
    found = [
        record(pair, distance, "axiom_violations", AxiomViolations(axiom=axiom, rounds=40), axiom)  # type: ignore[arg-type]
        for pair in (RANDOM, XY)
        for distance in (GRAM, W2, FRECHET)
        for axiom in ("identity", "indiscernibles", "triangle")
    ]
    for distance in (GRAM, W2):
        found += [record(XY, distance, "separation", Separation(rows=n, repeats=8), f"AUROC {n}") for n in (20, 100)]
        found.append(record(XY, distance, "matching", Matching(rows=30, steps=20)))
        found.append(record(RANDOM, distance, "cost", Cost(budget=1e-9)))
        found += [record(XY, distance, "bias", Bias(rows=n, repeats=5), f"bias {n}") for n in (20, 100)]
    found.append(record(XY, GRAM, "shared_moments", SharedMoments(rows=400)))
    return found


def texts(table: Table) -> dict[str, list[str]]:
    return {row[0].text: [entry.text for entry in row[1:]] for row in table.rows}


def test_nothing_contradicts_itself(records: list[Record]) -> None:
    assert list(sanity(records)) == []


def change(
    records: list[Record], name: str, distance: str, extras: Mapping[str, Any] | None = None, **fields: Any
) -> list[Record]:
    """The same with other fields in the first record of that metric and distance."""
    i = next(i for i, r in enumerate(records) if r.uses["metric"] == name and r.roles["distance"] == distance)
    fields = {"extras": {**records[i].extras, **extras}} if extras else fields
    return [*records[:i], dataclasses.replace(records[i], **fields), *records[i + 1 :]]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": "separation", "distance": "Gram loss", "value": 1.2}, "AUROC 20 is 1.2, outside [0, 1]"),
        ({"name": "axiom_violations", "distance": "Gaussian W2", "value": 2.5}, "2.5 % of the triples violate identity"),
        ({"name": "matching", "distance": "Gram loss", "extras": {"gaussian_w2": 1e3}}, "is above the exact one"),
    ],
    ids=["share", "theorem", "bound"],
)
def test_contradictions_are_named(records: list[Record], changed: dict[str, Any], words: str) -> None:
    (sentence,) = sanity(change(records, **changed))
    assert words in sentence
    assert sentence.startswith(f"{'random' if 'violate' in words else 'X, Y'}, {changed['distance']}, seed 0: ")


def test_a_square_may_violate_the_triangle_inequality(records: list[Record]) -> None:
    squares = [r for r in records if r.metric == "triangle" and r.roles["distance"] in ("Frechet", "Gram loss") and r.value]
    assert squares
    assert list(sanity(squares)) == []


def test_the_table_of_axioms_names_the_worst_family(records: list[Record]) -> None:
    table = axioms(records)
    assert [c.name for c in table.columns] == ["distance", "on", "d(P,P) = 0", "d(P,Q) > 0", "triangle"]
    found = texts(table)
    assert found["Gaussian W2"] == ["moments", "none", "none", "none"]
    assert found["Gram loss"][2] == "100 % of X, Y"
    assert found["Frechet"][3].endswith(" % of random")


def test_the_table_of_separation_takes_the_rows_that_most_cells_have(records: list[Record]) -> None:
    table = separation(records)
    assert table.title == "Separation by 100 rows"
    assert texts(table)["Gaussian W2"] == ["1.000"]
    only = [r for r in records if r.metric != "AUROC 100" or r.roles["distance"] == "Gram loss"]
    assert separation(only).title == "Separation by 20 rows"


def test_the_table_of_what_is_left_has_every_measure(records: list[Record]) -> None:
    table = left_undone(records)
    assert [row[1].text for row in table.rows] == ["Gram loss", "Gaussian W2"]
    left = next(r for r in records if r.uses["metric"] == "matching")
    assert table.rows[0][-2].value == left.value
    assert table.rows[0][-1].value == left.extras["baseline"]


def test_the_table_of_cost_says_what_is_extrapolated(records: list[Record]) -> None:
    (entry,) = texts(seconds(records))["Gram loss"]
    assert entry.startswith("extrapolated: ")
    assert "(128 rows, n^" in entry


def test_the_table_of_biases_is_in_shares_of_the_truth(records: list[Record]) -> None:
    table = biases(records)
    assert [c.name for c in table.columns] == ["pair", "distance", "truth", "20 rows", "100 rows"]
    gram, w2 = table.rows
    assert (gram[2].text, w2[2].text) == ("0", "1.51")
    found = {r.metric: r for r in records if r.uses["metric"] == "bias" and r.roles["distance"] == "Gaussian W2"}
    assert w2[3].value == pytest.approx((found["bias 20"].value or 0.0) / found["bias 20"].extras["truth"])
    assert "%" in w2[3].text
    assert "%" not in gram[3].text


def test_plots_are_drawn(records: list[Record]) -> None:
    figures = {
        **mosaics(records),
        **sampling(records),
        **triangles(records),
        **flows(records),
        **cost(records),
        **bias(records),
        **separation_curves(records),
    }
    assert set(figures) == {"mosaics", "sampling-X-Y", "triangles", "flows-X-Y", "cost", "bias", "separation_curves"}
    for figure in figures.values():
        figure.draw_without_rendering()
    assert len(figures["triangles"].axes) == 3
    assert len(figures["flows-X-Y"].axes) == 2


def test_styles_show_content_style_and_an_image_for_each_distance() -> None:
    pair = ("china, flower", "photographs", Photographs(size=32))
    found = [record(pair, d, "style_transfer", StyleTransfer(layers=(1,), steps=2)) for d in (GRAM, W2)]
    (figure,) = styles(found).values()
    assert [a.get_title().partition("\n")[0] for a in figure.axes] == ["content", "style", "Gram loss", "Gaussian W2"]


def test_reports_of_nothing_are_empty() -> None:
    assert list(sanity([])) == []
    for table in (axioms([]), separation([]), biases([]), left_undone([]), seconds([])):
        assert (list(table.columns), list(table.rows)) == ([], [])
    assert [f([]) for f in (mosaics, sampling, triangles, flows, cost, styles, bias, separation_curves)] == [{}] * 8
