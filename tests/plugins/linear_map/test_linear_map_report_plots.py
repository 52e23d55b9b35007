# SPDX-License-Identifier: Apache-2.0
"""The plots: which marks they show, and that no screen and no torch is needed."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from linear_map_records import (
    CIFAR,
    NETWORKS,
    TABLE_3,
    auroc,
    budgets,
    controls,
    failed,
    matrix,
    nulls,
    pairs,
    published,
    record,
    sweep,
    worth,
)
from lipbench_linear_map.reports.auroc_against_eps import auroc_against_eps
from lipbench_linear_map.reports.auroc_heat_map import auroc_heat_map, wrapped
from lipbench_linear_map.reports.mapped_against_native import mapped_against_native
from lipbench_linear_map.reports.rows_curve import rows_curve
from lipbench_linear_map.reports.score_histograms import score_histograms
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lipbench.api import Record

Plot = Callable[..., Mapping[str, Any]]
PLOTS: Sequence[Plot] = (auroc_heat_map, rows_curve, score_histograms, mapped_against_native, auroc_against_eps)


def png(figure: Any) -> bytes:
    """The picture; a warning of matplotlib, such as panels without room or a letter without a glyph, is an error."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=40, metadata={"Software": None})
    return out.getvalue()


def lines(panel: Any) -> dict[str, Any]:
    return {text.get_label(): text for text in panel.lines}


def test_the_heat_map_shows_ours_and_the_published_matrix_on_one_scale() -> None:
    figures = auroc_heat_map([*matrix((0, 1)), *nulls()], published())
    assert list(figures) == ["auroc_heat_map"]
    ours, theirs, _ = figures["auroc_heat_map"].axes
    shown = np.asarray(ours.images[0].get_array())
    assert shown[0, 1] == pytest.approx(np.mean([worth("mlp64", "tanh96", seed) for seed in (0, 1)]))
    assert np.asarray(theirs.images[0].get_array()).tolist() == [list(row) for row in TABLE_3]
    assert ours.images[0].get_clim() == theirs.images[0].get_clim() == pytest.approx((0.7, 1.0))
    assert [t.get_text() for t in theirs.get_yticklabels()] == list(CIFAR)
    boxes = {(round(p.get_x() + 0.46), round(p.get_y() + 0.46)) for p in ours.patches}
    assert boxes == {(i, i) for i in range(5)}
    assert [t.get_text() for t in theirs.texts][:2] == ["0.907", "0.942"]
    assert png(figures["auroc_heat_map"])


@pytest.mark.parametrize("theirs", [[], published()])
@pytest.mark.parametrize("names", [["mlp64", "cnn48"], ["mlp64", "cnn48", "res32"]])
def test_titles_of_few_networks_are_whole_and_lie_within_the_figure(names: list[str], theirs: list[dict[str, Any]]) -> None:
    records = [auroc(worth(t, s), t, s, map="ols_affine") for t, s in pairs(names)]
    (figure,) = auroc_heat_map(records, theirs).values()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    panels = figure.axes[: 2 if theirs else 1]
    titles = [panel.title for panel in panels]
    assert titles[0].get_text().replace("\n", " ") == "ours digits, fgsm, ols_affine, embedding"
    assert titles[0].get_text().count("\n") <= 2
    boxes = [title.get_window_extent(canvas.get_renderer()) for title in titles]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height for box in boxes)
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_a_title_is_wrapped_before_it_is_shortened() -> None:
    assert wrapped("digits, fgsm", 12) == "digits, fgsm"
    assert wrapped("digits, fgsm, ols_affine, embedding", 24) == "digits, fgsm,\nols_affine, embedding"
    assert wrapped("a" * 20, 11) == "aaaaa…aaaaa"
    assert [len(text) for text in wrapped("b" * 20 + " " + "c" * 9, 10).split("\n")] == [10, 9]


def test_holes_of_a_matrix_are_left_white() -> None:
    (figure,) = auroc_heat_map([auroc(0.8), auroc(0.3, "mlp64", "cnn48")]).values()
    shown = figure.axes[0].images[0].get_array()
    assert np.ma.getmaskarray(shown).tolist() == [[True, False], [False, True]]
    assert len(figure.axes[0].texts) == 2
    assert png(figure)


