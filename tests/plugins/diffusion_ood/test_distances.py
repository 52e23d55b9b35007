# SPDX-License-Identifier: Apache-2.0
"""Distances of images: oracles of SSIM and of the formula of LPIPS, invariances, gradients, weights from files."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from detector_toys import CTX, SIDE, Pictures, random_images, toy_denoiser
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_diffusion_ood.base import Backbone
from lipbench_diffusion_ood.distances import pairs
from lipbench_diffusion_ood.distances.alexnet import WIDTHS, AlexNetFeatures, Lpips, read_heads
from lipbench_diffusion_ood.distances.pairs import MeanSquared, PairDistance
from lipbench_diffusion_ood.distances.perceptual import (
    PerceptualAutoencoder,
    PerceptualDenoiser,
    PerceptualRandom,
    PerceptualSelfSupervised,
    perceptual_distance,
)
from lipbench_diffusion_ood.distances.ssim import StructuralDissimilarity, structural_similarity
from lipbench_diffusion_ood.models.autoencoder import Autoencoder
from lipbench_diffusion_ood.models.features import RandomFeatures, SelfSupervised, symmetry
from safetensors.torch import save_file

from lipbench.api import Context, DataSpec, InvalidInput, NotFinite

SPEC = DataSpec(shape=(1, SIDE, SIDE), low=0.0, high=1.0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Made weights of AlexNet's shapes, with a classifier that is not read, and made heads."""
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = {name: tensor.clone() for name, tensor in AlexNetFeatures().state_dict().items()}
    draw = torch.Generator().manual_seed(1)
    heads = {f"lin{k}.model.1.weight": torch.rand(1, w, 1, 1, generator=draw) for k, w in enumerate(WIDTHS)}
    torch.save(state | {"classifier.1.weight": torch.zeros(2, 2)}, folder / "alexnet.pth")
    save_file(state, folder / "alexnet.safetensors")
    torch.save(heads, folder / "alex.pth")
    save_file(heads, folder / "alex.safetensors")
    return {name: str(folder / name) for name in ("alexnet.pth", "alexnet.safetensors", "alex.pth", "alex.safetensors")}


def cases(weights: dict[str, str]) -> list[tuple[PairDistance, Backbone | None]]:
    ssl, ae = SelfSupervised(steps=0), Autoencoder(steps=0)
    for model in (ssl, ae):
        model.build(SPEC, CTX)
    return [
        (MeanSquared(), None),
        (StructuralDissimilarity(), None),
        (PerceptualDenoiser(), toy_denoiser()),
        (PerceptualAutoencoder(), ae),
        (PerceptualSelfSupervised(), ssl),
        (PerceptualRandom(), None),
        (Lpips(trunk=weights["alexnet.pth"], heads=weights["alex.pth"]), None),
    ]


