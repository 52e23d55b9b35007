# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_lipschitz.diagnostics import batch_dependence, differing_coordinates, retrace, spread, trace_signs
from lipbench_lipschitz.linesearch import GROUP_PAIRS, Search, Stop, groups, halve, merge, noise_adjusted, replay, trail
from lipbench_lipschitz.rounding import Reference, lengths
from searched_networks import all_pairs, evidence_for, gelu_mlp
from torch import Tensor

Function = Callable[[Tensor], Tensor]
EPSILON = 5e-5
# Distances and ratios of the published run on EfficientNet-B0 (one pair, after each halving).
PUBLISHED = """
20229.934 0.00018036 10114.967 0.00033383 5057.4834 0.00063807 2528.7417 0.0011291 1264.3708 0.00161012 632.1854 0.0018618
316.0927 0.0019467 158.04636 0.00197185 79.02318 0.0019798 39.51159 0.00198311 19.755795 0.00198365 9.877897 0.0019869
4.9389486 0.00198873 2.4694743 0.00199555 1.2347372 0.0019963 0.6173686 0.00200664 0.3086841 0.0020157 0.15435793 0.00216903
0.07720014 0.00241065 0.03864492 0.00245268 0.01939901 0.00255029 0.00979492 0.00364908 0.00515474 0.0045941
0.00317484 0.00535168 0.00260982 0.00518637 0.00046154 0.00911535 0.00024459 0.01604819 8.907245e-05 0.06027395
3.635556e-05 0.12332452
"""


def searched(f: Function, x: float, y: float, dtype: torch.dtype = torch.float64, epsilon: float = EPSILON) -> Search:
    ends = (torch.tensor([[v]], dtype=torch.float64).to(dtype) for v in (x, y))
    return halve(f, *ends, norm="l2", stop=Stop(epsilon=epsilon))


def literal(f: Function, x: Tensor, y: Tensor, norm: str) -> tuple[list[float], list[float], Tensor, Tensor]:
    """The published loop for one pair, word for word."""

    def length(a: Tensor) -> float:
        return float(lengths(a[None], norm)[0])

    def ratio(a: Tensor, b: Tensor) -> Tensor:
        d = lengths((a - b)[None], norm)[0]
        return lengths(f(a[None]) - f(b[None]), norm)[0] / d if d > 1e-10 else torch.zeros((), dtype=d.dtype)

    distances, ratios = [length(x - y)], [float(ratio(x, y))]
    while distances[-1] > EPSILON:
        z = (x + y) / 2
        if ratio(x, z) > ratio(z, y):
            y = z
        else:
            x = z
        distances.append(length(x - y))
        ratios.append(float(ratio(x, y)))
        if distances[-1] == distances[-2]:
            break
    return distances, ratios, x, y


def wiggly(x: Tensor) -> Tensor:
    """Elementwise, so that no batch changes its last bits."""
    return torch.stack([torch.sin(3 * x[:, 0] + x[:, 1]), x[:, 1] * x[:, 2], x[:, 0] ** 2 - x[:, 2]], 1)


