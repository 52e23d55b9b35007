# SPDX-License-Identifier: Apache-2.0
"""The audit, the table of corrections and the plots, on records made by hand."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import numpy as np
import pytest
from lipbench_lipschitz_networks.reports.certified_curves import certified_curves
from lipbench_lipschitz_networks.reports.contours import contours
from lipbench_lipschitz_networks.reports.corrections import corrections
from lipbench_lipschitz_networks.reports.duality import duality
from lipbench_lipschitz_networks.reports.kr_curves import kr_curves
from lipbench_lipschitz_networks.reports.pareto import pareto
from lipbench_lipschitz_networks.reports.singular_values import singular_values

from lipbench.api import Record

_count = itertools.count()
KR = {"kr": 7.9, "bound": 1.0, "w1": 8.0, "w1_l1_cost": 64.0, "curve": {"step": [0, 10], "kr": [0.0, 7.9]}}


def record(component: str, found: float, /, *, network: dict[str, Any] | None = None, **changes: Any) -> Record:
    """A value as a metric of the task reports it."""
    params = {"use": "lip_mlp", "as": "net", "loss": "hkr", "alpha": 10.0, "act": "fullsort", "norm": "bjorck"} | (
        network or {}
    )
    uses = {"metric": component, "network": params.pop("use"), "data": changes.pop("data", "toy_squares")}
    fields: dict[str, Any] = {
        "cell": f"cell{next(_count)}",
        "suite": "lipschitz_networks",
        "task": "lipschitz_network",
        "roles": {"network": params.pop("as"), "data": changes.pop("on", "squares")},
        "params": {"network": params, "data": {"mode": "ternary"}},
        "seed": 0,
        "metric": component,
        "uses": uses,
        "code": {},
        "data": {},
        "status": "ok",
        "value": found,
    }
    return Record(**(fields | changes))


SOUND = [
    record("kr", 7.9, extras=KR),
    record("product_bound", 1.0),
    record("gradient_norm", 0.99),
    record("hinge", 0.02, extras={"bound": 1.0, "floor": 0.01}),
    record("attacked_accuracy", 0.9, extras={"radius": 0.1, "broken": 0}),
]
BROKEN = {
    "above K W1": record("kr", 8.1, extras=KR | {"kr": 8.1}),
    "above the product bound": record("gradient_norm", 1.01),
    "below its floor": record("hinge", 0.005, extras={"bound": 1.0, "floor": 0.01}),
    "certified rows": record("attacked_accuracy", 0.5, extras={"radius": 0.1, "broken": 3}),
}


def test_sound_records_pass() -> None:
    assert list(duality(SOUND)) == []


@pytest.mark.parametrize("words", BROKEN)
def test_each_contradiction_is_one_sentence(words: str) -> None:
    (sentence,) = duality([*SOUND, BROKEN[words]])
    assert words in sentence
    assert "net on squares, seed 0" in sentence


def test_a_steeper_network_may_have_more_kr_and_less_hinge() -> None:
    steep = [
        record("kr", 15.0, extras=KR | {"kr": 15.0, "bound": 2.0}),
        record("hinge", 0.0, extras={"bound": 2.0, "floor": 0.01}),
    ]
    assert list(duality(steep)) == []


def test_corrections_say_what_was_measured() -> None:
    layer = {"use": "lip_layer", "norm": "bjorck"}
    records = [
        record("kr", 7.9, extras=KR),
        record("kr", 4.9, extras=KR | {"kr": 4.9}, network={"as": "relu", "act": "relu"}),
        *(
            record(
                "kr",
                kr / 1.3 if relative else kr,
                metric="kr_share" if relative else "kr",
                extras=KR | {"kr": kr, "w1": 1.3},
                data="two_moons",
                on="moons",
                network={"alpha": alpha, "as": f"alpha {alpha}"},
            )
            for alpha, kr in ((1.0, 1.2), (10.0, 0.9))
            for relative in (False, True)
        ),
        record("product_bound", 1.05, network=layer | {"as": "conv", "of": "conv", "conv_bound": "deel"}),
        record("product_bound", 0.5, network=layer | {"as": "avg", "of": "avg"}),
        record("product_bound", 2.0, network=layer | {"as": "max", "of": "max"}),
    ]
    table = corrections(records)
    said = [" | ".join(entry.text for entry in row) for row in table.rows]
    assert len(said) == 6
    for words in ("64 by l1", "above 1 for 1 of 1", "avg 0.5000", "max 2.0000", "relu 61.3 %", "alpha 10: 0.900"):
        assert any(words in line for line in said), words
    assert not corrections([]).rows


def test_plots_are_drawn_where_there_is_something_to_draw() -> None:
    grid = np.linspace(-1, 1, 16, dtype=np.float16)
    box = {"box": [-1, -1, 1, 1], "side": 4, "margin": 0.3, "points": [[0, 0], [0.5, 0.5]], "classes": [0, 1]}
    packed = {"f": base64.b64encode(grid.tobytes()).decode(), "slope": base64.b64encode(bytes(range(16))).decode()}
    ends = {name: [[0.5, 0.6], [0.9, 1.0]] for name in ("raw_min", "raw_max", "bound_min", "bound_max")}
    records = [
        *SOUND,
        record("certified_radius", 0.2, extras={"radii": [0, 0.5], "accuracy": [1, 0]}),
        record("orthogonality", 0.0, extras={"step": [0, 9], **ends}),
        record("contours", 0.3, extras=box | packed),
    ]
    for alpha in (1.0, 10.0, 100.0):
        network = {"alpha": alpha, "as": f"alpha {alpha}"}
        records += [
            record("class_accuracy", 0.9, network=network, metric="accuracy"),
            record("certified_accuracy", 0.8, network=network, extras={"radius": 0.1}),
        ]
    for report in (kr_curves, singular_values, certified_curves, pareto, contours):
        assert report(records)
        assert not report([])


def test_marks_that_lie_on_one_another_have_one_label_and_radii_have_marks_in_the_legend() -> None:
    records = []
    for alpha, accuracy in ((1.0, 0.8), (10.0, 0.9), (100.0, 0.9)):
        network = {"alpha": alpha, "as": f"alpha {alpha}"}
        records += [
            record("class_accuracy", accuracy, network=network, metric="accuracy"),
            record("certified_accuracy", accuracy - 0.1, network=network, extras={"radius": 0.1}),
        ]
    figure = pareto(records)["pareto"]
    assert {text.get_text() for text in figure.axes[0].texts} == {"1", "10, 100"}
    (handle,) = figure.axes[0].get_legend_handles_labels()[0]
    assert handle.get_marker() not in ("", "None", None)


def test_failed_records_are_not_read() -> None:
    failed = record("kr", 0.0, status="failed", value=None)
    assert list(duality([failed])) == []
    assert not corrections([failed]).rows
    assert not kr_curves([failed])
