# SPDX-License-Identifier: Apache-2.0
"""The reports of the suite: what tables, findings and plots say of records made by hand, and what the audit catches."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lipbench_diffusion_ood.pictures import _png
from lipbench_diffusion_ood.reports.attempts_curve import attempts_curve
from lipbench_diffusion_ood.reports.auroc_matrix import auroc_matrix
from lipbench_diffusion_ood.reports.class_pairs import class_pairs
from lipbench_diffusion_ood.reports.cost_curve import cost_curve
from lipbench_diffusion_ood.reports.findings import findings
from lipbench_diffusion_ood.reports.matrix import matrix
from lipbench_diffusion_ood.reports.sanity import sanity
from lipbench_diffusion_ood.reports.score_histograms import score_histograms
from lipbench_diffusion_ood.reports.sheets import sheets
from lipbench_diffusion_ood.reports.training import training
from ood_records import OTHERS, PAIRS, auroc, baseline, record, sheet, suite

from lipbench.api import Record, Table
from lipbench.suite.references import load_references

PLOTS: Sequence[Callable[..., Mapping[str, Any]]] = (auroc_matrix, score_histograms, attempts_curve, cost_curve, sheets)


def png(figure: Any) -> bytes:
    """The picture; a warning of matplotlib, such as panels without room, is an error."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=40, metadata={"Software": None})
    return out.getvalue()


def row(table: Table, first: str) -> dict[str, str]:
    """The row of this first text."""
    (found,) = [r for r in table.rows if r[0].text == first]
    return {column.name: entry.text for column, entry in zip(table.columns, found, strict=True)}


def same_labels(value: float, label: str, **changes: Any) -> Record:
    """A set with itself, under two labels."""
    made = auroc(value, ("digits", "digits"), **changes)
    return dataclasses.replace(made, roles={**made.roles, "out_dist": label})


def test_the_matrix_has_pairs_as_rows_and_a_summary_that_marks_the_best() -> None:
    records = [auroc(v, p, detector={"as": "lmd"}) for v, p in zip((0.9, 0.6), PAIRS[:2], strict=True)]
    records += [baseline("ae_mse", v, p) for v, p in zip((0.7, 0.7), PAIRS[:2], strict=True)]
    records += [baseline("likelihood", 0.9, PAIRS[0])]
    table = matrix(records)
    assert [c.name for c in table.columns] == ["in", "out", "lmd", "ae_mse", "likelihood"]
    shown = [[("*" if e.best else "") + e.text for e in r] for r in table.rows]
    assert shown == [
        ["digits", "geo", "*0.900", "0.700", "*0.900"],
        ["digits", "shapes", "0.600", "*0.700", ""],
        ["mean", "2 pairs", "*0.750", "0.700", ""],
        ["worst pair", "2 pairs", "0.600", "*0.700", ""],
        ["mean rank", "2 pairs", "*1.50", "*1.50", ""],
    ]


def test_seeds_give_a_t_interval() -> None:
    table = matrix([auroc(v, seed=i) for i, v in enumerate((0.7, 0.8, 0.9))])
    # 4.3027 is the 97.5 % point of t with two degrees of freedom.
    assert table.rows[0][2].text == f"0.800 ± {4.30265 * 0.1 / 3**0.5:.3f}"


def test_lifts_and_backbones_are_named_only_where_they_tell_detectors_apart() -> None:
    two_lifts = [auroc(0.9), auroc(0.8, lift={"as": "center"}), baseline("ae_mse", 0.7)]
    assert [c.name for c in matrix(two_lifts).columns][2:] == ["lmd, checkerboard 4", "lmd, center", "ae_mse"]
    own = auroc(0.8, ("geo", "digits"))
    own = dataclasses.replace(own, roles={**own.roles, "backbone": "unet of geo"})
    assert [c.name for c in matrix([auroc(0.9), own]).columns][2:] == ["lmd"]
    other = auroc(0.8)
    other = dataclasses.replace(other, roles={**other.roles, "backbone": "large"})
    assert [c.name for c in matrix([auroc(0.9), other]).columns][2:] == ["lmd, unet", "lmd, large"]


def test_a_set_with_itself_is_shown_but_counts_nowhere() -> None:
    records = [auroc(0.9), same_labels(0.5, "digits again"), baseline("ae_mse", 0.7)]
    table = matrix(records)
    assert [r[1].text for r in table.rows] == ["geo", "digits again", "1 pairs", "1 pairs", "1 pairs"]
    assert not any(e.best for e in table.rows[1])
    assert row(findings(records), "does LMD beat the best baseline?")["finding"] == "ahead of all of them on 1 of 1 pairs"


