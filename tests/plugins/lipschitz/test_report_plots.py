# SPDX-License-Identifier: Apache-2.0
"""The plots: which marks they show, and that no screen and no torch is needed."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from lipbench_lipschitz.reports.bracket_chart import bracket_chart
from lipbench_lipschitz.reports.heat_map import heat_map
from lipbench_lipschitz.reports.traces import PANELS, traces
from report_records import ball, mapped, record, searched


def png(figure: Any) -> bytes:
    """The picture; a warning of matplotlib, such as panels without room, is an error."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=40, metadata={"Software": None})
    return out.getvalue()


def test_a_trace_shows_both_ratios_the_noise_floor_and_d_min() -> None:
    figures = traces([searched("d_min"), searched("published", metric="line_search published", extras={"d_min": 0.3})])
    assert list(figures) == ["traces_float32"]
    (panel,) = figures["traces_float32"].axes
    lines = {text.get_label().split(",")[0]: text for text in panel.lines}
    assert len(lines["k_raw"].get_xdata()) == 12
    assert len(lines["k_ref"].get_xdata()) == 11
    x, y = lines["noise floor eps_out / d"].get_data()
    assert [a * b for a, b in zip(x, y, strict=True)] == pytest.approx([2e-3, 2e-3])
    assert lines["d_min"].get_xdata()[0] == 0.3
    assert panel.get_xscale() == panel.get_yscale() == "log"
    assert panel.xaxis_inverted()
    assert "= 16 " in panel.get_title()
    assert png(figures["traces_float32"])


def test_a_trace_without_noise_or_resolution_is_drawn_without_them() -> None:
    bare = searched(extras={"eps_out": 0.0, "d_min": None, "inflation": None})
    figure = traces([bare])["traces_float32"]
    assert len(figure.axes[0].lines) == 2
    assert png(figure)


def test_the_loudest_traces_are_drawn_one_figure_for_each_precision() -> None:
    loud = [searched(inflation=float(i), roles={"network": f"net {i}", "data": "plane"}) for i in range(1, PANELS + 4)]
    other = searched(task={"dtype": "bfloat16"})
    figures = traces([other, *loud])
    assert list(figures) == ["traces_float32", "traces_bfloat16"]
    titles = [p.get_title().splitlines()[0] for p in figures["traces_float32"].axes]
    assert titles == [f"net {i}" for i in range(4, PANELS + 4)]
    assert len(figures["traces_bfloat16"].axes) == 1


def test_seeds_share_a_panel_and_kinds_of_pairs_do_not() -> None:
    figures = traces([searched(), searched(seed=1), searched(task={"pairs": "noise"})])
    assert len(figures["traces_float32"].axes) == 2


def marks(panel: Any) -> dict[tuple[str, float], Any]:
    return {(m.get_marker(), m.get_xdata()[0]): m for m in panel.lines if m.get_linestyle() == "None"}


def test_the_bracket_chart_marks_every_bound_by_its_kind() -> None:
    records = [
        record("lower", 1.5),
        record("lower", 30.0, metric="line_search published", unranked="rounding noise"),
        record("estimate", 1.7),
        record("exact", 1.8),
        record("upper", 3.0),
        record("upper", 2.0, "box", metric="interval_jacobian"),
        record("upper", 5.0, seed=1),
        record("lower", 1.2, **ball(0.1)),
    ]
    figures = bracket_chart(records)
    assert list(figures) == ["bracket_chart-unit-square-l2-logits"]
    box, local = figures["bracket_chart-unit-square-l2-logits"].axes
    found = marks(box)
    assert set(found) == {(">", 1.5), ("x", 30.0), ("o", 1.7), ("D", 1.8), ("<", 3.0), ("<", 2.0)}
    assert found["o", 1.7].get_markerfacecolor() == "none"
    assert found["x", 30.0].get_color() != found[">", 1.5].get_color()
    assert [t.get_text() for t in box.get_yticklabels()][-1] == "schur"
    (band,) = box.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((1.5, 2.0))
    assert set(marks(local)) == {(">", 1.2), ("<", 3.0)}
    assert local.get_title() == "net, ball(0.1)"
    assert png(figures["bracket_chart-unit-square-l2-logits"])


def test_figures_of_labels_that_differ_in_signs_alone_have_names_of_their_own() -> None:
    labels = ["[1, 1]", "[-1, 1]", "(1, 1)"]
    figures = bracket_chart([record("lower", 1.0, roles={"network": "net", "data": d}) for d in labels])
    assert len(figures) == 3


def test_a_bracket_of_equal_or_zero_values_can_be_drawn() -> None:
    (figure,) = bracket_chart(
        [record("lower", 2.0), record("upper", 2.0), record("lower", 0.0, metric="random_pairs")]
    ).values()
    low, high = figure.axes[0].get_xlim()
    assert low < 2.0 < high
    assert png(figure)


def test_the_heat_map_shows_all_regions_and_the_best_pair() -> None:
    pair: Mapping[str, Any] = {"witness": {"x": [0.6, 0.5], "y": [0.7, 0.4]}}
    records = [
        mapped(),
        record("lower", 1.8, extras=pair),
        record("lower", 1.2, metric="random_pairs", extras={"witness": {"x": [0.0, 0.0], "y": [1.0, 1.0]}}),
        record("lower", 1.9, metric="pair_ascent", extras={"witness": None}),
        record("lower", 7.0, metric="line_search published", unranked="rounding noise", extras=pair),
    ]
    figure = heat_map(records)["heat_map"]
    panel = figure.axes[0]
    (filled,) = panel.collections
    assert filled.get_array().tolist() == [1.0, 2.0]
    assert len(filled.get_paths()) == 2
    star, ends = panel.lines
    assert star.get_xydata().tolist() == [[0.75, 0.5]]
    assert ends.get_xydata().tolist() == [[0.6, 0.5], [0.7, 0.4]]
    assert png(figure)


def test_heat_maps_are_paged_and_need_polygons() -> None:
    nets = [mapped(roles={"network": f"net {i}", "data": "plane"}) for i in range(7)]
    figures = heat_map([*nets, record("exact", 1.0)])
    assert {name: sum(bool(p.collections) and p.get_title() != "" for p in f.axes) for name, f in figures.items()} == {
        "heat_map": 6,
        "heat_map_2": 1,
    }


def test_the_order_of_the_records_does_not_change_a_picture() -> None:
    records = [searched(), searched(task={"pairs": "noise"}), record("upper", 3.0), mapped(), record("estimate", 1.7)]
    for draw in (traces, bracket_chart, heat_map):
        there, back = draw(records), draw(records[::-1])
        assert {k: png(f) for k, f in there.items()} == {k: png(f) for k, f in back.items()}


def test_reports_need_no_torch_and_plots_no_screen() -> None:
    code = (
        "import sys\n"
        "from lipbench_lipschitz.reports import bounds, brackets, traces, bracket_chart, heat_map\n"
        "assert 'matplotlib' not in sys.modules\n"
        "assert list(bounds.bounds([])) == []\n"
        "from lipbench_lipschitz.reports.drawing import panels\n"
        "panels(2, width=2, height=2)\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_gives_no_figures() -> None:
    for records in ([], [record("estimate", 1.0, extras={"kind": "other"})]):
        assert traces(records) == {}
        assert heat_map(records) == {}
        assert bracket_chart(records) == {}
