# SPDX-License-Identifier: Apache-2.0
"""The models that come with lipbench keep the contract, at sizes that take a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from lipbench_basics.datasets.digits import Digits
from lipbench_basics.datasets.noise import UniformNoise

from lipbench.api import Dataset
from lipbench.testing import check_model

FLAT = Digits()
IMAGES = Digits(image=True, test_fraction=0.9)
PLANE = UniformNoise(shape=[2], low=-1, high=1, integers=False, count=8)
NOISE = {"use": "uniform_noise", "shape": [1, 14, 14], "low": -1, "high": 1, "integers": False, "count": 8}
LINE = UniformNoise(shape=[1], low=-1, high=1, integers=False, count=8)


MODELS: list[tuple[str, Dataset | str | Mapping[str, Any], Mapping[str, Any]]] = [
    ("mlp", FLAT, {"hidden": [8], "epochs": 1}),
    ("linear", FLAT, {}),
    ("lipschitz_mlp", FLAT, {}),
    ("fp_staircase", FLAT, {}),
    ("no_backbone", FLAT, {}),
    ("random_relu", PLANE, {}),
    ("scalar1d", LINE, {}),
    ("cnn", IMAGES, {"epochs": 1}),
    ("vit", IMAGES, {"epochs": 1}),
    ("autoencoder", IMAGES, {"steps": 3}),
    ("diffusion_unet", IMAGES, {"steps": 3}),
    ("gan", IMAGES, {"steps": 3}),
    ("gaussian_exact", IMAGES, {}),
    ("random_features", IMAGES, {}),
    ("self_supervised", IMAGES, {"steps": 3}),
    ("vae", IMAGES, {"steps": 3}),
    ("lip_layer", NOISE, {"of": "dense"}),
]


@pytest.mark.parametrize(("name", "data", "params"), MODELS)
def test_model(name: str, data: Dataset | str | Mapping[str, Any], params: Mapping[str, Any]) -> None:
    check_model(name, data=data, params=params)