def test_each_dataset_has_a_figure_of_its_own() -> None:
    records = [*matrix(), *matrix(data="mnist"), *matrix(data="mnist!")]
    for draw in (auroc_heat_map, mapped_against_native, score_histograms):
        figures = draw(records)
        assert [name.removeprefix(draw.__name__) for name in figures] == ["-digits", "-mnist", "-mnist_2"]


def test_the_scatter_has_a_point_for_each_pair_and_the_published_ones_hollow() -> None:
    (figure,) = mapped_against_native(matrix(), published()).values()
    (panel,) = figure.axes
    found = lines(panel)
    target = found["target cnn48"]
    assert sorted(target.get_xdata()) == pytest.approx(sorted(NETWORKS[s] for s in NETWORKS if s != "cnn48"))
    assert sorted(target.get_ydata()) == pytest.approx(sorted(worth("cnn48", s) for s in NETWORKS if s != "cnn48"))
    (theirs,) = (text for label, text in found.items() if label.startswith("published"))
    assert len(theirs.get_xdata()) == 20
    assert theirs.get_markerfacecolor() == "none"
    assert (0.907, 0.899) in set(zip(theirs.get_xdata(), theirs.get_ydata(), strict=True))
    across = next(text for label, text in found.items() if label.startswith("y = x"))
    assert list(across.get_xdata()) == list(across.get_ydata())
    assert png(figure)


def test_the_curve_over_rows_has_two_panels_a_pair_and_a_line_at_n_equal_p() -> None:
    (figure,) = rows_curve([*sweep(seeds=(0, 1)), *matrix(map="l21")]).values()
    above, below = figure.axes
    assert above.get_title() == "mlp64 → cnn48"
    for panel in (above, below):
        found = lines(panel)
        assert set(found) >= {"ols_affine", "ridge_cv"}
        assert "l21" not in found
        assert list(found["ols_affine"].get_xdata()) == [200, 350, 480, 512, 560, 700, 800]
        (at,) = {text.get_xdata()[0] for label, text in found.items() if label.startswith("n = p")}
        assert at == 512
    assert below.get_yscale() == "log"
    low = min(zip(lines(above)["ols_affine"].get_ydata(), lines(above)["ols_affine"].get_xdata(), strict=True))
    assert low == pytest.approx((0.92 - 0.3 + 0.0015, 512))
    assert len(above.collections) == 2
    assert png(figure)


def test_a_map_of_the_score_alone_has_no_error_but_is_drawn() -> None:
    rows = {0.8: 100, 0.9: 200}
    records = [auroc(v, map="score_regression", extras={"rows": n}, task={"map_rows": n}) for v, n in rows.items()]
    (figure,) = rows_curve(records).values()
    assert "score_regression" in lines(figure.axes[0])
    assert png(figure)


def test_pairs_over_rows_are_paged() -> None:
    records = [r for t, s in pairs(["mlp64", "cnn48", "res32"]) if t != s for r in sweep(s, t)]
    records += list(sweep("vit32", "cnn48"))
    figures = rows_curve(records)
    assert {name: len(f.axes) for name, f in figures.items()} == {"rows_curve": 12, "rows_curve_2": 2}


def test_histograms_are_those_of_one_native_and_of_the_best_the_median_and_the_worst_pair() -> None:
    records = matrix((3, 1))
    (figure,) = score_histograms(records).values()
    titles = [p.get_title() for p in figure.axes]
    ranked = sorted((p for p in pairs() if p[0] != p[1]), key=lambda p: -worth(*p, 1))
    assert [t.split(",")[0] for t in titles] == ["native", "best pair", "median pair", "worst pair"]
    assert f"{ranked[0][1]} → {ranked[0][0]}" in titles[1]
    assert f"{ranked[-1][1]} → {ranked[-1][0]}" in titles[3]
    assert f"{worth(*ranked[-1], 1):.3f}" in titles[3]
    assert "seed 1" in figure._suptitle.get_text()
    steps = {p.get_label(): p for p in figure.axes[1].patches if p.get_label()}
    assert list(steps) == ["originals", "noise of the same size", "adversarial"]
    extras = next(r for r in records if (r.roles["target"], r.roles["source"]) == ranked[0] and r.seed == 1).extras
    drawn = steps["adversarial"].get_data()
    assert drawn.values.tolist() == pytest.approx([100 * v for v in extras["histograms"]["mapped"]["adversarial"]])
    assert list(drawn.edges) == extras["histograms"]["mapped"]["edges"]
    assert png(figure)


