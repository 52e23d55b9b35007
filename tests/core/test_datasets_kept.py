# SPDX-License-Identifier: Apache-2.0
"""A dataset loads a small split once, and gives everybody a copy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Split
from lipbench.contract import components

CTX = Context(scope="test")


class Counted(Dataset):
    def __init__(self, rows: int = 3) -> None:
        self.rows, self.loads = rows, list[tuple[str, int]]()

    def spec(self) -> DataSpec:
        return DataSpec(shape=(2,), low=0.0, high=1.0)

    def load(self, split: str, ctx: Context) -> Split:
        self.loads.append((split, ctx.seed))
        return Split(inputs=ctx.rng().random((self.rows, 2), dtype=np.float32), targets=np.arange(self.rows))


def test_a_split_is_loaded_once_for_each_name_and_seed() -> None:
    data = Counted()
    for _ in range(2):
        for name in ("train", "test"):
            for seed in (0, 1):
                data.split(name, replace(CTX, seed=seed, scope="another"))
    assert sorted(data.loads) == [("test", 0), ("test", 1), ("train", 0), ("train", 1)]


def test_what_one_reader_writes_no_other_reads() -> None:
    data = Counted()
    first, expected = data.split("train", CTX), Counted().split("train", CTX)
    first.inputs[:] = 7
    assert first.targets is not None
    first.targets[:] = 7
    again = data.split("train", CTX)
    assert np.array_equal(again.inputs, expected.inputs)
    assert again.targets is not None
    assert again.targets.tolist() == [0, 1, 2]
    assert again.ids is None


def test_a_large_split_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "KEPT_BYTES", 3 * 2 * 4 - 1)
    data = Counted()
    one, two = data.split("train", CTX), data.split("train", CTX)
    assert len(data.loads) == 2
    assert np.array_equal(one.inputs, two.inputs)


def test_a_bad_split_stays_bad() -> None:
    data = Counted(rows=0)
    for _ in range(2):
        with pytest.raises(InvalidInput, match="there are no rows"):
            data.split("train", CTX)
