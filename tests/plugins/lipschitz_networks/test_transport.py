# SPDX-License-Identifier: Apache-2.0
"""Exact distances of known samples, the floor of the hinge, the data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lip_cases import context
from lipbench_basics.datasets.moons import TwoMoons
from lipbench_lipschitz_networks.datasets import Circles, DigitsPair, MnistPair, ToySquares
from lipbench_lipschitz_networks.losses import kr, signs
from lipbench_lipschitz_networks.task import LipschitzNetwork
from lipbench_lipschitz_networks.transport import hinge_floor, wasserstein1
from scipy.stats import wasserstein_distance

from lipbench.api import Dataset, InvalidInput


def _facts(data: Dataset) -> list[float]:
    return LipschitzNetwork().transported(data, context())["facts"].tolist()


@pytest.mark.parametrize(("size", "side"), [(64, 35), (32, 17), (28, 15), (16, 8), (8, 4)])
@pytest.mark.parametrize("mode", ["binary", "ternary"])
def test_the_distance_of_the_squares_is_their_side_by_l2_and_not_by_l1(size: int, side: int, mode: str) -> None:
    w1, by_l1, gap, closest = _facts(ToySquares(size=size, mode=mode, count=8))
    assert w1 == closest == pytest.approx(side)
    assert by_l1 == pytest.approx(side**2)
    assert gap == pytest.approx(0 if mode == "ternary" else side)


def test_a_function_made_by_hand_reaches_the_distance() -> None:
    data = ToySquares(size=64, count=8)
    part = data.split("train", context())
    x = torch.from_numpy(part.inputs).flatten(1).double()
    u = x[-1] / x[-1].norm()
    hidden = torch.sort((x @ torch.stack([u, -u]).mT) / math.sqrt(2), dim=1).values
    f = hidden @ torch.tensor([-1.0, 1.0], dtype=torch.float64) / math.sqrt(2)
    assert torch.allclose(f, (x @ u).abs())
    assert -float(kr(f, signs(torch.from_numpy(part.targets)))) == pytest.approx(35, abs=1e-12)


def test_assignment_agrees_with_scipy_on_a_line() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(40, 1)), rng.normal(1, 2, size=(40, 1))
    assert wasserstein1(a, b) == pytest.approx(wasserstein_distance(a[:, 0], b[:, 0]))


def test_the_gap_of_the_means_is_a_lower_bound() -> None:
    for data in (TwoMoons(count=100), Circles(count=100)):
        w1, by_l1, gap, closest = _facts(data)
        assert gap <= w1 <= by_l1 <= math.sqrt(2) * w1 + 1e-9
        assert closest <= w1


def test_no_function_has_less_hinge_than_the_floor() -> None:
    # Two points at distance d: f = +-d/2 is best, each a shortfall of m - d/2.
    assert hinge_floor(np.zeros((1, 1)), np.array([[0.4]]), 0.3) == pytest.approx(0.1)
    assert hinge_floor(np.zeros((1, 1)), np.array([[0.7]]), 0.3) == 0


def test_noiseless_moons_are_too_close_for_the_margin_of_the_source() -> None:
    closest = _facts(TwoMoons(count=2000, noise=0))[3]
    assert closest == pytest.approx(0.5, abs=0.01)
    assert closest < 2 * 0.29


def test_w1_is_between_as_many_rows_of_each_class() -> None:
    data = DigitsPair()
    part = data.split("train", context())
    rows = LipschitzNetwork(rows=20).transported(data, context())["rows"]
    assert rows.shape == (2, 20)
    assert np.array_equal(part.targets[rows.numpy()], np.repeat([[0], [1]], 20, axis=1))


def test_data_without_two_classes_have_no_distance() -> None:
    from lipbench_basics.datasets.digits import Digits
    from lipbench_basics.datasets.noise import UniformNoise

    for data in (Digits(), UniformNoise(shape=(2,), low=0, high=1, integers=False)):
        assert LipschitzNetwork().transported(data, context())["rows"].shape == (2, 0)


def test_pairs_are_two_digits_in_the_unit_interval() -> None:
    from sklearn.datasets import load_digits

    y = load_digits(return_X_y=True)[1]
    for pair in ((0, 8), (3, 5)):
        parts = [DigitsPair(first=pair[0], second=pair[1]).split(name, context()) for name in ("train", "test")]
        for label, digit in enumerate(pair):
            assert sum(int((part.targets == label).sum()) for part in parts) == int((y == digit).sum())
        assert all(part.inputs.min() >= 0 and part.inputs.max() == 1 for part in parts)


def test_a_pair_of_the_same_digit_and_missing_files_are_refused(tmp_path: object) -> None:
    with pytest.raises(InvalidInput, match="two different digits"):
        DigitsPair(first=3, second=3)
    with pytest.raises(InvalidInput, match="no file train-images"):
        MnistPair(root=str(tmp_path)).files()


def test_a_square_without_pixels_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no square"):
        ToySquares(size=2, frac=0.1)
