# SPDX-License-Identifier: Apache-2.0
"""Digits, moons, noise: shapes, ranges, and which seeds they depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lipbench_basics.datasets.digits import Digits
from lipbench_basics.datasets.files import divide
from lipbench_basics.datasets.moons import TwoMoons
from lipbench_basics.datasets.noise import UniformNoise

from lipbench.api import Context, Dataset, InvalidInput

CTX = Context(scope="test", seed=0)
OTHER = Context(scope="test", seed=1)
DRAWN = [
    TwoMoons(count=50, noise=0.3),
    UniformNoise(shape=(2, 3), count=40),
    UniformNoise(shape=(4,), low=-1.5, high=0.25, integers=False, count=40),
]


@pytest.mark.parametrize("data", [Digits(), Digits(image=True), *DRAWN], ids=lambda d: type(d).__name__)
def test_a_split_keeps_to_its_spec(data: Dataset) -> None:
    spec, part = data.spec(), data.split("train", CTX)
    assert part.inputs.dtype == np.float32
    assert spec.low <= part.inputs.min() < part.inputs.max() <= spec.high
    if spec.classes is None:
        assert part.targets is None
    else:
        assert part.targets is not None
        assert part.targets.dtype == np.int64
        assert set(part.targets) == set(range(spec.classes))
    with pytest.raises(InvalidInput, match="no split 'validation'"):
        data.split("validation", CTX)


@pytest.mark.parametrize("data", DRAWN, ids=lambda d: type(d).__name__)
def test_draws_follow_the_seed(data: Dataset) -> None:
    first = data.split("train", CTX).inputs
    assert np.array_equal(first, data.split("train", CTX).inputs)
    assert not np.array_equal(first, data.split("train", OTHER).inputs)
    assert not np.array_equal(first, data.split("test", CTX).inputs)


def test_digits_split_is_fixed_stratified_and_disjoint() -> None:
    train, test = Digits().split("train", CTX), Digits().split("test", CTX)
    assert (len(train.inputs), len(test.inputs)) == (1437, 360)
    assert np.array_equal(test.inputs, Digits().split("test", OTHER).inputs)
    assert test.targets is not None
    assert np.bincount(test.targets).min() >= 34
    rows = {row.tobytes() for row in train.inputs}
    assert sum(row.tobytes() in rows for row in test.inputs) == 0


def test_digits_files_exist() -> None:
    assert [path.is_file() for path in Digits().files()] == [True]


def test_integer_noise_reaches_both_ends_and_has_the_unit_of_images() -> None:
    data = UniformNoise(shape=(64, 64), count=2)
    values = data.split("test", CTX).inputs
    assert set(np.unique(values)) == set(range(256))
    assert data.spec().unit == 255
    assert UniformNoise(low=0, high=1).spec().unit == 1


def test_noise_refuses_an_empty_or_fractional_range() -> None:
    with pytest.raises(InvalidInput, match="must be below"):
        UniformNoise(low=3, high=3)
    with pytest.raises(InvalidInput, match="integers: false"):
        UniformNoise(low=0, high=0.5)


def test_noisy_moons_stay_in_their_box() -> None:
    part = TwoMoons(count=500, noise=3.0).split("train", CTX)
    assert part.inputs.min() == -2
    assert part.inputs.max() == 3


@given(rows=st.integers(2, 300), share=st.floats(0.001, 0.999))
def test_divide_is_a_partition_without_empty_parts(rows: int, share: float) -> None:
    train, test = divide(rows, "train", share), divide(rows, "test", share)
    assert sorted([*train, *test]) == list(range(rows))
    assert min(len(train), len(test)) >= 1


def test_divide_needs_two_rows() -> None:
    with pytest.raises(InvalidInput, match="1 rows cannot be divided"):
        divide(1, "train", 0.5)