def test_zero_for_equal_images_symmetric_and_positive(weights: dict[str, str]) -> None:
    x, y = random_images(5, 1, SIDE, SIDE, seed=1), random_images(5, 1, SIDE, SIDE, seed=2)
    for distance, backbone in cases(weights):
        there, back = distance.between(x, y, backbone, CTX), distance.between(y, x, backbone, CTX)
        assert there.shape == (5,)
        assert there.dtype == torch.float64
        assert (there > 1e-3).all()
        torch.testing.assert_close(there, back, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(
            distance.between(x, x, backbone, CTX), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-7
        )


def test_larger_is_further(weights: dict[str, str]) -> None:
    x = random_images(20, 1, SIDE, SIDE, seed=1)
    step = 0.2 * (random_images(20, 1, SIDE, SIDE, seed=2) - 0.5)
    for distance, backbone in cases(weights):
        near, far = (distance.between(x, (x + k * step).clamp(0, 1), backbone, CTX) for k in (0.3, 3))
        assert (far > near).all(), type(distance).__name__


def test_many_attempts_are_the_pairs_one_by_one_in_any_block(weights: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    x, ys = random_images(6, 1, SIDE, SIDE, seed=1), random_images(3, 6, 1, SIDE, SIDE, seed=2)
    for distance, backbone in cases(weights):
        whole = distance.attempts(x, ys, backbone, CTX)
        single = torch.stack(
            [distance.between(x[i : i + 1], ys[k, i : i + 1], backbone, CTX) for k in range(3) for i in range(6)]
        )
        torch.testing.assert_close(whole, single.view(3, 6), rtol=1e-5, atol=1e-6)
        with monkeypatch.context() as small:
            small.setattr(pairs, "_BLOCK", 4 * SIDE * SIDE * 2)
            torch.testing.assert_close(distance.attempts(x, ys, backbone, CTX), whole, rtol=1e-5, atol=1e-6)
        assert torch.equal(whole, distance.attempts(x, ys, backbone, CTX))


def test_ssim_of_constants() -> None:
    flat = torch.ones(1, 1, SIDE, SIDE, dtype=torch.float64)
    for low, high, similarity in ((0.2, 0.8, 0.470666), (0.0, 1.0, 1e-4 / 1.0001), (0.4, 0.4, 1.0)):
        found = StructuralDissimilarity().between(low * flat, high * flat, None, CTX)
        assert float(found[0]) == pytest.approx(1 - similarity, abs=5e-7)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 6, 6), (1, 7, 9), (2, 3, 5)])
def test_ssim_is_that_of_scikit_image(shape: tuple[int, int, int]) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    x = random_images(4, *shape, seed=3).double()
    y = (x + 0.3 * random_images(4, *shape, seed=4)).clamp(0, 1)
    window = {6: 5, 3: 3}.get(shape[1], 7)
    expected = [
        metrics.structural_similarity(a, b, data_range=1, channel_axis=0, win_size=window)
        for a, b in zip(x.numpy(), y.numpy(), strict=True)
    ]
    found = StructuralDissimilarity().between(x, y, None, CTX)
    np.testing.assert_allclose(1 - found.numpy(), expected, rtol=0, atol=1e-7)


def test_gradients_are_finite_at_zero_features_and_equal_images() -> None:
    x = torch.zeros(2, 4, 3, 3, requires_grad=True)
    y = torch.rand(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    for other in (y, x.detach()):
        (gradient,) = torch.autograd.grad(perceptual_distance([x], [other]).sum(), x)
        assert bool(torch.isfinite(gradient).all())
    flat = torch.zeros(1, 1, SIDE, SIDE, requires_grad=True)
    (gradient,) = torch.autograd.grad(structural_similarity(flat, torch.ones_like(flat)).sum(), flat)
    assert bool(torch.isfinite(gradient).all())


@settings(deadline=None, max_examples=40)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 2**16))
def test_the_formula_does_not_see_the_scale_of_a_feature_map_and_is_bounded(scale: float, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    x, y = (torch.rand(3, 5, 2, 2, generator=draw, dtype=torch.float64) for _ in range(2))
    plain = perceptual_distance([x, y], [y, x])
    torch.testing.assert_close(perceptual_distance([scale * x, y], [y, x]), plain, rtol=1e-9, atol=1e-12)
    assert bool((plain >= 0).all())
    assert bool((plain <= 2).all())


def test_the_formula_by_hand() -> None:
    x = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    y = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)  # unit vectors (.6, .8) and (1, 0): squared difference .16 + .64
    assert float(perceptual_distance([x], [y])) == pytest.approx(0.8, rel=1e-6)
    assert float(perceptual_distance([x, x], [y, x])) == pytest.approx(0.4, rel=1e-6)
    heads = [torch.tensor([0.5, 2.0])] * 2
    assert float(perceptual_distance([x, x], [y, y], heads)) == pytest.approx(2 * (0.08 + 1.28), rel=1e-6)


