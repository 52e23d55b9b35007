# SPDX-License-Identifier: Apache-2.0
"""The five networks for 32x32 pixels: sizes, embeddings, the training recipe, weights from files."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_basics.networks.cifar.blocks import Drop, wide
from lipbench_basics.networks.cifar.network import CifarNetwork
from lipbench_basics.networks.cifar.training import MARGIN, Recipe, augmented, shifted, train
from safetensors.torch import save_file
from torch import Tensor, nn

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, NotFinite, Split

CTX = Context(scope="test", seed=0)
SPEC = DataSpec(shape=(3, 32, 32), low=0, high=255, unit=255, classes=10)
WIDTHS = {"efficientnet_b0": 320, "resnet18": 512, "vgg19": 512, "mobilenet_v2": 1280, "googlenet": 1024}
NAMES = list(WIDTHS)
TINY: dict[str, Any] = {"width": 0.125, "epochs": 2, "batch_size": 32}


class Tinted(Dataset):
    """64 noisy images whose colour tells the class; the test split is the same size."""

    def __init__(self, *, targets: bool = True, beyond: int = 0) -> None:
        self.targets, self.beyond = targets, beyond

    def spec(self) -> DataSpec:
        return DataSpec(shape=(3, 32, 32), low=0, high=255, unit=255, classes=4)

    def load(self, split: str, ctx: Context) -> Split:
        rng = ctx.rng()
        labels = np.arange(64) % 4
        tint = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [150, 150, 40]])[labels]
        inputs = np.clip(tint[:, :, None, None] + rng.normal(0, 30, (64, 3, 32, 32)), 0, 255).astype(np.float32)
        return Split(inputs=inputs, targets=labels + self.beyond if self.targets else None)


def built(spec: DataSpec = SPEC, ctx: Context = CTX, **params: Any) -> CifarNetwork:
    network = CifarNetwork(**params)
    network.build(spec, ctx)
    return network


def images(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 255


def copied(state: Any) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def same(one: dict[str, Tensor], other: Any) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# Parameters by arithmetic on the tables of the papers.


def conv(before: int, after: int, size: int, groups: int = 1, bias: bool = False) -> int:
    """A convolution and the two vectors of its normalisation."""
    return before // groups * after * size**2 + 2 * after + bias * after


def count_resnet18() -> int:
    total, before = conv(3, 64, 3), 64
    for after in (64, 128, 256, 512):
        projected = conv(before, after, 1) if after != before else 0
        total += conv(before, after, 3) + conv(after, after, 3) + projected + 2 * conv(after, after, 3)
        before = after
    return total


def count_vgg19() -> int:
    channels = [3, *[64] * 2, *[128] * 2, *[256] * 4, *[512] * 8]
    return sum(conv(a, b, 3, bias=True) for a, b in itertools.pairwise(channels))


def count_googlenet() -> int:
    rows = """64 96 128 16 32 32; 128 128 192 32 96 64; 192 96 208 16 48 64; 160 112 224 24 64 64; 128 128 256 24 64 64;
        112 144 288 32 64 64; 256 160 320 32 128 128; 256 160 320 32 128 128; 384 192 384 48 128 128"""
    total, before = conv(3, 192, 3, bias=True), 192
    for row in rows.split(";"):
        a, b, c, d, e, f = map(int, row.split())
        parts = [(before, a, 1), (before, b, 1), (b, c, 3), (before, d, 1), (d, e, 3), (e, e, 3), (before, f, 1)]
        total += sum(conv(i, o, size, bias=True) for i, o, size in parts)
        before = a + c + e + f
    return total


def count_mobilenet_v2() -> int:
    total, before = conv(3, 32, 3) + conv(320, 1280, 1), 32
    rows = "1 16 1 1; 6 24 2 1; 6 32 3 2; 6 64 4 2; 6 96 3 1; 6 160 3 2; 6 320 1 1"
    for t, after, blocks, stride in (map(int, row.split()) for row in rows.split(";")):
        for i in range(blocks):
            inner = t * before
            total += conv(before, inner, 1) + conv(inner, inner, 3, inner) + conv(inner, after, 1)
            total += conv(before, after, 1) if i == 0 and stride == 1 else 0
            before = after
    return total


def count_efficientnet_b0() -> int:
    total, before = conv(3, 32, 3), 32
    rows = "1 16 1 3; 6 24 2 3; 6 40 2 5; 6 80 3 3; 6 112 3 5; 6 192 4 5; 6 320 1 3"
    for t, after, blocks, size in (map(int, row.split()) for row in rows.split(";")):
        for _ in range(blocks):
            inner, squeezed = t * before, before // 4
            total += conv(before, inner, 1) if t > 1 else 0
            total += conv(inner, inner, size, inner) + 2 * inner * squeezed + inner + squeezed + conv(inner, after, 1)
            before = after
    return total


# The common public adaptation of EfficientNet-B0 has 1,088 more: an expansion in the first block that is never used.
COUNTS = {
    "efficientnet_b0": (count_efficientnet_b0(), 3_599_686 - (32 * 32 + 2 * 32)),
    "resnet18": (count_resnet18(), 11_173_962),
    "vgg19": (count_vgg19(), 20_040_522),
    "mobilenet_v2": (count_mobilenet_v2(), 2_296_922),
    "googlenet": (count_googlenet(), 6_166_250),
}


@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_those_of_the_papers_adaptations(name: str) -> None:
    network, x = built(name=name), images(2)
    by_hand, published = COUNTS[name]
    assert sum(p.numel() for p in network.module.parameters()) == published == by_hand + 10 * (WIDTHS[name] + 1)
    with torch.inference_mode():
        embedding = network.at("embedding")(x)
        outputs = network.module(x)
        assert embedding.shape == (2, WIDTHS[name])
        assert torch.equal(network.head()(embedding), outputs)
        assert torch.equal(network.module(x), outputs), "nothing is drawn in eval mode"
    assert outputs.shape == (2, 10)
    assert torch.isfinite(outputs).all()


@pytest.mark.parametrize("name", NAMES)
def test_rows_do_not_see_each_other_and_gradients_reach_the_pixels(name: str) -> None:
    network, x = built(name=name, width=0.25), images(5).requires_grad_()
    outputs = network.module(x)
    for i in range(5):
        torch.testing.assert_close(network.module(x[i : i + 1])[0], outputs[i], rtol=1e-4, atol=1e-5)
    outputs[2, 0].backward()
    assert x.grad is not None
    assert x.grad[2].abs().max() > 0
    assert x.grad[[0, 1, 3, 4]].abs().max() == 0


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss(name: str) -> None:
    reported: list[str] = []
    logged: list[str] = []
    data = Tinted()
    epochs, width = (2, 0.0625) if name == "googlenet" else (4, 0.125)  # the one that costs most learns fastest
    network = built(data.spec(), name=name, **TINY | {"epochs": epochs, "lr": 0.03, "batch_size": 16, "width": width})
    network.fit(data, Context(scope="test", report=reported.append, log=logged.append))
    losses = [float(line.rpartition(" ")[2]) for line in reported]
    assert len(losses) == epochs
    assert losses[-1] < 0.9 * losses[0]
    assert "on train" in logged[0]
    assert "on test" in logged[0]
    assert not network.module.training


@pytest.mark.parametrize("name", ["efficientnet_b0", "vgg19"])
def test_training_is_the_same_bits_whatever_the_global_generator(name: str) -> None:
    data, states = Tinted(), []
    for seed in (0, 0, 1):
        before = torch.get_rng_state()
        network = built(data.spec(), Context(scope="test"), name=name, **TINY | {"epochs": 1})
        network.fit(data, Context(scope="test", seed=seed))
        assert torch.equal(torch.get_rng_state(), before)
        states.append(copied(network.state()))
        torch.rand(3)
    assert same(states[0], states[1])
    assert not same(states[0], states[2])
    stored = built(data.spec(), Context(scope="elsewhere"), name=name, **TINY)
    stored.load_state(states[0])
    assert same(states[0], stored.state())


def test_augmentation_can_be_switched_off() -> None:
    heads = []
    for augment in (True, False):
        network = built(Tinted().spec(), name="vgg19", augment=augment, **TINY | {"epochs": 1})
        network.fit(Tinted(), CTX)
        heads.append(network.state()["head.weight"])
    assert not torch.equal(*heads)


def test_no_epochs_keep_the_weights_of_the_seed() -> None:
    data = Tinted(targets=False)
    network = built(data.spec(), name="vgg19", width=0.125, epochs=0)
    before = copied(network.state())
    network.fit(data, CTX)
    assert same(before, network.state())
    assert same(before, built(data.spec(), name="vgg19", width=0.125).state())
    other = built(data.spec(), Context(scope="test", seed=1), name="vgg19", width=0.125)
    assert not torch.equal(before["head.weight"], other.state()["head.weight"])


def test_wrong_labels_and_a_diverging_loss_are_reported() -> None:
    with pytest.raises(InvalidInput, match="has none; write epochs: 0"):
        built(Tinted().spec(), **TINY).fit(Tinted(targets=False), CTX)
    with pytest.raises(InvalidInput, match="has 4 outputs, but train has label 4"):
        built(Tinted().spec(), **TINY).fit(Tinted(beyond=1), CTX)
    with pytest.raises(NotFinite, match="smaller lr: than 1e"):
        built(Tinted().spec(), **TINY | {"lr": 1e30}).fit(Tinted(), CTX)


@pytest.mark.parametrize("shape", [(3072,), (3, 28, 28), (3, 64, 31)])
def test_data_that_are_no_images_or_too_small_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"at least 32x32 pixels, the data has shape \("):
        built(DataSpec(shape=shape, low=0, high=1, classes=2))


def test_larger_grey_images_work_too_and_outputs_can_be_chosen() -> None:
    spec = DataSpec(shape=(1, 40, 48), low=0, high=1)
    for name in NAMES:
        network = built(spec, name=name, width=0.125, outputs=3)
        assert network.module(torch.rand(2, 1, 40, 48)).shape == (2, 3)
        assert network.at("embedding")(torch.rand(2, 1, 40, 48)).shape == (2, WIDTHS[name] // 8)
    with pytest.raises(InvalidInput, match="no classes, so write outputs:"):
        built(spec)


def test_width_multiplies_and_never_leaves_nothing() -> None:
    assert [wide(64, 1.0), wide(24, 0.125), wide(3, 0.01), wide(10, 0.25)] == [64, 3, 1, 3]


# The recipe.


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 4),
    channels=st.integers(1, 3),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    fill=st.sampled_from([0.0, -1.5]),
    seed=st.integers(0, 2**31),
)
def test_crops_are_those_of_a_slow_loop(batch: int, channels: int, height: int, width: int, fill: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, channels, height, width)).astype(np.float32)
    top, left = rng.integers(0, 2 * MARGIN + 1, size=(2, batch))
    mirror = rng.integers(0, 2, size=batch).astype(bool)
    slow = np.full_like(x, fill)
    for b in range(batch):
        for i in range(height):
            for j in range(width):
                row = top[b] + i - MARGIN
                column = left[b] + (width - 1 - j if mirror[b] else j) - MARGIN
                if 0 <= row < height and 0 <= column < width:
                    slow[b, :, i, j] = x[b, :, row, column]
    found = shifted(*(torch.from_numpy(a) for a in (x, top, left, mirror)), fill=fill)
    assert np.array_equal(found.numpy(), slow)


def test_augmentation_keeps_shape_and_range_and_draws_every_move_equally_often() -> None:
    count, side = 4000, 9
    x = torch.full((count, 1, side, side), 2.0)
    x[:, 0, 4, 3] = 3.0  # one bright pixel, off the middle, tells the move
    found = augmented(x, 1.0, CTX.generator())
    assert found.shape == x.shape
    assert set(found.unique().tolist()) == {1.0, 2.0, 3.0}
    assert torch.equal(found, augmented(x, 1.0, CTX.generator()))
    rows, columns = (found[:, 0] == 3).nonzero()[:, 1:].T
    # Rows are 4 + (-4 ... 4); columns 3 + (-4 ... 4), mirrored 5 + (-4 ... 4), of which one each lies outside.
    frequency = torch.bincount(rows, minlength=9) / len(rows)
    assert (frequency - 1 / 9).abs().max() < 5 * (1 / 9 / count) ** 0.5
    assert len(rows) == pytest.approx(count * 8 / 9, abs=5 * (count * 8 / 81) ** 0.5)
    ends = torch.bincount(columns, minlength=9)
    # Column 0 is reached by one of the 18 moves, an unmirrored one; column 8 by a mirrored one.
    for column in (0, 8):
        assert int(ends[column]) == pytest.approx(count / 18, abs=5 * (count / 18) ** 0.5)


def test_steps_are_momentum_decay_and_cosine() -> None:
    x, y = torch.randn(12, 1, 2, 2, generator=CTX.generator("x")), torch.arange(12) % 3
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False))
    weight = torch.randn(3, 4, generator=CTX.generator("w"))
    module[1].weight.data.copy_(weight)
    recipe = Recipe(epochs=3, lr=0.5, batch_size=12, weight_decay=0.1, augment=False)
    train(module, x, y, recipe=recipe, fill=0.0, ctx=CTX)
    flat, velocity, one_hot = x.flatten(1).double(), torch.zeros(3, 4).double(), nn.functional.one_hot(y).double()
    weight = weight.double()
    for lr in (0.5, 0.375, 0.125):  # (1 + cos(pi k / 3)) / 4
        gradient = ((flat @ weight.T).softmax(1) - one_hot).T @ flat / 12 + 0.1 * weight
        velocity = 0.9 * velocity + gradient
        weight = weight - lr * velocity
    torch.testing.assert_close(module[1].weight.detach().double(), weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [True, False])
def test_drop_keeps_the_mean_in_training_and_does_nothing_in_eval_mode(rows: bool) -> None:
    drop, x = Drop(0.2, rows=rows), torch.ones(2000, 5, 2, 2)
    drop.generator = CTX.generator()
    found = drop(x)
    assert set(found.unique().tolist()) == {0.0, 1.25}
    assert found.mean() == pytest.approx(1, abs=5 * (0.25 / (2000 if rows else 40000)) ** 0.5)
    assert bool((found.flatten(1).std(dim=1) == 0).all()) is rows
    assert drop.eval()(x) is x


# Weights from a file.


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return copied(built(ctx=Context(scope="elsewhere"), name="resnet18", width=0.125).state())


def saved(state: Any, path: Path) -> str:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_weights_of_a_file_are_used_and_not_trained(state: dict[str, Tensor], tmp_path: Path, suffix: str) -> None:
    path = saved(state, tmp_path / f"pool{suffix}")
    network = built(name="resnet18", width=0.125, weights=path)
    assert network.files() == [Path(path)]
    assert same(state, network.state())
    network.fit(Tinted(targets=False), CTX)
    assert same(state, network.state())
    assert not network.module.training
    assert CifarNetwork().files() == []


def test_the_change_of_units_follows_the_data_and_not_the_file(state: dict[str, Tensor], tmp_path: Path) -> None:
    body = {name: tensor for name, tensor in state.items() if not name.startswith("scale.")}
    unit, eight_bit = DataSpec(shape=(3, 32, 32), low=0, high=1, classes=10), SPEC
    found = []
    for spec, tensors in ((unit, state), (unit, body), (eight_bit, body)):
        module = built(spec, width=0.125, weights=saved(tensors, tmp_path / "pool.safetensors")).module
        with torch.inference_mode():
            found.append(module(images(3) / 255 * spec.high))
    assert torch.equal(found[0], found[1])
    torch.testing.assert_close(found[0], found[2], rtol=1e-4, atol=1e-5)


def without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if k != name}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: without(s, "head.bias"), r"1 tensors are missing, such as \['head.bias'\], 0 are unknown"),
        (lambda s: s | {"extra": torch.ones(1)}, r"0 tensors are missing, such as \[\], 1 are unknown, such as \['extra'\]"),
        (lambda s: s | {"head.bias": torch.ones(7)}, r"head.bias has shape \(7,\), the network needs \(10,\)"),
        (lambda s: s | {"head.bias": torch.full((10,), torch.nan)}, "head.bias holds values that are not finite"),
        (lambda s: {"net": s, "epoch": 3}, "must hold a mapping from names to tensors"),
        (lambda s: list(s.values()), "must hold a mapping from names to tensors"),
        (lambda s: nn.Linear(2, 2), "damaged or holds more than tensors"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused(state: dict[str, Tensor], tmp_path: Path, change: Any, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as caught:
        built(width=0.125, weights=saved(change(state), tmp_path / "pool.pth"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("kept", [0, 10, 1000])
def test_damaged_files_are_refused(state: dict[str, Tensor], tmp_path: Path, suffix: str, kept: int) -> None:
    path = tmp_path / f"pool{suffix}"
    path.write_bytes(Path(saved(state, path)).read_bytes()[:kept])
    with pytest.raises(InvalidInput, match="damaged or holds more than tensors") as caught:
        built(width=0.125, weights=str(path))
    assert "\n" not in str(caught.value)


def test_missing_files_and_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no file"):
        built(weights=str(tmp_path / "none.pth"))
    with pytest.raises(InvalidInput, match="no file"):
        CifarNetwork(weights=str(tmp_path / "none.pth")).files()
    (tmp_path / "pool.bin").write_bytes(b"x")
    with pytest.raises(InvalidInput, match=r"ends in '\.bin'; write a \.safetensors"):
        built(weights=str(tmp_path / "pool.bin"))
