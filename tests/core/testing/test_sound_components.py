# SPDX-License-Identifier: Apache-2.0
"""The kit passes components that keep the contract, and says what it could not look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sound import Centre, Distances, Layer, MeanDistance, Points, Power

from lipbench.api import LipbenchError
from lipbench.testing import (
    ConformanceError,
    check_dataset,
    check_method,
    check_metric,
    check_model,
    check_task,
)

PLUGIN = str(Path(__file__).with_name("sound.py"))


def distances(count: int = 12) -> Distances:
    return Distances(np.linspace(0.1, 2.0, count, dtype=np.float32))


def statuses(report) -> dict[str, str]:
    return {result.check: result.status for result in report.results}


def test_dataset() -> None:
    assert set(statuses(check_dataset("points", plugin=PLUGIN)).values()) == {"ok"}


@pytest.mark.parametrize("name", ["layer", "trained_layer"])
def test_network(name: str) -> None:
    found = statuses(check_model(name, plugin=PLUGIN, data=Points()))
    assert {check for check, status in found.items() if status != "ok"} == ({"fitting"} if name == "layer" else set())


def test_model_that_is_no_network() -> None:
    found = statuses(check_model(Centre, data=Points(), probe=lambda model, rows: rows - model.centre))
    assert {check for check, status in found.items() if status == "does not apply"} == {
        "declaration",
        "empty_batch",
        "nan_inputs",
        "evaluation_mode",
        "dtype_moves",
        "device_moves",
    }


def test_metric() -> None:
    report = check_metric(
        "mean_distance",
        plugin=PLUGIN,
        evidence=distances,
        better=lambda: Distances(distances().values / 2),
        unit="length",
        bounds=(0.0, 2.0),
        invariances={"permutation": None, "scaling": 1},
    )
    assert {check for check, status in statuses(report).items() if status != "ok"} == {"batch_independence"}


def test_method() -> None:
    rows = np.random.default_rng(0).random((20, 3)).astype(np.float32)
    report = check_method(
        "power", plugin=PLUGIN, inputs=lambda: (rows.copy(), rows.mean(0)), call=lambda m, given, ctx: m.between(*given, ctx)
    )
    assert set(statuses(report).values()) == {"ok"}


def test_task() -> None:
    report = check_task(
        "spread_of_points",
        plugin=PLUGIN,
        roles={"model": "mean_row", "data": {"use": "points", "count": 20}, "distance": "power"},
        metrics=["mean_distance"],
    )
    assert {check for check, status in statuses(report).items() if status != "ok"} == {"stages"}


def test_a_waiver_needs_a_reason_a_check_and_a_fault() -> None:
    with pytest.raises(LipbenchError, match="did you mean 'licence'"):
        check_dataset(Points, waive={"license": "x"})
    with pytest.raises(LipbenchError, match="must say why"):
        check_dataset(Points, waive={"licence": " "})
    with pytest.raises(ConformanceError, match="licence: passes; remove its waiver"):
        check_dataset(Points, waive={"licence": "none is needed"})


def test_a_waived_fault_is_no_fault_but_is_kept() -> None:
    class Bare(Points):
        """Points without a licence.

        Args:
            count: Points.
        """

        licence = ""

    report = check_dataset(Bare, waive={"licence": "drawn here"})
    assert [(r.check, r.messages) for r in report.results if r.status == "waived"] == [("licence", ("drawn here",))]


def test_unknown_components_and_invariances_are_named() -> None:
    with pytest.raises(LipbenchError, match="did you mean 'mean_distance'"):
        check_metric("mean_distanc", plugin=PLUGIN, evidence=distances)
    with pytest.raises(LipbenchError, match="no invariance 'translation'"):
        check_metric(MeanDistance, evidence=distances, invariances={"translation": None})


def test_the_plugin_says_what_was_waived(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(PLUGIN).parent))
    pytester.makepyfile(
        """
        from sound import Points
        from lipbench.testing import check_dataset

        class Bare(Points):
            "Points without a licence."
            licence = ""
            def __init__(self) -> None:
                super().__init__(count=4)

        def test_bare():
            check_dataset(Bare, waive={"licence": "drawn here"})
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*lipbench conformance*", "1 components: *", "waived: dataset Bare, licence: drawn here"])


def test_classes_can_be_given_with_parameters() -> None:
    check_model(Layer, data=Points(), params={"width": 5})
    rows = np.ones((4, 2), np.float32)
    check_method(Power, params={"power": 2.0}, inputs=lambda: rows.copy(), call=lambda m, x, ctx: m.between(x, x[0], ctx))