def test_backbones_of_another_kind_are_refused() -> None:
    x, toy = random_images(2, 1, SIDE, SIDE), toy_denoiser()
    ssl = SelfSupervised(steps=0)
    ssl.build(SPEC, CTX)
    for distance, wrong, words in (
        (PerceptualDenoiser(), ssl, "reads a diffusion model, found SelfSupervised"),
        (PerceptualDenoiser(), None, "found none"),
        (PerceptualSelfSupervised(), toy, "reads the backbone self_supervised, found ToyDenoiser"),
        (PerceptualAutoencoder(), toy, "reads the backbone autoencoder, found ToyDenoiser"),
    ):
        with pytest.raises(InvalidInput, match=words):
            distance.between(x, x, wrong, CTX)


def test_shapes_and_values_are_checked() -> None:
    x = random_images(2, 1, SIDE, SIDE)
    with pytest.raises(InvalidInput, match="same shape"):
        MeanSquared().between(x, x[:1], None, CTX)
    with pytest.raises(NotFinite, match="NaN"):
        MeanSquared().between(x, x * torch.nan, None, CTX)


def test_random_features_hang_on_the_seed_and_nothing_else() -> None:
    x, y = random_images(3, 1, SIDE, SIDE, seed=1), random_images(3, 1, SIDE, SIDE, seed=2)
    found = [PerceptualRandom().between(x, y, None, Context(scope=s, seed=k)) for s, k in (("a", 0), ("b", 0), ("a", 1))]
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])
    nets = [RandomFeatures() for _ in range(2)]
    for net, scope in zip(nets, "ab", strict=True):
        net.build(SPEC, Context(scope=scope, seed=0))
    assert torch.equal(nets[0].embedding(x), nets[1].embedding(x))
    assert nets[0].embedding(x).shape == (3, 128)
    assert [tuple(f.shape[1:]) for f in nets[0].features(x)] == [(32, 8, 8), (64, 4, 4), (128, 2, 2)]


def test_rotations_are_learned_without_labels_and_kept() -> None:
    draw = torch.Generator().manual_seed(0)
    images = 0.2 * torch.rand(64, 1, SIDE, SIDE, generator=draw)
    images[:, :, 1, 1:6] += 0.7  # an L has no symmetry, so all eight can be told
    images[:, :, 1:4, 1] += 0.7
    data = Pictures(images.clamp(0, 1))
    nets = [SelfSupervised(steps=100, batch_size=64, lr=1e-2, channels=(8, 16)) for _ in range(2)]
    for net in nets:
        net.build(data.spec(), CTX)
        before = net.told(images)
        net.fit(data, CTX)
        assert before < 0.5
        assert net.told(images) > 0.9
    kept = SelfSupervised(steps=0, channels=(8, 16))
    kept.build(data.spec(), Context(scope="other", seed=5))
    kept.load_state(nets[0].state())
    for net in (nets[1], kept):
        assert torch.equal(net.embedding(images), nets[0].embedding(images))
    with pytest.raises(InvalidInput, match="square images"):
        SelfSupervised().build(DataSpec(shape=(1, 8, 6), low=0.0, high=1.0), CTX)


def test_the_eight_symmetries_differ() -> None:
    x = random_images(1, 1, 4, 4)
    found = {tuple(symmetry(x, k).flatten().tolist()) for k in range(8)}
    assert len(found) == 8


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 8)])
def test_lpips_by_an_independent_formula(weights: dict[str, str], ending: str, channels: int, side: int) -> None:
    distance = Lpips(trunk=weights[f"alexnet.{ending}"], heads=weights[f"alex.{ending}"])
    x, y = random_images(2, channels, side, side, seed=1), random_images(2, channels, side, side, seed=2)
    network, heads = distance.load()

    def activations(z: torch.Tensor) -> list[np.ndarray]:
        z = z.repeat(1, 3 // channels, 1, 1)
        if side < 31:
            z = torch.nn.functional.interpolate(z, size=(64, 64), mode="bicubic").clamp(0, 1)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))
        z, found = ((2 * z - 1) - mean) / std, []
        for layer in network.features:
            z = layer(z)
            if type(layer).__name__ == "ReLU":
                found.append(z.detach().double().numpy())
        return found

    expected = np.zeros(2)
    for a, b, head in zip(activations(x), activations(y), heads, strict=True):
        a, b = (v / (np.linalg.norm(v, axis=1, keepdims=True) + 1e-10) for v in (a, b))
        expected += ((a - b) ** 2 * head.double().numpy()[:, None, None]).sum(1).mean((1, 2))
    np.testing.assert_allclose(distance.between(x, y, None, CTX).numpy(), expected, rtol=1e-4)
    assert ("enlarged to 64" in Lpips.label(side)) == (side < 31)


