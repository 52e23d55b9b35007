# SPDX-License-Identifier: Apache-2.0
"""ConvNet, ResNet and ViT: widths of the embeddings, training on few digits, and the same numbers in every mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lipbench_basics.datasets.digits import Digits
from lipbench_basics.datasets.noise import UniformNoise
from lipbench_basics.networks.classifier import Classifier
from lipbench_basics.networks.convnet import ConvNet
from lipbench_basics.networks.resnet import ResNet
from lipbench_basics.networks.vit import ViT
from torch import nn

from lipbench.api import Context, DataSpec, InvalidInput

CTX = Context(scope="test")
FEW = Digits(image=True, test_fraction=0.6677)
MNIST = DataSpec(shape=(1, 28, 28), low=0, high=255, unit=255, classes=10)


def cnn48(**changes: Any) -> ConvNet:
    return ConvNet(**changes)


def flatconv512(**changes: Any) -> ConvNet:
    return ConvNet(channels=(16, 32), strides=(1, 2), reduce="flatten", **changes)


def mnist_cnn(**changes: Any) -> ConvNet:
    return ConvNet(channels=(32, 64), strides=(1, 1), padding=False, max_pool=2, reduce="flatten", dense=(128,), **changes)


POOL: dict[str, tuple[Callable[..., Classifier], int]] = {
    "cnn48": (cnn48, 48),
    "flatconv512": (flatconv512, 512),
    "mnist_cnn": (mnist_cnn, 128),
    "res32": (ResNet, 32),
    "vit32": (ViT, 32),
}


def built(network: Classifier, spec: DataSpec | None = None, ctx: Context = CTX) -> Classifier:
    network.build(spec or FEW.spec(), ctx)
    return network


def images(rows: int, spec: DataSpec | None = None) -> torch.Tensor:
    return torch.rand(rows, *(spec or FEW.spec()).shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", POOL)
@pytest.mark.parametrize("spec", [FEW.spec(), MNIST, DataSpec(shape=(3, 12, 8), low=-1, high=1, classes=3)], ids=str)
def test_embedding_and_head_make_the_network(name: str, spec: DataSpec) -> None:
    make, width = POOL[name]
    network = built(make(), spec)
    x = images(5, spec)
    with torch.inference_mode():
        embedding = network.at("embedding")(x)
        assert torch.equal(network.head()(embedding), network.module(x))
    assert embedding.ndim == 2
    if name != "flatconv512":
        assert embedding.shape == (5, width)
    assert network.module(x).shape == (5, spec.classes)


def test_the_flattened_map_is_as_wide_as_it_should_be() -> None:
    assert built(flatconv512()).at("embedding")(images(2)).shape == (2, 32 * 4 * 4)
    assert built(flatconv512(), MNIST).at("embedding")(images(2, MNIST)).shape == (2, 32 * 14 * 14)


def test_the_mnist_network_is_the_usual_one() -> None:
    layers = list(built(mnist_cnn(), MNIST).module.children())[1:]
    assert [type(layer) for layer in layers] == [
        nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Linear, nn.ReLU, nn.Linear,
    ]  # fmt: skip
    weights = [tuple(layer.weight.shape) for layer in layers if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert weights == [(32, 1, 3, 3), (64, 32, 3, 3), (128, 64 * 12 * 12), (10, 128)]


@pytest.mark.parametrize(
    ("name", "epochs"), [("cnn48", 30), ("flatconv512", 10), ("mnist_cnn", 8), ("res32", 8), ("vit32", 30)]
)
def test_digits_are_learned_from_few_rows(name: str, epochs: int) -> None:
    logged: list[str] = []
    network = built(POOL[name][0](epochs=epochs))
    network.fit(FEW, Context(scope="test", log=logged.append))
    assert not any(module.training for module in network.module.modules())
    part = FEW.split("test", CTX)
    assert part.inputs.shape == (1200, 1, 8, 8)
    with torch.inference_mode():
        right = network.module(torch.from_numpy(part.inputs)).argmax(1).numpy() == part.targets
    assert np.mean(right) > 0.9
    assert f"{np.mean(right):.4f} on test" in logged[0]


@pytest.mark.parametrize("name", POOL)
def test_training_is_the_same_bits_and_can_be_stored(name: str) -> None:
    make = POOL[name][0]
    runs = [built(make(epochs=1)) for _ in range(2)]
    for run in runs:
        run.fit(FEW, CTX)
    states = [run.state() for run in runs]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    stored = built(make(epochs=1), ctx=Context(scope="elsewhere", seed=3))
    x = images(7)
    assert not torch.equal(stored.module(x), runs[0].module(x))
    stored.load_state(states[0])
    assert torch.equal(stored.module(x), runs[0].module(x))


@pytest.mark.parametrize("name", POOL)
def test_embeddings_are_the_same_with_and_without_gradients_and_neighbours(name: str) -> None:
    network = built(POOL[name][0](epochs=1))
    network.fit(FEW, CTX)
    embed = network.at("embedding")
    x = images(6)
    with torch.inference_mode():
        plain, alone = embed(x), torch.cat([embed(row) for row in x.split(1)])
    probe = x.clone().requires_grad_()
    tracked = embed(probe)
    assert torch.equal(tracked.detach(), plain)
    torch.testing.assert_close(alone, plain, rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(network.module(probe).logsumexp(1).sum(), probe)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().amax(1) > 0).all()


def test_statistics_of_the_batch_are_part_of_the_state() -> None:
    network = built(ResNet(blocks=1, epochs=1))
    fresh = {key: value.clone() for key, value in network.state().items()}
    network.fit(FEW, CTX)
    means = [key for key in fresh if key.endswith("running_mean")]
    assert len(means) == 3
    assert all(not torch.equal(network.state()[key], fresh[key]) for key in means)
    assert "2.running_mean" in built(ConvNet(batch_norm=True)).state()


def test_the_residual_blocks_add_their_input() -> None:
    network = built(ResNet(width=4, blocks=3, stride=1))
    with torch.no_grad():
        for key, tensor in network.module.state_dict().items():
            if ".body.4." in key and key.endswith(("weight", "bias")):
                tensor.zero_()
    stem = list(network.module.children())[:4]
    x = images(2)
    torch.testing.assert_close(network.at("embedding")(x), nn.Sequential(*stem)(x).mean((2, 3)))


def test_attention_is_that_of_torch() -> None:
    network = built(ViT(width=8, heads=2, layers=1, hidden=5))
    block = list(network.module.children())[2]
    state = block.state_dict()
    layer = nn.TransformerEncoderLayer(8, 2, 5, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    names = {
        "attention.0": "norm1",
        "attention.1.outwards": "self_attn.out_proj",
        "feedforward.0": "norm2",
        "feedforward.1": "linear1",
        "feedforward.3": "linear2",
    }
    renamed = {f"{new}.{part}": state[f"{old}.{part}"] for old, new in names.items() for part in ("weight", "bias")}
    renamed |= {f"self_attn.in_proj_{part}": state[f"attention.1.inwards.{part}"] for part in ("weight", "bias")}
    layer.load_state_dict(renamed)
    tokens = torch.randn(3, 16, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block(tokens), layer(tokens), rtol=1e-5, atol=1e-6)


def test_patches_keep_their_places() -> None:
    network = built(ViT(width=4, heads=1))
    patches = list(network.module.children())[1]
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, 2:4, 6:8] = 1
    moved = (patches(x) - patches(torch.zeros_like(x))).abs().sum(2)[0]
    assert moved.nonzero().flatten().tolist() == [4 * 1 + 3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvNet(channels=(4, 4)), r"2 channels: need as many strides:, there are 3"),
        (lambda: built(ConvNet(channels=(1, 1), strides=(3, 3), padding=False)), "nothing is left of 8x8 pixels"),
        (lambda: built(ConvNet(max_pool=5)), "nothing is left of 8x8 pixels"),
        (lambda: built(ConvNet(), Digits().spec()), r"convnet needs images .* the data has shape \(64,\)"),
        (lambda: built(ResNet(), Digits().spec()), r"resnet needs images .* the data has shape \(64,\)"),
        (lambda: built(ViT(), Digits().spec()), r"vit needs images .* the data has shape \(64,\)"),
        (lambda: built(ViT(patch=3)), "8x8 pixels are not tiled by patch: 3"),
        (lambda: ViT(width=30), "heads: 4 do not divide width: 30"),
        (lambda: built(ResNet(), UniformNoise(shape=(1, 4, 4)).spec()), "no classes, so write outputs:"),
    ],
)
def test_what_cannot_be_built_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        make()


@pytest.mark.parametrize("name", POOL)
def test_random_networks_follow_the_seed_alone(name: str) -> None:
    make = POOL[name][0]
    before = torch.get_rng_state()
    first, again, other = (built(make(), ctx=Context(scope="test", seed=seed)).state() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