def test_the_native_histogram_stands_alone_where_nothing_is_mapped() -> None:
    (figure,) = score_histograms([auroc(0.9, "cnn48", "cnn48")]).values()
    assert [p.get_title() for p in figure.axes] == ["native, AUROC 0.900\ncnn48"]


def test_a_curve_over_budgets_is_over_the_pairs_that_all_of_them_have() -> None:
    (figure,) = auroc_against_eps([*matrix(), *controls(), *nulls(), *budgets()]).values()
    (panel,) = figure.axes
    found = {c.get_label(): c.lines[0] for c in panel.containers}
    assert set(found) == {
        "mapped, ols", "mapped, ridge_cv", "native, the source's own detector", "mapped, adversarial against noise",
    }  # fmt: skip
    assert list(found["mapped, ols"].get_xdata()) == [0.03, 0.0625, 0.125, 0.25]
    assert list(found["mapped, ridge_cv"].get_xdata()) == [0.03, 0.0625, 0.25]
    expected = np.mean([worth("mlp64", "cnn48"), worth("cnn48", "mlp64")])
    assert found["mapped, ols"].get_ydata()[2] == pytest.approx(expected)
    native = np.mean([NETWORKS["mlp64"], NETWORKS["cnn48"]])
    assert found["native, the source's own detector"].get_ydata()[2] == pytest.approx(native)
    assert "[0,1] units" in panel.get_xlabel()
    assert png(figure)


def test_budgets_of_other_attacks_or_units_have_panels_of_their_own() -> None:
    records = [
        auroc(0.7 + eps, attack={"eps": eps, **changes})
        for eps in (0.1, 0.2)
        for changes in ({}, {"use": "pgd"}, {"eps_space": "normalised"}, {"steps": 3})
    ]
    (figure,) = auroc_against_eps(records).values()
    assert len(figure.axes) == 4
    assert "network sees" in figure.axes[2].get_xlabel()
    assert auroc_against_eps(matrix()) == {}


@pytest.mark.parametrize("draw", PLOTS)
def test_pictures_are_the_same_whenever_they_are_drawn(draw: Plot) -> None:
    records = [*matrix((0, 1)), *sweep(), *budgets()]
    there, back = ({k: png(f) for k, f in draw(records).items()} for _ in range(2))
    assert there
    assert there == back


@pytest.mark.parametrize("draw", PLOTS)
@pytest.mark.parametrize(
    "records",
    [
        [],
        [failed("auroc")],
        [auroc(0.9, "cnn48", "cnn48")],
        [
            auroc(1.0, attack={"eps": eps}, task={"map_rows": rows}, extras={"rows": rows})
            for eps in (0.1, 0.2)
            for rows in (2, 9)
        ],
        [auroc(0.8, extras={"histograms": None, "rows": None, "columns": None})],
        [record("map_mse", 0.2, params={"per": "element"})],
        [auroc(0.8, attack={"eps": None})],
    ],
)
def test_little_is_drawn_without_a_fault(draw: Plot, records: list[Record]) -> None:
    assert all(png(figure) for figure in draw(records).values())


def test_reports_need_no_torch_and_plots_no_screen() -> None:
    names = "overview auroc_matrix verdicts sanity head_accuracy auroc_heat_map rows_curve score_histograms mapped_against_native auroc_against_eps"
    code = (
        "import sys, importlib\n"
        f"for name in {names.split()}:\n"
        "    report = getattr(importlib.import_module(f'lipbench_linear_map.reports.{name}'), name)\n"
        "    made = report([])\n"
        "    assert not list(getattr(made, 'rows', made))\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from lipbench_basics.figures import panels\n"
        "panels(2, width=2, height=2)\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
