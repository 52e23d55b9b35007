# SPDX-License-Identifier: Apache-2.0
"""The variational autoencoder and likelihood regret, against probabilistic PCA."""

from __future__ import annotations

import math

import pytest
import torch
from lipbench_basics.datasets.digits import Digits
from lipbench_diffusion_ood.detectors.regret import LikelihoodRegret
from lipbench_diffusion_ood.models.autoencoder import Autoencoder
from lipbench_diffusion_ood.models.vae import Vae
from torch import Tensor

from lipbench.api import Context, DataSpec, InvalidInput

CTX = Context(scope="test", seed=0)
SD = 0.3
D, K = 16, 3
SHAPE = (1, 4, 4)


def digits(split: str = "train") -> Tensor:
    return torch.from_numpy(Digits(image=True).split(split, CTX).inputs)


def loadings(orthogonal: bool) -> Tensor:
    W = torch.randn(D, K, generator=CTX.generator("loadings"), dtype=torch.float64)
    return torch.linalg.qr(W)[0] * torch.tensor([0.9, 0.6, 0.4]) if orthogonal else 0.3 * W


def ppca(W: Tensor, A: Tensor, b: Tensor, logvar: Tensor) -> Vae:
    """x = W z + 0.5 + 0.3 noise with the encoder N(A x + b, diag exp(logvar)), in double precision."""
    vae = Vae(linear=True, latent=K)
    vae.build(DataSpec(shape=SHAPE, low=0.0, high=1.0), CTX)
    vae.module.double()
    vae.load_state(
        {
            "log_sd": torch.tensor(math.log(SD)),
            "encoder.1.weight": torch.cat([A, torch.zeros(K, D)]),
            "encoder.1.bias": torch.cat([b, logvar]),
            "decoder.0.weight": W,
            "decoder.0.bias": torch.full((D,), 0.5),
        }
    )
    # The scale of the noise was rounded to a float on its way in.
    vae.module.log_sd.fill_(math.log(SD))  # type: ignore[operator]
    return vae


