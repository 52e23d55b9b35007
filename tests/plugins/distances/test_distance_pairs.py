# SPDX-License-Identifier: Apache-2.0
"""Pairs of distributions: what they share, and that samples come from what the moments say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from distance_cases import CTX, rng, source
from lipbench_distances.base import Pair
from lipbench_distances.distances.by_moments import GaussianW2
from lipbench_distances.features import LAYERS, Features, photograph
from lipbench_distances.moments import gram, moments
from lipbench_distances.pairs.gaussians import EqualGram, Marron, PointMasses, RandomGaussians
from lipbench_distances.pairs.moment_twins import SameMoments
from lipbench_distances.pairs.photographs import Photographs

COMMON = torch.tensor([[1, -0.5, 0], [-0.5, 1.25, -0.25], [0, -0.25, 1.25]], dtype=torch.float64)
PAIRS: list[Pair] = [Marron(), Marron(first="W", second="Z"), EqualGram(d=4, t=0.7), RandomGaussians(d=3), RandomGaussians(d=4, rank=2),
                     PointMasses(d=2), SameMoments()]  # fmt: skip


def test_the_source_pairs_share_their_gram_matrices() -> None:
    torch.testing.assert_close(source("X").gram, COMMON, rtol=0, atol=1e-15)
    torch.testing.assert_close(source("Y").gram, COMMON, rtol=0, atol=1e-15)
    for name in "WZ":
        torch.testing.assert_close(source(name).gram, torch.ones(3, 3, dtype=torch.float64), rtol=0, atol=1e-15)
    assert bool((source("Y").draw(100, rng())[:, 0] == 1).all()), "the first feature of Y is constant"


@pytest.mark.parametrize("t", [0.0, 0.5, 1.0])
def test_pairs_of_equal_gram_matrix_are_apart_as_far_as_t_says(t: float) -> None:
    for seed in range(20):
        p, q = EqualGram(d=5, t=t).pick(rng(seed))
        torch.testing.assert_close(p.gram, q.gram, rtol=0, atol=1e-14)
        assert float(torch.linalg.eigvalsh(q.cov)[0]) > -1e-14
        w2 = GaussianW2().population(p, q)
        assert w2 == pytest.approx(0, abs=1e-6) if t == 0 else w2 > 0.05


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: f"{type(p).__name__}")
def test_samples_have_the_moments_of_their_distribution(pair: Pair) -> None:
    n = 20_000
    for p in pair.pick(rng()):
        x = p.draw(n, rng(1))
        mean, cov = moments(x)
        scale = p.size
        assert x.dtype == torch.float64
        torch.testing.assert_close(mean, p.mean, rtol=0, atol=6 * scale / n**0.5)
        torch.testing.assert_close(cov, p.cov, rtol=0, atol=12 * scale**2 / n**0.5)
        torch.testing.assert_close(gram(x), p.gram, rtol=0, atol=12 * scale**2 / n**0.5)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: f"{type(p).__name__}")
def test_one_seed_gives_one_pair(pair: Pair) -> None:
    (p, q), (p2, q2) = pair.pick(rng(5)), pair.pick(rng(5))
    for a, b in ((p, p2), (q, q2)):
        assert bool((a.mean == b.mean).all() & (a.cov == b.cov).all())
        assert bool((a.draw(7, rng(1)) == b.draw(7, rng(1))).all())
    other, _ = pair.pick(rng(6))
    fixed = isinstance(pair, (Marron, SameMoments))
    assert fixed == bool((other.mean == p.mean).all() & (other.cov == p.cov).all())


def test_signs_are_signs() -> None:
    signs, normal = SameMoments(d=2).pick(rng())
    assert set(np.unique(signs.draw(50, rng()))) == {-1.0, 1.0}
    assert (signs.gaussian, normal.gaussian) == (False, True)


def test_features_of_photographs_are_rows_of_a_layer() -> None:
    pair = Photographs(layer=3, size=32)
    assert [path.name for path in pair.files()] == ["china.jpg", "flower.jpg"]
    p, _ = pair.pick(rng())
    rows = Features([3], 32, CTX)(photograph("china", 32))[0]
    assert rows.shape == (16 * 16, 96)
    assert 0 <= float(rows.min()) <= float(rows.max()) <= 6
    mean, cov = moments(rows)
    torch.testing.assert_close(p.mean, mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(p.cov, cov, rtol=1e-4, atol=1e-5)
    drawn = p.draw(20, rng())
    assert bool((torch.cdist(drawn, rows).min(1).values < 1e-4).all())


def test_layers_are_what_the_network_computes_on_its_way() -> None:
    image = photograph("flower", 32)
    several, last = Features([1, 3, LAYERS], 32, CTX)(image), Features([LAYERS], 32, CTX)(image)
    assert [r.shape[1] for r in several] == [32, 96, 240]
    torch.testing.assert_close(several[2], last[0])