def test_studies_of_one_part_are_no_columns() -> None:
    names = [c.name for c in matrix(list(suite())).columns]
    assert names == ["in", "out", "lmd, checkerboard 4", "lmd mse", *OTHERS]


def test_findings_compare_lmd_with_baselines_and_controls() -> None:
    values = {"lmd": (0.9, 0.6), "mahalanobis": (0.8, 0.7), "pixel knn": (0.95, 0.6), "mean_intensity": (0.4, 0.1)}
    records = [auroc(v, p) for v, p in zip(values["lmd"], PAIRS, strict=False)]
    records += [baseline(n, v, p) for n in list(values)[1:] for v, p in zip(values[n], PAIRS, strict=False)]
    table = findings(records)
    found = row(table, "does LMD beat the best baseline?")
    assert found["finding"] == "ahead of all of them on 1 of 2 pairs"
    assert "lmd 0.750" in found["figures"]
    assert "best on average mahalanobis 0.750, beaten on 1 of 2 pairs" in found["figures"]
    found = row(table, "does LMD beat controls without a model?")
    assert found["finding"] == "ahead of all of them on 0 of 2 pairs, level on 1"
    found = row(table, "where are scores inverted (below 0.5)?")
    assert found["finding"].startswith("on 2 of 8 cells")
    assert found["figures"] == "mean_intensity on digits → shapes 0.100; mean_intensity on digits → geo 0.400"
    found = row(table, "what does an image cost?")
    assert found["finding"] == "200 evaluations of the network, 2 % of the source's"
    assert "best baseline on average mahalanobis 1" in found["figures"]


def test_an_interval_that_holds_one_half_is_not_inverted() -> None:
    assert row(findings([auroc(0.48)]), "where are scores inverted (below 0.5)?")["finding"].startswith("nowhere")


def test_findings_on_attempts_and_distances() -> None:
    table = findings(list(suite()))
    found = row(table, "what do more attempts buy?")
    # One attempt has 0.8 and 0.7; all ten 0.93 and 0.85 on the first pair, 0.901 and 0.792 on the second.
    assert found["finding"] == "+0.118 on average, from +0.092 to +0.150 over 4 curves"
    assert found["figures"] == "one attempt 0.750; 10 attempts 0.868"
    found = row(table, "which distance is best?")
    assert found["finding"] == "perc_unet on average over 5 pairs, with checkerboard 4"
    assert found["figures"].startswith("perc_unet 0.930")


def entry(detector: str, value: float, pair: tuple[str, str], **where: str) -> dict[str, Any]:
    places = {"in_dist": pair[0], "out_dist": pair[1], "detector": detector, "metric": "auroc", **where}
    return {"quantity": detector, "value": value, "unit": "", "where": places}


def test_published_numbers_stand_beside_ours() -> None:
    records = [auroc(0.9), baseline("ae_mse", 0.7)]
    far = ("cifar10", "svhn")
    published = [
        entry("lmd", 0.992, far, lift="checkerboard 8"),
        entry("ae_mse", 0.02, far),
        entry("lmd", 0.607, ("cifar10", "cifar100"), lift="checkerboard 8"),
        entry("pretrained", 0.806, ("cifar10", "cifar100")),
    ]
    found = row(findings(records, published), "does LMD beat the best baseline?")["published"]
    assert found.startswith("ahead of all of them on 1 of 2 pairs; lmd, checkerboard 8 0.799; best of 2 on each pair 0.413")
    assert not [r for r in findings(records, published).rows if r[0].text.startswith("how far")]
    ours = [*published, entry("lmd", 0.95, PAIRS[0], metric="ood_auroc"), entry("ae*", 0.71, PAIRS[0], metric="*")]
    found = row(findings(records, ours), "how far from published AUROCs?")
    assert found["finding"] == "-0.030 on average over 2 of them"
    assert found["figures"] == "furthest: lmd on digits → geo 0.900, published 0.950"


def test_the_source_beats_its_baselines_on_five_of_its_twelve_pairs() -> None:
    """Averages over pairs are no pair, and a number that stands in two tables is one."""
    published = load_references(Path(__file__).parents[3] / "suites" / "references" / "diffusion_ood.yaml")["entries"]
    records = [auroc(0.9, ("cifar10", "svhn"), lift={"as": "checkerboard 8"}, detector={"as": "lmd"}, metric="auroc")]
    found = row(
        findings([*records, baseline("ae_mse", 0.7, ("cifar10", "svhn"))], published), "does LMD beat the best baseline?"
    )
    assert found["published"].startswith("ahead of all of them on 5 of 12 pairs; lmd, checkerboard 8 0.906")
    assert "input_complexity 0.833, beaten on 8 of 12 pairs" in found["published"]
    found = row(findings(records, published), "how far from published AUROCs?")
    assert found["finding"] == "-0.092 on average over 1 of them"