def posterior(W: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Map A, offset b and covariance of the exact posterior N(A x + b, C)."""
    C = torch.linalg.inv(torch.eye(K, dtype=torch.float64) + W.T @ W / SD**2)
    A = C @ W.T / SD**2
    return A, -A.sum(1) * 0.5, C


def gaussian_kl(mean: Tensor, variances: Tensor, exact: Tensor, C: Tensor) -> Tensor:
    """KL(N(mean, diag variances) || N(exact, C)) of each row."""
    P = torch.linalg.inv(C)
    gap = mean - exact
    fixed = (P.diagonal() * variances).sum() - K - variances.log().sum() + torch.logdet(C)
    return 0.5 * (fixed + (gap @ P * gap).sum(1))


def fields(n: int = 12) -> Tensor:
    return torch.rand((n, *SHAPE), generator=CTX.generator("fields"), dtype=torch.float64)


def test_regret_of_ppca_is_the_divergence_from_the_exact_posterior() -> None:
    W, x = loadings(orthogonal=True), fields()
    A, b, C = posterior(W, x)
    shift, logvar = torch.tensor([0.5, -0.3, 0.2]), torch.tensor([-1.0, 0.3, -3.0], dtype=torch.float64)
    vae = ppca(W, 0.7 * A, b + shift, logvar)
    rows = x.flatten(1)
    expected = gaussian_kl(rows @ (0.7 * A).T + b + shift, logvar.exp(), rows @ A.T + b, C)
    found = LikelihoodRegret(steps=400).score(x, vae, {}, {}, CTX)
    torch.testing.assert_close(found.scores, expected, rtol=1e-4, atol=1e-5)
    assert found.evaluations == 1 + 401 * 32


def test_bound_of_ppca_at_the_exact_posterior_is_the_log_likelihood_and_its_regret_is_zero() -> None:
    W, x = loadings(orthogonal=True), fields()
    A, b, C = posterior(W, x)
    found = LikelihoodRegret(steps=60).score(x, ppca(W, A, b, C.diagonal().log()), {}, {}, CTX)
    covariance = W @ W.T + SD**2 * torch.eye(D, dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal(torch.full((D,), 0.5, dtype=torch.float64), covariance)
    torch.testing.assert_close(found.extras["elbo"], normal.log_prob(x.flatten(1)), rtol=1e-6, atol=1e-5)
    assert float(found.scores.max()) < 1e-6
    assert float(found.scores.min()) >= 0


def test_a_diagonal_posterior_cannot_undo_what_it_cannot_express() -> None:
    W, x = loadings(orthogonal=False), fields()
    A, b, C = posterior(W, x)
    logvar = torch.zeros(K, dtype=torch.float64)
    rows = x.flatten(1)
    best = 1 / torch.linalg.inv(C).diagonal()
    exact = rows @ A.T + b
    expected = gaussian_kl(rows @ A.T, logvar.exp(), exact, C) - gaussian_kl(exact, best, exact, C)
    found = LikelihoodRegret(steps=500).score(x, ppca(W, A, 0 * b, logvar), {}, {}, CTX).scores
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def trained() -> Vae:
    model, data = Vae(steps=200), Digits(image=True)
    model.build(data.spec(), CTX)
    model.fit(data, CTX)
    return model


def test_regret_tells_scrambled_digits_from_digits_and_is_never_negative(trained: Vae) -> None:
    x = digits("test")[:30]
    order = torch.randperm(64, generator=CTX.generator("order"))
    scrambled = x.flatten(1)[:, order].view_as(x)
    detector = LikelihoodRegret(steps=15)
    inside, outside = (detector.score(part, trained, {}, {}, CTX).scores for part in (x, scrambled))
    assert float(torch.cat([inside, outside]).min()) >= 0
    assert float((inside[:, None] < outside).double().mean()) > 0.95


def test_more_steps_never_find_less_at_the_start_of_a_fit(trained: Vae) -> None:
    x = digits("test")[:5]
    none, some = (LikelihoodRegret(steps=k).score(x, trained, {}, {}, CTX) for k in (0, 10))
    assert torch.equal(none.scores, torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(none.extras["elbo"], some.extras["elbo"])
    assert float(some.scores.min()) > 0


@pytest.mark.parametrize("samples", [8, 32])
def test_score_does_not_depend_on_the_neighbours(trained: Vae, samples: int) -> None:
    x, detector = digits("test")[:6], LikelihoodRegret(steps=5, samples=samples)
    scores = detector.score(x, trained, {}, {}, CTX).scores
    torch.testing.assert_close(detector.score(x[3:4], trained, {}, {}, CTX).scores, scores[3:4], rtol=1e-3, atol=1e-3)
    assert torch.equal(detector.score(x, trained, {}, {}, CTX).scores, scores)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "categorical"])
def test_every_likelihood_is_trained_to_the_same_bits_and_kept_whole(likelihood: str) -> None:
    data, states = Digits(image=True), []
    models = [Vae(likelihood=likelihood, steps=8, batch_size=32) for _ in range(2)]  # type: ignore[arg-type]
    for model in models:
        model.build(data.spec(), CTX)
        model.fit(data, CTX)
        states.append(model.state())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    again = Vae(likelihood=likelihood, steps=8)  # type: ignore[arg-type]
    again.build(data.spec(), Context(scope="other"))
    again.load_state(states[0])
    detector, x = LikelihoodRegret(steps=2, samples=8), digits("test")[:3]
    a, b = (detector.score(x, m, {}, {}, CTX).scores for m in (models[0], again))
    assert torch.equal(a, b)
    assert bool(a.isfinite().all())


def test_categorical_likelihood_is_a_probability() -> None:
    vae = Vae(likelihood="categorical", steps=0)
    vae.build(DataSpec(shape=(3, 8, 8), low=0.0, high=1.0), CTX)
    levels = torch.arange(256)[:, None, None, None] / 255
    z = torch.randn(1, 1, 12, generator=CTX.generator("z"))
    x = torch.full((1, 3, 8, 8), 0.5).repeat(256, 1, 1, 1)
    x[:, 2, 5, 1] = levels[:, 0, 0, 0]
    logs = vae.log_likelihood(x, z.expand(256, 1, 12)).double()[:, 0]
    given = vae.log_likelihood(x[128:129], z).double()[0, 0]
    # Only one value of one pixel differs, so the probabilities of its 256 levels sum to 1 over the rest of the image.
    others = torch.logsumexp(logs, 0)
    assert float(given) < float(others) < 0
    pixel = logs - others
    assert float(pixel.exp().sum()) == pytest.approx(1)
    assert float(others) == pytest.approx(-191 * math.log(256), rel=0.02)


def test_errors_are_one_sentence(trained: Vae) -> None:
    x = digits("test")[:3]
    with pytest.raises(InvalidInput, match=r"^likelihood_regret reads a fitted Vae, but got Autoencoder; write use: vae$"):
        LikelihoodRegret().score(x, Autoencoder(), {}, {}, CTX)
    with pytest.raises(InvalidInput, match="likelihood: gaussian or bernoulli"):
        Vae(linear=True, likelihood="categorical")