def test_the_published_heads_bound_lpips_by_eight() -> None:
    shipped = importlib.util.find_spec("torchmetrics")  # the file alone is read, as importing the package takes seconds
    if shipped is None or shipped.origin is None:
        pytest.skip("the heads come with torchmetrics, which is not installed")
    heads = read_heads(Path(shipped.origin).parent / "functional" / "image" / "lpips_models" / "alex.pth")
    assert sum(2 * float(head.max()) for head in heads) == pytest.approx(8.05, abs=5e-3)


def test_lpips_without_its_weights_says_so(weights: dict[str, str], tmp_path: Path) -> None:
    x = random_images(1, 3, 32, 32)
    digest = hashlib.sha256(Path(weights["alexnet.pth"]).read_bytes()).hexdigest()
    right = Lpips(trunk=weights["alexnet.pth"], heads=weights["alex.pth"], sha256=digest[:8])
    assert [str(f) for f in right.files()] == [weights["alexnet.pth"], weights["alex.pth"]]
    assert float(right.between(x, x, None, CTX)) == pytest.approx(0, abs=1e-7)
    (tmp_path / "torn.pth").write_bytes(Path(weights["alexnet.pth"]).read_bytes()[:1000])
    save_file({"lin0.model.1.weight": torch.zeros(1, 3, 1, 1)}, tmp_path / "heads.safetensors")
    save_file({f"lin{k}.model.1.weight": -torch.ones(1, w, 1, 1) for k, w in enumerate(WIDTHS)}, tmp_path / "bad.safetensors")
    for settings_, words in (
        ({}, "no trunk and heads: weights were not supplied"),
        ({"trunk": weights["alexnet.pth"]}, "no heads: weights were not supplied"),
        ({"trunk": "absent.pth", "heads": weights["alex.pth"]}, "no file .*absent.pth"),
        ({"trunk": str(tmp_path / "torn.pth"), "heads": weights["alex.pth"]}, "truncated"),
        ({"trunk": weights["alex.pth"], "heads": weights["alex.pth"]}, "does not fit the network"),
        ({"trunk": weights["alexnet.pth"], "heads": str(tmp_path / "heads.safetensors")}, "lin0.model.1.weight has shape"),
        ({"trunk": weights["alexnet.pth"], "heads": weights["alexnet.pth"]}, "lin0.model.1.weight is missing"),
        ({"trunk": weights["alexnet.pth"], "heads": str(tmp_path / "bad.safetensors")}, "negative or not finite"),
        ({"trunk": weights["alexnet.pth"], "heads": weights["alex.pth"], "sha256": "0" * 64}, "SHA-256 of"),
    ):
        with pytest.raises(InvalidInput, match=words):
            Lpips(**settings_).between(x, x, None, CTX)
    with pytest.raises(InvalidInput, match="eight"):
        Lpips(sha256="xyz")
    with pytest.raises(InvalidInput, match="2 channels"):
        right.between(x[:, :2], x[:, :2], None, CTX)


def test_reading_lpips_leaves_random_numbers_alone(weights: dict[str, str]) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    Lpips(trunk=weights["alexnet.pth"], heads=weights["alex.pth"]).load()
    PerceptualRandom().between(*[random_images(1, 1, SIDE, SIDE)] * 2, None, CTX)
    assert torch.equal(torch.rand(3), expected)