def test_linear_map_keeps_its_ratio() -> None:
    w = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x, y = torch.rand(2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = halve(lambda v: v @ w.T, x, y, norm="l2", stop=Stop(epsilon=EPSILON))
    expected = ((x - y) @ w.T).norm(dim=1) / (x - y).norm(dim=1)
    assert torch.allclose(found.ratio[: int(found.rounds.min())], expected, rtol=1e-9)


def test_square_climbs_towards_two() -> None:
    found = searched(lambda x: x * x, 0.0, 1.0)
    assert found.ratio[:, 0].tolist() == [2 - 2.0**-i for i in range(16)]


def test_sine_goes_left_to_ten() -> None:
    found = searched(lambda x: torch.sin(10 * x), 0.0, math.pi / 10)
    k = found.ratio[:, 0]
    assert float(k[0]) < 1e-15
    assert torch.allclose(k[1:4], torch.tensor([6.3662, 9.0032, 9.7450], dtype=torch.float64), atol=5e-5)
    assert float(k[-1]) == pytest.approx(10, abs=1e-6)
    assert bool(found.left.all())


def test_needle_is_missed() -> None:
    found = searched(lambda x: x + 0.01 * torch.clamp(1 - (x - 0.3).abs() / 0.001, min=0), 0.0, 1.0)
    assert torch.allclose(found.ratio, torch.ones_like(found.ratio), rtol=1e-9)


def test_staircase_gives_the_published_artefact() -> None:
    found = searched(lambda x: (x + 1e4) - 1e4, 0.0, 1.0, torch.float32)
    assert found.ratio[:, 0].tolist() == [1.0] * 11 + [2.0, 4.0, 8.0, 16.0, 32.0]
    assert float(found.distance[-1, 0]) == 2.0**-15


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_midpoint_inequality(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    first, second = torch.randn(6, 3, generator=g, dtype=torch.float64), torch.randn(2, 6, generator=g, dtype=torch.float64)
    x, y = torch.rand(2, 40, 3, generator=g, dtype=torch.float64)
    found = halve(lambda v: torch.tanh(v @ first.T) @ second.T, x, y, norm="l2", stop=Stop(epsilon=1e-3))
    gain = found.ratio[1:] - found.ratio[:-1]
    assert float(gain.nan_to_num().min()) >= -1e-12


@pytest.mark.parametrize("norm", ["l2", "l1", "linf"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_every_pair_of_a_batch_does_what_it_does_alone(norm: str, dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(4)
    # Lengths between 1e-3 and 1, so that pairs finish one after the other, and one pair of equal ends.
    x = torch.rand(12, 3, generator=g).to(dtype)
    y = (x + torch.logspace(-3, 0, 12)[:, None] * torch.randn(12, 3, generator=g)).to(dtype)
    y[5] = x[5]
    found = halve(wiggly, x, y, norm=norm, stop=Stop(epsilon=EPSILON))
    last_x, last_y = replay(x, y, found.left, found.rounds)
    for i in range(len(x)):
        distances, ratios, end_x, end_y = literal(wiggly, x[i], y[i], norm)
        assert found.distance[: len(distances), i].tolist() == distances
        assert found.ratio[: len(ratios), i].tolist() == ratios
        assert bool(found.distance[len(distances) :, i].isnan().all())
        assert torch.equal(last_x[i], end_x)
        assert torch.equal(last_y[i], end_y)
    assert len(found.rounds.unique()) > 3


@pytest.mark.parametrize(
    "f",
    [
        pytest.param(lambda x: torch.relu(3 * x - 1) - torch.relu(1 - 2 * x), id="creased"),
        pytest.param(lambda x: 3 * x, id="linear"),
        pytest.param(lambda x: x, id="its own input"),
        pytest.param(torch.zeros_like, id="constant"),
        pytest.param(lambda x: (x + 1e4) - 1e4, id="staircase"),
    ],
)
@pytest.mark.parametrize("norm", ["l2", "l1", "linf"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wide_inputs_and_ties_are_decided_as_published(f: Function, norm: str, dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(5)
    x = torch.rand(5, 300, generator=g, dtype=dtype)
    # One pair differs in a single coordinate, and one by a few units in the last place, where midpoints get stuck.
    y = x + torch.tensor([1.0, 1e-2, 1e-4, 1.0, 0.0], dtype=dtype)[:, None] * torch.randn(5, 300, generator=g, dtype=dtype)
    y[3, 1:] = x[3, 1:]
    y[4] = x[4] * (1 + 2 * torch.finfo(dtype).eps)
    found = halve(f, x, y, norm=norm, stop=Stop(epsilon=EPSILON))
    last_x, last_y = replay(x, y, found.left, found.rounds)
    for i in range(len(x)):
        distances, ratios, end_x, end_y = literal(f, x[i], y[i], norm)
        assert found.distance[: len(distances), i].tolist() == distances
        assert found.ratio[: len(ratios), i].tolist() == ratios
        assert int(found.rounds[i]) == len(distances) - 1
        assert torch.equal(last_x[i], end_x)
        assert torch.equal(last_y[i], end_y)


def test_stuck_midpoint_ends_the_search() -> None:
    one = 1 + torch.finfo(torch.float32).eps
    found = searched(lambda x: 3 * x, 1.0, one, torch.float32, epsilon=1e-12)
    assert int(found.rounds[0]) <= 2


def test_ties_go_right() -> None:
    found = searched(lambda x: x, 0.0, 1.0)
    assert not bool(found.left.any())
    x, y = replay(torch.zeros(1, 1), torch.ones(1, 1), found.left, found.rounds)
    assert float(y) == 1
    assert float(x) == 1 - float(found.distance[-1, 0])


def test_one_evaluation_a_halving() -> None:
    seen = 0

    def f(x: Tensor) -> Tensor:
        nonlocal seen
        seen += len(x)
        return wiggly(x)

    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 9, 3, generator=g)
    found = halve(f, x, y, norm="l2", stop=Stop(epsilon=EPSILON))
    assert seen == 2 * 9 + int(found.rounds.sum())


def test_inputs_are_not_changed_and_shape_is_kept() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 3, 2, 4, generator=g)
    before = x.clone(), y.clone()

    def f(v: Tensor) -> Tensor:
        assert v.shape[1:] == (2, 4)
        return v.flatten(1) ** 2

    halve(f, x, y, norm="l2", stop=Stop(epsilon=EPSILON))
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


def test_sound_stop_ends_at_the_resolution_of_the_steepest_pair() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 6, 3, generator=g, dtype=torch.float64)
    stop = Stop(epsilon=1e-12, noise=1e-6, tau=0.01)
    found = halve(wiggly, x, y, norm="l2", stop=stop)
    finest = 2e-6 / (0.01 * stop.steepest)
    last = found.distance[found.rounds, torch.arange(6)]
    assert bool((last <= finest).all())
    assert bool((last > finest / 4).all())
    assert stop.steepest <= float(found.ratio.nan_to_num().max())


def test_sound_stop_does_not_give_up_on_equal_outputs() -> None:
    # f(x) = f(y) at first: the ratio is 0 and any distance looks too small.
    x, y = torch.tensor([[-1.0]]), torch.tensor([[1.0]])
    found = halve(lambda v: v.abs(), x, y, norm="l2", stop=Stop(epsilon=1e-3, noise=1e-7, tau=0.01))
    assert float(found.final_ratio()) == 1.0


def test_noise_adjusted_ratio() -> None:
    top, d = torch.tensor([3.0, 1.0, math.nan]), torch.tensor([2.0, 0.0, math.nan])
    assert noise_adjusted(top, d, 0.5).tolist() == [1.0, -math.inf, -math.inf]


def test_groups_cover_all_pairs_whatever_their_number() -> None:
    small, large = torch.zeros(1, 2), torch.zeros(1, 3, 224, 224)
    for count, like in ((5000, small), (100, large)):
        parts = list(groups(count, like))
        assert [i for p in parts for i in range(p.start, p.stop)] == list(range(count))
        assert all(p.stop - p.start <= GROUP_PAIRS for p in parts)
    assert next(groups(100, large)).stop < 100


def test_merged_groups_are_the_whole() -> None:
    g = torch.Generator().manual_seed(2)
    x, y = torch.rand(2, 10, 3, generator=g)
    y[:4] = x[:4] + 0.01
    whole = halve(wiggly, x, y, norm="l2", stop=Stop(epsilon=EPSILON))
    stop = Stop(epsilon=EPSILON)
    parts = merge([halve(wiggly, x[s], y[s], norm="l2", stop=stop) for s in (slice(0, 4), slice(4, 10))])
    for name in ("distance", "numerator", "ratio", "left", "rounds"):
        assert torch.allclose(getattr(parts, name), getattr(whole, name), rtol=0, atol=0, equal_nan=True)


def test_trail_has_the_pair_after_every_round() -> None:
    g = torch.Generator().manual_seed(3)
    x, y = torch.rand(2, 4, 3, generator=g)
    found = halve(wiggly, x, y, norm="l2", stop=Stop(epsilon=EPSILON))
    rounds = int(found.rounds[2])
    points, ends = trail(x[2], y[2], found.left[:rounds, 2])
    assert points.shape == (rounds + 2, 3)
    for r, (i, j) in enumerate(ends.tolist()):
        at_x, at_y = replay(x[2:3], y[2:3], found.left[:, 2:3], torch.tensor([r]))
        assert torch.equal(points[i], at_x[0])
        assert torch.equal(points[j], at_y[0])


def test_retraced_pair_costs_one_float64_forward_a_round() -> None:
    evidence = evidence_for(gelu_mlp(20, 30, 5), (20,))
    found = halve(evidence.probe, *all_pairs(evidence), norm="l2", stop=Stop(epsilon=EPSILON))
    evidence.probe.meter.forwards = 0
    trace = retrace(evidence, Reference(evidence), evidence.pairs, found, pair=3, limit=64, must=2)
    assert evidence.probe.meter.forwards == int(found.rounds[3]) + 2
    assert trace.k_raw == found.ratio[: int(found.rounds[3]) + 1, 3].tolist()
    assert torch.allclose(trace.certified.distance, torch.tensor(trace.distance, dtype=torch.float64), rtol=1e-5)
    short = retrace(evidence, Reference(evidence), evidence.pairs, found, pair=3, limit=4, must=5)
    assert 5 in short.entries
    shown = short.to_json()
    assert len(shown["d"]) == len(trace.distance)
    assert shown["k_ref"][5] == pytest.approx(trace.to_json()["k_ref"][5], rel=1e-12)
    assert shown["k_ref"].count(None) == len(trace.distance) - len(short.entries)


def test_published_trace_shows_its_own_rounding() -> None:
    numbers = [float(v) for v in PUBLISHED.split()]
    d, k = numbers[::2], numbers[1::2]
    signs = trace_signs(d, k)
    assert signs.monotonicity_violations == 1
    assert signs.halving_defects == 9
    # log(0.12332452 / 0.00518637) / log(0.00260982 / 3.635556e-05)
    assert signs.local_exponent == pytest.approx(3.1688 / 4.2737, abs=1e-3)
    plateau = trace_signs(d[:16], k[:16])
    assert (plateau.monotonicity_violations, plateau.halving_defects) == (0, 0)
    assert plateau.local_exponent == pytest.approx(0, abs=0.01)


def test_signs_of_traces_without_a_slope() -> None:
    assert trace_signs([1.0], [2.0]).local_exponent is None
    assert trace_signs([1.0, 0.5], [0.0, 0.0]).local_exponent is None
    assert trace_signs([1.0, 0.5, 0.25], [1.0, 2.0, 4.0]).local_exponent == pytest.approx(1)


def test_spread_keeps_ends_and_what_it_must() -> None:
    assert spread(5, 8) == [0, 1, 2, 3, 4]
    chosen = spread(40, 8, [17])
    assert {0, 17, 39} <= set(chosen)
    assert len(chosen) <= 8


def test_differing_coordinates_and_batch_dependence() -> None:
    assert differing_coordinates(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.5, 4.0])) == 2
    points = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    assert batch_dependence(lambda v: v**2, points) == 0.0
    assert batch_dependence(lambda v: v - v.mean(0), points) > 0.1
