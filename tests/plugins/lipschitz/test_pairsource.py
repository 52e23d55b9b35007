# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_lipschitz.pairsource import GivenPairs, NoisePairs, Pairs, block_size, box_ends, stored
from lipbench_lipschitz.task import Lipschitz
from searched_networks import CTX
from torch import nn

from lipbench.api import Context, Dataset, DataSpec, Network, Split

Source = Literal["rows", "blends", "noise"]
SOURCES: tuple[Source, ...] = ("rows", "blends", "noise")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Rows(Dataset):
    """30 inputs of a given shape and range."""

    licence = "drawn, no licence needed"

    def __init__(self, shape: tuple[int, ...] = (3, 8, 8), low: float = 0.0, high: float = 255.0) -> None:
        self.shape, self.low, self.high = shape, low, high

    def spec(self) -> DataSpec:
        return DataSpec(shape=self.shape, low=self.low, high=self.high)

    def load(self, split: str, ctx: Context) -> Split:
        drawn = np.random.default_rng(0).uniform(self.low, self.high, (30, *self.shape)).astype(np.float32)
        return Split(inputs=drawn.clip(np.float32(self.low), np.float32(self.high)))


class Plain(Network):
    """Inputs as they are."""

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        return nn.Flatten()


def pairs_of(source: Source, data: Dataset | None = None, *, ctx: Context = CTX, **options: Any) -> Pairs:
    data, network = data or Rows(), Plain()
    network.build(data.spec(), ctx)
    return Lipschitz(**({"pairs": source, "count": 200} | options)).evidence(network, data, ctx).pairs


def everything(pairs: Pairs) -> tuple[torch.Tensor, torch.Tensor]:
    return pairs.first(len(pairs))


@settings(max_examples=30, deadline=None)
@given(source=st.sampled_from(SOURCES), index=st.lists(st.integers(0, 199), max_size=12))
def test_a_pair_does_not_depend_on_what_else_is_taken(source: Source, index: list[int]) -> None:
    pairs = pairs_of(source)
    whole, some = everything(pairs), pairs.take(torch.tensor(index, dtype=torch.int64))
    for end, part in zip(whole, some, strict=True):
        assert torch.equal(part, end[index])


@pytest.mark.parametrize("source", SOURCES)
def test_pairs_follow_the_seed_and_are_all_different(source: Source) -> None:
    x, y = everything(pairs_of(source))
    again, other = everything(pairs_of(source)), everything(pairs_of(source, ctx=Context(scope="test", seed=1)))
    assert torch.equal(x, again[0])
    assert torch.equal(y, again[1])
    assert not torch.equal(x, other[0])
    assert x.shape == y.shape == (200, 3, 8, 8)
    assert bool((x != y).flatten(1).any(1).all())
    assert len(torch.cat([x.flatten(1), y.flatten(1)], 1).unique(dim=0)) > 150


def test_more_pairs_begin_with_the_same() -> None:
    few, many = everything(pairs_of("noise")), everything(pairs_of("noise", count=500))
    assert torch.equal(few[0], many[0][:200])


def test_rows_and_blends_are_made_of_rows() -> None:
    data = Rows(shape=(4,))
    rows = torch.from_numpy(data.split("test", CTX).inputs)
    for end in everything(pairs_of("rows", data)):
        assert bool((end[:, None] == rows).all(2).any(1).all())
    for end in everything(pairs_of("blends", data)):
        assert not bool((end[:, None] == rows).all(2).any())
        assert bool((end <= rows.amax(0)).all())
        assert bool((end >= rows.amin(0)).all())


def test_noise_is_whole_numbers_where_the_range_is_that_of_8_bit_images() -> None:
    x, y = everything(pairs_of("noise", count=2000))
    both = torch.cat([x, y])
    assert torch.equal(both, both.round())
    assert (float(both.min()), float(both.max())) == (0, 255)
    counts = torch.bincount(both.long().flatten(), minlength=256).double()
    expected = both.numel() / 256
    assert float(((counts - expected) ** 2 / expected).sum()) < 350  # chi-squared with 255 degrees of freedom
    # Uniform integers: (256^2 - 1) / 6 a coordinate.
    squared = float((x - y).flatten(1).square().sum(1).mean())
    assert squared == pytest.approx(192 * (256**2 - 1) / 6, rel=0.01)
    x, _ = everything(pairs_of("noise", Rows(low=-1.0, high=3.0), count=2000))
    assert not torch.equal(x, x.round())
    assert float(x.mean()) == pytest.approx(1, abs=0.02)
    assert float(x.var()) == pytest.approx(16 / 12, rel=0.02)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("source", SOURCES)
def test_pairs_are_stored_inside_the_box(source: Source, dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    for low, high in ((0.1, 0.7), (-0.3, 0.0), (0.0, 255.0)):
        x, y = everything(pairs_of(source, Rows(shape=(50,), low=low, high=high), dtype=name))
        assert x.dtype == y.dtype == dtype
        assert low <= float(torch.cat([x, y]).double().min())
        assert float(torch.cat([x, y]).double().max()) <= high


@settings(max_examples=100, deadline=None)
@given(dtype=st.sampled_from(DTYPES), low=st.floats(-1e3, 1e3), width=st.floats(1e-1, 1e3))
def test_ends_of_the_box_are_the_outermost_numbers_inside(dtype: torch.dtype, low: float, width: float) -> None:
    spec = DataSpec(shape=(1,), low=low, high=low + width * (1 + abs(low)))
    bottom, top = box_ends(spec, dtype)
    assert spec.low <= bottom <= top <= spec.high
    for end, outward, limit in ((bottom, -torch.inf, spec.low), (top, torch.inf, spec.high)):
        beyond = float(torch.nextafter(torch.tensor(end, dtype=dtype), torch.tensor(outward, dtype=dtype)))
        assert beyond < limit if outward < 0 else beyond > limit
    assert stored(torch.tensor([-1e9, 1e9]), spec, dtype).tolist() == [bottom, top]


def test_noise_is_drawn_in_blocks_of_bounded_size() -> None:
    asked: list[int] = []

    def generator(number: int) -> torch.Generator:
        asked.append(number)
        return torch.Generator().manual_seed(number)

    for shape in ((1,), (3, 32, 32), (3, 224, 224)):
        spec = DataSpec(shape=shape, low=0.0, high=255.0)
        pairs = NoisePairs(count=10**9, generator=generator, spec=spec, dtype=torch.float32)
        assert len(pairs) == 10**9
        size = block_size(spec)
        assert size == 1 or size * int(np.prod(shape)) <= 2**15
        asked.clear()
        pairs.take(torch.tensor([10**9 - 1, 0, 10**9 - 1]))
        assert asked == [0, (10**9 - 1) // size]


def test_given_pairs_are_rows_of_tensors() -> None:
    pairs = GivenPairs(x=torch.arange(6.0).reshape(3, 2), y=torch.zeros(3, 2))
    assert len(pairs) == 3
    assert pairs.take(torch.tensor([2]))[0].tolist() == [[4.0, 5.0]]
    assert len(pairs.first(2)[0]) == 2
    assert len(pairs.first(9)[0]) == 3