def test_the_audit_has_nothing_to_say_of_a_sound_suite() -> None:
    extra = [same_labels(0.5, "digits again"), auroc(0.9, detector={"attempts": 10, "as": "lmd r=10"})]
    assert list(sanity([auroc(0.9), *extra, auroc(0.8, seed=1), record("aupr", 1.0), baseline("ae_mse", 0.7)])) == []
    assert list(sanity(list(suite((0, 1))))) == []


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([record("aupr", 1.01)], "outside [0, 1]"),
        ([same_labels(0.501, "digits again")], "both sets are one"),
        ([auroc(0.9), auroc(0.91, detector={"attempts": 10, "as": "all"})], "the same detector has"),
        ([auroc(0.9), auroc(0.8, PAIRS[1], evaluations=201.0)], "200 evaluations"),
        ([auroc(0.9), record("evaluations", 199.0)], "200 evaluations"),
    ],
)
def test_the_audit_finds_each_contradiction(records: list[Record], words: str) -> None:
    (sentence,) = sanity(records)
    assert words in sentence
    assert "digits" in sentence


def test_an_adaptive_solver_may_cost_what_it_needs() -> None:
    how: dict[str, Any] = {"detector": {"use": "likelihood"}, "lift": {"use": "probability_flow", "method": "rk45"}}
    assert list(sanity([auroc(0.9, **how), auroc(0.8, PAIRS[1], **how, evaluations=201.0)])) == []


def test_the_heat_map_shows_the_means() -> None:
    (figure,) = auroc_matrix(list(suite((0, 1)))).values()
    panel = figure.axes[0]
    shown = np.asarray(panel.images[0].get_array())
    assert shown.shape == (2 + len(OTHERS), len(PAIRS))
    assert shown[0, 0] == pytest.approx(0.932)
    assert panel.texts[0].get_text() == "0.932"


def test_curves_hold_all_else_equal() -> None:
    (figure,) = attempts_curve(list(suite())).values()
    lines = {c.get_label(): c.lines[0] for c in figure.axes[0].containers}
    assert list(lines) == ["perc_unet", "mse"]
    assert lines["mse"].get_xdata().tolist() == [1, 2, 5, 10]
    assert lines["mse"].get_ydata() == pytest.approx([0.7, 0.75, 0.78, 0.85])
    (figure,) = cost_curve(list(suite())).values()
    lines = {c.get_label(): c.lines[0] for c in figure.axes[0].containers}
    assert lines["ddim"].get_xdata().tolist() == [61, 511, 2511]
    assert lines["ancestral"].get_xdata().tolist() == [61, 211, 511, 2511]
    assert figure.axes[0].get_xscale() == "log"


def test_lines_are_named_by_what_tells_them_apart() -> None:
    records = [
        auroc(0.8 + n / 1000, detector={"as": d}, lift={"steps": n, "t": t, "as": f"{n} {t}"}, evaluations=float(n))
        for n in (10, 20) for t in (0.25, 0.5) for d in ("lmd", "lmd mean")
    ]  # fmt: skip
    (figure,) = cost_curve(records).values()
    names = sorted(c.get_label() for c in figure.axes[0].containers)
    assert names == [
        "ancestral, lmd mean, t 0.25",
        "ancestral, lmd mean, t 0.5",
        "ancestral, lmd, t 0.25",
        "ancestral, lmd, t 0.5",
    ]


def test_at_most_six_pairs_are_drawn() -> None:
    pairs = [("digits", f"set {i}") for i in range(9)]
    records = [auroc(0.6 + i / 30, p, detector={"attempts": r, "as": f"r={r}"}) for i, p in enumerate(pairs) for r in (1, 10)]
    assert len(attempts_curve(records)["attempts_curve"].axes) == 6
    shown = score_histograms([*records, *(baseline("ae_mse", 0.6, p) for p in pairs)])["score_histograms"]
    titles = [a.get_title().split("\n") for a in shown.axes]
    assert [t[0] for t in titles[::2]] == [f"digits → set {i}" for i in (8, 6, 5, 3, 2, 0)]
    assert [t[1] for t in titles[:2]] == ["r=1, AUROC 0.867", "ae_mse, AUROC 0.600"]


