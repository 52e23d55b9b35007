# SPDX-License-Identifier: Apache-2.0
"""The generative adversarial network and AnoGAN, against the distance to an affine subspace."""

from __future__ import annotations

import pytest
import torch
from lipbench_basics.datasets.digits import Digits
from lipbench_diffusion_ood.detectors.anogan import AnoGan
from lipbench_diffusion_ood.models.autoencoder import Autoencoder
from lipbench_diffusion_ood.models.gan import Gan
from torch import Tensor

from lipbench.api import Context, DataSpec, InvalidInput, NotFinite

CTX = Context(scope="test", seed=0)


def digits(split: str = "train") -> Tensor:
    return torch.from_numpy(Digits(image=True).split(split, CTX).inputs)


class LinearGan(Gan):
    """G(z) = W z + 0.5."""

    def __init__(self) -> None:
        super().__init__(latent=3, steps=0)
        self.W = torch.randn(64, 3, generator=CTX.generator("linear")) / 8

    def generate(self, z: Tensor) -> Tensor:
        return (z @ self.W.T + 0.5).unflatten(1, (1, 8, 8))


@pytest.fixture(scope="module")
def trained() -> Gan:
    model, data = Gan(steps=200), Digits(image=True)
    model.build(data.spec(), CTX)
    model.fit(data, CTX)
    return model


def test_squared_loss_of_a_linear_generator_is_the_distance_to_its_range() -> None:
    gan, x = LinearGan(), torch.rand(20, 1, 8, 8, generator=CTX.generator("images"))
    gan.build(DataSpec(shape=(1, 8, 8), low=0.0, high=1.0), CTX)
    rows = x.flatten(1).double() - 0.5
    basis = torch.linalg.qr(gan.W.double())[0]
    expected = (rows - rows @ basis @ basis.T).square().sum(1)
    found = AnoGan(weight=0, residual="squared", steps=400, lr=0.2).score(x, gan, {}, {}, CTX)
    torch.testing.assert_close(found.scores, expected, rtol=1e-5, atol=1e-5)
    assert found.extras["starts"].shape == (3, 20)
    torch.testing.assert_close(found.extras["starts"], expected.expand(3, 20), rtol=1e-4, atol=1e-4)


def test_without_steps_the_score_is_the_published_loss_at_the_best_start(trained: Gan) -> None:
    x = digits("test")[:1]
    # With steps: 0 every start stays where the prior put it, however many there are.
    few, many = (AnoGan(steps=0, restarts=k).score(x, trained, {}, {}, CTX) for k in (2, 5))
    torch.testing.assert_close(few.extras["starts"], many.extras["starts"][:2], rtol=1e-5, atol=1e-5)
    assert torch.equal(many.scores, many.extras["starts"].amin(0))
    whole, pixels, features = (
        AnoGan(steps=0, restarts=2, weight=w).score(x, trained, {}, {}, CTX).extras["starts"] for w in (0.1, 0, 1)
    )
    torch.testing.assert_close(whole, 0.9 * pixels + 0.1 * features, rtol=1e-5, atol=1e-5)


def test_score_tells_noise_from_digits(trained: Gan) -> None:
    noise = torch.rand(30, 1, 8, 8, generator=CTX.generator("noise"))
    detector = AnoGan(steps=40, restarts=2)
    inside = detector.score(digits("test")[:30], trained, {}, {}, CTX)
    outside = detector.score(noise, trained, {}, {}, CTX)
    assert float((inside.scores[:, None] < outside.scores).double().mean()) > 0.95
    assert inside.evaluations == 2 * 41


def test_generated_images_are_near_the_digits(trained: Gan) -> None:
    z = torch.randn(200, trained.dimension, generator=CTX.generator("z"))
    made, real = trained.generate(z), digits()
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1
    assert float((made.mean(0) - real.mean(0)).abs().mean()) < 0.15


def test_score_does_not_depend_on_the_neighbours(trained: Gan) -> None:
    x, detector = digits("test")[:6], AnoGan(steps=10, restarts=2)
    scores = detector.score(x, trained, {}, {}, CTX).scores
    torch.testing.assert_close(detector.score(x[3:4], trained, {}, {}, CTX).scores, scores[3:4], rtol=1e-3, atol=1e-3)
    assert torch.equal(detector.score(x, trained, {}, {}, CTX).scores, scores)
    other = detector.score(x, trained, {}, {}, Context(scope="test", seed=1)).scores
    assert not torch.equal(other, scores)


def test_fit_gives_the_same_bits_again_and_its_state_is_all_it_learned() -> None:
    data = Digits(image=True)
    models = [Gan(steps=10) for _ in range(3)]
    heard: list[str] = []
    for model in models:
        model.build(data.spec(), CTX)
    for model in models[:2]:
        torch.rand(3)  # the global generator must not matter
        model.fit(data, Context(scope="test", seed=0, report=heard.append))
    first, second = (m.state() for m in models[:2])
    assert all(torch.equal(first[k], second[k]) for k in first)
    models[2].load_state(first)
    x, detector = digits("test")[:3], AnoGan(steps=3)
    a, b = (detector.score(x, m, {}, {}, CTX).scores for m in (models[0], models[2]))
    assert torch.equal(a, b)
    assert heard[0].startswith("step 10/10, discriminator's loss ")


@pytest.mark.parametrize("side", [8, 16, 28, 32])
def test_shapes(side: int) -> None:
    gan = Gan()
    gan.build(DataSpec(shape=(3, side, side), low=0.0, high=255.0), CTX)
    made = gan.generate(torch.zeros(2, gan.dimension))
    assert made.shape == (2, 3, side, side)
    assert gan.features(made)[-1].shape[2:] == (2, 2)


def test_errors_are_one_sentence() -> None:
    x, data = digits("test")[:3], Digits(image=True)
    with pytest.raises(InvalidInput, match=r"^anogan reads a fitted Gan, but got Autoencoder; write use: gan$"):
        AnoGan().score(x, Autoencoder(), {}, {}, CTX)
    gan = Gan(steps=100, lr=1e30)
    gan.build(data.spec(), CTX)
    with pytest.raises(NotFinite, match="smaller lr:"):
        gan.fit(data, CTX)
