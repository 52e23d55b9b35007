# SPDX-License-Identifier: Apache-2.0
"""The datasets that come with lipbench keep the contract; those that read files of their own have tests with such files."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lipbench.testing import check_dataset

DATASETS = [
    ("circle_annulus", {}),
    ("circles", {}),
    ("digits", {}),
    ("digits_pair", {}),
    ("gaussfield", {}),
    ("glyphs", {"size": 8, "train": 64, "test": 32}),
    ("natural_images", {}),
    ("quadratic", {}),
    ("ood_tiny", {"train": 64, "test": 32}),
    ("texture_patches", {}),
    ("two_moons", {}),
    ("uniform_noise", {"count": 16}),
]


@pytest.mark.parametrize(("name", "params"), DATASETS)
def test_dataset(name: str, params: Mapping[str, int]) -> None:
    check_dataset(name, params=params)