def test_sheets_are_decoded_and_their_rows_named() -> None:
    once = record("reconstructions", 0.1, PAIRS[3], lift={"attempts": 1}, extras={"sheet": sheet(rows=3)})
    figures = sheets([*suite(), once, record("reconstructions", 0.1, ("geo", "x"), extras={"sheet": ""})])
    assert list(figures) == ["sheets-digits", "sheets-geo"]
    panel = figures["sheets-digits"].axes[0]
    assert np.asarray(panel.images[0].get_array()).shape[:2] == (32, 130)
    assert [t.get_text() for t in panel.get_yticklabels()] == ["original", "lifted", "mapped", "mapped"]
    assert panel.get_yticks().tolist() == [3.5, 11.5, 19.5, 27.5]
    (panel,) = sheets([once])["sheets-geo"].axes
    assert [t.get_text() for t in panel.get_yticklabels()] == ["original", "lifted", "mapped"]


@pytest.mark.parametrize("draw", PLOTS)
def test_plots_are_drawn_without_a_fault_and_alike_twice(draw: Callable[..., Mapping[str, Any]]) -> None:
    records = list(suite((0, 1)))
    first, again = ({name: png(figure) for name, figure in draw(records).items()} for _ in range(2))
    assert first
    assert first == again
    failed = dataclasses.replace(auroc(0.9), status="failed", value=None)
    for few in ([], [failed], [auroc(0.9)], [same_labels(0.5, "digits again")], [auroc(0.9, extras={})]):
        assert all(png(figure) for figure in draw(few).values())


@pytest.mark.parametrize("records", [[], [dataclasses.replace(auroc(0.9), status="failed", value=None)], [record("aupr", 0.9)]])
def test_tables_of_nothing_are_empty(records: list[Record]) -> None:
    for table in (matrix(records), findings(records)):
        assert not [*table.rows, *table.columns]
    assert list(sanity(records)) == []


def test_reports_need_no_torch_and_tables_no_matplotlib() -> None:
    names = "matrix findings sanity auroc_matrix score_histograms attempts_curve cost_curve sheets"
    code = (
        "import sys, importlib\n"
        f"for name in {names.split()}:\n"
        "    made = getattr(importlib.import_module(f'lipbench_diffusion_ood.reports.{name}'), name)([])\n"
        "    assert not list(getattr(made, 'rows', made))\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_published_value_stands_below_ours() -> None:
    where = {"in_dist": "digits", "out_dist": "geo", "detector": "ae_mse", "metric": "auroc"}
    published = [{"quantity": "AUROC", "value": 0.123, "where": where}]
    (figure,) = auroc_matrix(list(suite((0,))), published).values()
    assert [t.get_text() for t in figure.axes[0].texts if "(" in t.get_text()] == ["0.420\n(0.123)"]


def drifted(rho: float, trait: str = "intensity", label: str = "lmd mse", pair: tuple[str, str] = PAIRS[0]) -> Record:
    return record("score_drift", rho, pair, detector={"as": label}, group=trait)


def test_drift_is_named_with_the_detector_that_has_most_of_it() -> None:
    other = ("geo", "digits")
    made = [
        drifted(0.2),
        drifted(0.4, pair=other),
        drifted(-0.9, "complexity", "likelihood"),
        drifted(-0.7, "complexity", "likelihood", other),
    ]
    table = findings([auroc(0.9), *made])
    (line,) = [row for row in table.rows if row[0].text == "what else do scores follow?"]
    assert line[1].text == "most of all those of likelihood the complexity of the image: Spearman's rho -0.90 to -0.70"
    assert "lmd mse with intensity +0.20 to +0.40" in line[2].text


def test_pairs_of_classes_are_drawn_worst_first() -> None:
    extras = {"auroc": [[0.9, 0.4], [0.8, 0.7]], "inside_classes": [0, 3], "outside_classes": [1, 2]}
    made = [record("class_pairs", value, pair, extras=extras) for value, pair in ((0.7, PAIRS[0]), (0.4, PAIRS[1]))]
    (figure,) = class_pairs(made).values()
    assert [panel.get_title() for panel in figure.axes[:2]] == ["digits → shapes\nlowest 0.400", "digits → geo\nlowest 0.700"]
    assert sorted(t.get_text() for t in figure.axes[0].texts) == [".40", ".70", ".80", ".90"]
    assert class_pairs([auroc(0.9)]) == {}


def test_loss_curves_and_samples_are_drawn_once_a_model() -> None:
    sheet = _png(np.zeros((4, 10, 1)))
    made = [record("denoising_loss", 0.1, pair, extras={"loss_curve": [0.9, 0.5, 0.1], "sheet": sheet}) for pair in PAIRS]
    (figure,) = training(made).values()
    (curves,) = [panel for panel in figure.axes if panel.get_yscale() == "log"]
    assert [list(line.get_xdata()) for line in curves.get_lines()] == [[20, 40, 60]] * 2
    assert len(figure.axes) == 3
    assert training([auroc(0.9)]) == {}
