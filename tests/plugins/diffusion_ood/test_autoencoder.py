# SPDX-License-Identifier: Apache-2.0
"""The autoencoder and its two detectors: PCA, Mahalanobis distance, determinism."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from lipbench_basics.datasets.digits import Digits
from lipbench_diffusion_ood.detectors.autoencoder import AeMahalanobis, AeMse
from lipbench_diffusion_ood.models.autoencoder import Autoencoder
from lipbench_diffusion_ood.models.vae import Vae

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, NotApplicable, NotFinite, Split

CTX = Context(scope="test", seed=0)


class Field4(Dataset):
    """Gaussian 4x4 images with known principal components, in a raw range of [-2, 4]."""

    def spec(self) -> DataSpec:
        return DataSpec(shape=(1, 4, 4), low=-2.0, high=4.0)

    def load(self, split: str, ctx: Context) -> Split:
        rng = np.random.default_rng(1)
        basis = np.linalg.qr(rng.standard_normal((16, 16)))[0]
        deviations = np.concatenate([[1.0, 0.8, 0.6], np.full(13, 0.1)])
        rows = 1.0 + (rng.standard_normal((400, 16)) * deviations) @ basis
        return Split(inputs=rows.astype(np.float32).reshape(-1, 1, 4, 4))


def unit(rows: np.ndarray) -> torch.Tensor:
    """The 4x4 images in [0, 1]."""
    return torch.from_numpy((rows + 2) / 6)


def digits(split: str = "train") -> torch.Tensor:
    return torch.from_numpy(Digits(image=True).split(split, CTX).inputs)


@pytest.fixture(scope="module")
def trained() -> Autoencoder:
    model, data = Autoencoder(steps=200), Digits(image=True)
    model.build(data.spec(), CTX)
    model.fit(data, CTX)
    return model


def linear(**params: object) -> Autoencoder:
    model = Autoencoder(linear=True, latent=3, **params)  # type: ignore[arg-type]
    model.build(Field4().spec(), CTX)
    return model


def pca(x: torch.Tensor, k: int) -> tuple[dict[str, torch.Tensor], float]:
    """State of the linear autoencoder that projects on k principal components, and the discarded variance a pixel."""
    rows = x.double().flatten(1)
    mean = rows.mean(0)
    values, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    kept = vectors[:, len(values) - k :]
    state = {
        "encoder.1.weight": kept.T,
        "encoder.1.bias": -mean @ kept,
        "decoder.0.weight": kept,
        "decoder.0.bias": mean,
    }
    return {name: tensor.float() for name, tensor in state.items()}, float(values[: len(values) - k].sum()) / rows.shape[1]


def test_linear_autoencoder_with_planted_components_is_pca() -> None:
    x = unit(Field4().split("train", CTX).inputs)
    model = linear()
    state, discarded = pca(x, 3)
    model.load_state(state)
    scores = AeMse().score(x, model, {}, {}, CTX).scores
    assert scores.dtype == torch.float64
    assert float(scores.mean()) == pytest.approx(discarded, rel=1e-5)


def test_least_error_of_a_linear_autoencoder_is_that_of_pca() -> None:
    # Adam lingers at the saddles between the components, so a second-order method looks for the least error of the model.
    x = unit(Field4().split("train", CTX).inputs)
    model = linear(steps=0)
    parameters = list(model.module.requires_grad_(True).parameters())
    search = torch.optim.LBFGS(parameters, max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        error = 1000 * (model.decode(model.encode(x)) - x).square().mean()
        error.backward()
        return error.detach()

    search.step(loss)
    error = float(AeMse().score(x, model, {}, {}, CTX).scores.mean())
    assert error == pytest.approx(pca(x, 3)[1], rel=1e-3)


def test_fitted_linear_autoencoder_comes_nearer_to_pca_but_not_below() -> None:
    data = Field4()
    x = unit(data.split("train", CTX).inputs)
    few, more = linear(steps=50, lr=1e-2), linear(steps=300, lr=1e-2)
    for model in (few, more):
        model.fit(data, CTX)
    after_few, after_more = (float(AeMse().score(x, model, {}, {}, CTX).scores.mean()) for model in (few, more))
    assert pca(x, 3)[1] < after_more < 0.6 * pca(x, 0)[1]
    assert after_more < after_few


@pytest.mark.parametrize("side", [8, 16, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(side: int, channels: int) -> None:
    model = Autoencoder()
    model.build(DataSpec(shape=(channels, side, side), low=0.0, high=255.0), CTX)
    x = torch.rand(2, channels, side, side, generator=CTX.generator())
    code = model.encode(x)
    assert code.shape == (2, {8: 12, 16: 24}.get(side, 64))
    assert model.decode(code).shape == x.shape
    maps = [tuple(f.shape) for f in model.features(x)]
    assert all(b[2] == (a[2] + 1) // 2 for a, b in pairwise(maps))
    assert maps[-1][2:] == (4, 4)
    assert [m[1] for m in maps] == [32, 64, 128][: len(maps)]


def test_mse_detector_tells_noise_from_digits(trained: Autoencoder) -> None:
    inside = AeMse().score(digits("test"), trained, {}, {}, CTX).scores
    noise = torch.rand(100, 1, 8, 8, generator=CTX.generator("noise"))
    outside = AeMse().score(noise, trained, {}, {}, CTX).scores
    assert float(inside.max()) < float(outside.min())


def test_mahalanobis_detector_tells_noise_from_digits(trained: Autoencoder) -> None:
    detector = AeMahalanobis()
    moments = detector.calibrate(digits(), trained, CTX)
    own = detector.score(digits(), trained, moments, {}, CTX).scores
    assert float(own.mean()) == pytest.approx(0, abs=1e-9)
    inside = detector.score(digits("test"), trained, moments, {}, CTX).scores
    noise = torch.rand(100, 1, 8, 8, generator=CTX.generator("noise"))
    outside = detector.score(noise, trained, moments, {}, CTX).scores
    assert float(inside.quantile(0.95)) < float(outside.min())


def test_mean_squared_mahalanobis_distance_is_the_length_of_the_code(trained: Autoencoder) -> None:
    detector, x = AeMahalanobis(covariance="mle"), digits()
    moments = detector.calibrate(x, trained, CTX)
    squares = detector.score(x, trained, moments, {}, CTX).extras["mahalanobis"].square()
    assert float(squares.mean()) == pytest.approx(12, rel=1e-9)
    assert float(squares.max()) <= len(x) - 1


def test_mahalanobis_distance_does_not_change_under_an_affine_map_of_the_code() -> None:
    x = unit(Field4().split("train", CTX).inputs)
    model, mixed = linear(), linear()
    state, _ = pca(x, 3)
    model.load_state(state)
    mix = torch.tensor([[2.0, 0.5, 0.0], [0.0, 1.0, -0.5], [0.3, 0.0, 3.0]])
    changed = {"encoder.1.weight": mix @ state["encoder.1.weight"], "encoder.1.bias": mix @ state["encoder.1.bias"] + 1}
    mixed.load_state({**state, **changed})
    detector = AeMahalanobis(covariance="mle")
    a, b = (detector.score(x, m, detector.calibrate(x, m, CTX), {}, CTX).extras["mahalanobis"] for m in (model, mixed))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_score_does_not_depend_on_the_neighbours(trained: Autoencoder) -> None:
    x = digits("test")[:40]
    detector = AeMahalanobis()
    moments = detector.calibrate(digits(), trained, CTX)
    for d, c in ((AeMse(), {}), (detector, moments)):
        scores = d.score(x, trained, c, {}, CTX).scores
        torch.testing.assert_close(d.score(x[7:8], trained, c, {}, CTX).scores, scores[7:8], rtol=1e-4, atol=1e-6)


def test_fit_gives_the_same_bits_again_and_its_state_is_all_it_learned() -> None:
    data = Digits(image=True)
    models = [Autoencoder(steps=15) for _ in range(3)]
    heard: list[str] = []
    for model in models:
        model.build(data.spec(), CTX)
    for model in models[:2]:
        torch.rand(3)  # the global generator must not matter
        model.fit(data, Context(scope="test", seed=0, report=heard.append))
    first, second = (m.state() for m in models[:2])
    assert all(torch.equal(first[k], second[k]) for k in first)
    models[2].load_state(first)
    x = digits("test")[:9]
    assert torch.equal(models[2].decode(models[2].encode(x)), models[0].decode(models[0].encode(x)))
    assert heard[0].startswith("step 15/15, loss ")
    other = Autoencoder(steps=0)
    other.build(data.spec(), Context(scope="test", seed=1))
    assert not torch.equal(other.state()["encoder.0.weight"], models[0].state()["encoder.0.weight"])


def test_errors_are_one_sentence(trained: Autoencoder) -> None:
    x = digits("test")[:3]
    with pytest.raises(InvalidInput, match=r"^ae_mse reads a fitted Autoencoder, but got Vae; write use: autoencoder$"):
        AeMse().score(x, Vae(), {}, {}, CTX)
    with pytest.raises(InvalidInput, match="but got no backbone"):
        AeMahalanobis().calibrate(x, None, CTX)
    with pytest.raises(InvalidInput, match=r"the images have shape \(1, 4, 4\)"):
        AeMse().score(x[:, :, :4, :4], trained, {}, {}, CTX)
    with pytest.raises(InvalidInput, match="singular; write covariance: ledoit_wolf"):
        AeMahalanobis(covariance="mle").calibrate(x, trained, CTX)
    with pytest.raises(InvalidInput, match="square images"):
        Autoencoder().build(DataSpec(shape=(64,), low=0.0, high=1.0), CTX)
    with pytest.raises(InvalidInput, match="8x8 pixels or more"):
        Autoencoder().build(DataSpec(shape=(1, 6, 6), low=0.0, high=1.0), CTX)
    with pytest.raises(NotApplicable, match="linear: false"):
        linear().features(x)
    with pytest.raises(NotFinite, match="smaller lr:"):
        linear(steps=200, lr=1e30).fit(Field4(), CTX)
