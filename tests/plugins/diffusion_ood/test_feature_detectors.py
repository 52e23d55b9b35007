# SPDX-License-Identifier: Apache-2.0
"""Detectors that read features, noise errors, paths and likelihoods: identities, exact Gaussian models, neighbours, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from detector_toys import CTX, SIDE, auroc, field_covariance, field_denoiser, field_images, random_images, toy_denoiser
from lipbench_diffusion_ood.base import Backbone, Denoiser, DensityDetector, Detector, Scored, Tensors
from lipbench_diffusion_ood.compression import compressed_bits
from lipbench_diffusion_ood.detectors import denoising, features
from lipbench_diffusion_ood.detectors.denoising import MultiLevel, NoiseError
from lipbench_diffusion_ood.detectors.features import Mahalanobis, NearestNeighbors
from lipbench_diffusion_ood.detectors.likelihoods import InputComplexity, Likelihood, Typicality
from lipbench_diffusion_ood.detectors.paths import PathStatistics, kernel_log_density, mixture_log_density
from lipbench_diffusion_ood.flow import ProbabilityFlow
from lipbench_diffusion_ood.models.autoencoder import Autoencoder
from lipbench_diffusion_ood.models.features import RandomFeatures
from torch import Tensor

from lipbench.api import Context, DataSpec, InvalidInput

SPEC = DataSpec(shape=(1, SIDE, SIDE), low=0.0, high=1.0)


def run(detector: Detector, train: Tensor, x: Tensor, backbone: Backbone | None = None, ctx: Context = CTX) -> Scored:
    return detector.score(x, backbone, detector.calibrate(train, backbone, ctx), {}, ctx)


def random_features() -> RandomFeatures:
    found = RandomFeatures(channels=(4, 8))
    found.build(SPEC, CTX)
    return found


def test_mean_mahalanobis_over_the_training_images_is_the_dimension() -> None:
    train = random_images(400, 1, 4, 4)
    found = run(Mahalanobis(source="pixels", covariance="mle"), train, train).scores
    assert float(found.mean()) == pytest.approx(16, rel=1e-9)
    assert float(found.max()) <= 400 - 1


def test_mahalanobis_is_invariant_under_affine_maps() -> None:
    train, x = random_images(200, 1, 4, 4), random_images(9, 1, 4, 4, seed=1)
    draw = torch.Generator().manual_seed(2)
    a = torch.randn(16, 16, generator=draw, dtype=torch.float64) + 4 * torch.eye(16)

    def mapped(z: Tensor) -> Tensor:
        return (z.flatten(1).double() @ a + 3).view(-1, 1, 4, 4)

    detector = Mahalanobis(source="pixels", covariance="mle")
    torch.testing.assert_close(
        run(detector, mapped(train), mapped(x)).scores, run(detector, train, x).scores, rtol=1e-7, atol=1e-7
    )


def test_mahalanobis_is_that_of_scikit_learn() -> None:
    from sklearn.covariance import LedoitWolf

    train, x = random_images(60, 1, SIDE, SIDE), random_images(9, 1, SIDE, SIDE, seed=1)
    expected = LedoitWolf().fit(train.flatten(1).double().numpy()).mahalanobis(x.flatten(1).double().numpy())
    np.testing.assert_allclose(run(Mahalanobis(source="pixels"), train, x).scores.numpy(), expected, rtol=1e-9)


def test_singular_covariances_are_refused_or_shrunk() -> None:
    train = random_images(100, 1, 4, 4)
    train[:, :, 0] = 0.5
    with pytest.raises(InvalidInput, match="singular; write covariance: ledoit_wolf"):
        Mahalanobis(source="pixels", covariance="mle").calibrate(train, None, CTX)
    assert bool(run(Mahalanobis(source="pixels"), train, train).scores.isfinite().all())
    with pytest.raises(InvalidInput, match="may all be the same"):
        Mahalanobis(source="pixels").calibrate(torch.ones(5, 1, 4, 4), None, CTX)


@pytest.mark.parametrize("normalise", [False, True])
def test_neighbours_are_those_of_scikit_learn(normalise: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.neighbors import NearestNeighbors as Exact
    from sklearn.preprocessing import normalize

    train, x = random_images(50, 1, 4, 4), random_images(9, 1, 4, 4, seed=1)
    rows, query = (v.flatten(1).double().numpy() for v in (train, x))
    if normalise:
        rows, query = normalize(rows), normalize(query)
    expected = Exact(n_neighbors=3).fit(rows).kneighbors(query)[0][:, 2]
    detector = NearestNeighbors(source="pixels", k=3, normalise=normalise)
    found = run(detector, train, x).scores
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)
    monkeypatch.setattr(features, "parts", lambda n, cost, ctx: [slice(k, k + 1) for k in range(n)])
    assert torch.equal(run(detector, train, x).scores, found)
    with pytest.raises(InvalidInput, match="no neighbour k: 51"):
        NearestNeighbors(source="pixels", k=51).calibrate(train, None, CTX)


def test_features_come_from_any_backbone_that_has_them() -> None:
    train, x = random_images(40, 1, SIDE, SIDE), random_images(5, 1, SIDE, SIDE, seed=1)
    ae = Autoencoder(steps=0, latent=6)
    ae.build(SPEC, CTX)
    for backbone, width in ((random_features(), 8), (ae, 6), (toy_denoiser(), 16)):
        for detector in (Mahalanobis(), NearestNeighbors()):
            assert detector.reads is Backbone
            calibrated = detector.calibrate(train, backbone, CTX)
            assert next(iter(calibrated.values())).shape[-1] == width
            whole = detector.score(x, backbone, calibrated, {}, CTX)
            alone = [detector.score(x[i : i + 1], backbone, calibrated, {}, CTX).scores for i in range(5)]
            torch.testing.assert_close(torch.cat(alone), whole.scores, rtol=1e-4, atol=1e-6)
            assert whole.evaluations == 1
    assert Mahalanobis(source="pixels").reads is None
    assert run(Mahalanobis(source="pixels"), train, x).evaluations == 0
    with pytest.raises(InvalidInput, match="needs a network with features, found none"):
        Mahalanobis().calibrate(train, None, CTX)
    small = Mahalanobis(source="pixels").calibrate(train[:, :, :4, :4], None, CTX)
    with pytest.raises(InvalidInput, match="16 values, found"):
        Mahalanobis(source="pixels").score(x, None, small, {}, CTX)


def test_noise_error_of_the_exact_model() -> None:
    """For images of the model itself the error is the posterior variance of the noise, c^2 s^2 / (c^2 s^2 + std^2) on average."""
    model, x = field_denoiser(), field_images(600, seed=1)
    scored = run(NoiseError(times=4), x, x, model)
    t = (torch.arange(4, dtype=torch.float64) + 0.5) / 4
    c2, std2 = model.schedule.mean(t).square(), model.schedule.std(t).square()
    s2 = torch.linalg.eigvalsh(0.04 * field_covariance())
    expected = (c2[:, None] * s2 / (c2[:, None] * s2 + std2[:, None])).mean(1)
    torch.testing.assert_close(scored.extras["errors"].mean(1), expected, rtol=0.03, atol=1e-4)
    assert scored.evaluations == 4
    toy = toy_denoiser()
    run(NoiseError(times=4), x, x[:10], toy)
    assert toy.seen == 40


def test_little_noise_gives_the_image_back_and_full_noise_knows_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = field_denoiser(), field_images(50, seed=1)
    detector = MultiLevel(levels=20, perceptual=False)
    errors = detector.errors(x, model, CTX).mean(1)
    assert float(errors[0]) < float(model.schedule.std(torch.tensor(1 / 20)) ** 2) / 4  # less than the noise that was put in
    assert bool((errors.diff()[:6] > 0).all())
    fixed = torch.randn(20, 1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    monkeypatch.setattr(denoising, "noise", lambda z, count, ctx: fixed.expand(count, *z.shape))
    back = detector.reconstruct(x, model, CTX)
    spread = back.std(1).mean((1, 2, 3))  # over images: nearly as wide as theirs at first, none at last
    assert float(spread[0]) > 0.7 * float(x.std(0).mean())
    assert float(spread[-1]) < 0.01 * float(spread[0])


def test_multi_level_scores_are_standardised_and_chains_share_passes() -> None:
    model, toy = field_denoiser(), toy_denoiser()
    train, x = field_images(300, seed=1), field_images(100, seed=2)
    detector = MultiLevel(levels=5, perceptual=False)
    calibrated = detector.calibrate(train, model, CTX)
    inside, outside = (detector.score(z, model, calibrated, {}, CTX) for z in (x, random_images(100, 1, SIDE, SIDE).double()))
    assert float(inside.scores.mean()) == pytest.approx(0, abs=0.2)
    assert auroc(inside.scores, outside.scores) > 0.99
    both = MultiLevel(levels=5)
    scored = run(both, train[:20].float(), x[:10].float(), toy)
    assert scored.extras["errors"].shape == (10, 10)
    assert toy.seen == 15 * 30  # 20 images of the calibration and 10 more, 15 evaluations each
    assert (scored.evaluations, inside.evaluations) == (21, 15)


def test_the_path_of_the_exact_model() -> None:
    """Along the path of N(0, 1) data in every direction the noise and its derivative are those of a rotation."""
    model = field_denoiser()
    model.assume(torch.zeros(64), torch.eye(64))
    x = random_images(3, 1, SIDE, SIDE).double()
    found = PathStatistics(steps=200).path(x, model, CTX)
    # eps = std(t) x(t), and x stays what it is: the process preserves the variance.
    t = torch.linspace(1e-3, 1, 200, dtype=torch.float64)
    std, rows = model.schedule.std(t), (2 * x - 1).flatten(1)
    torch.testing.assert_close(found[:, 1], std.square().sum() * rows.square().sum(1), rtol=0.02, atol=0)
    speed = (std.diff() * 199).square().sum()
    torch.testing.assert_close(found[:, 4], speed * rows.square().sum(1), rtol=0.05, atol=0)
    assert PathStatistics(statistics="1d", steps=200).path(x, model, CTX).squeeze(1).tolist() == pytest.approx(
        found[:, 4].sqrt().tolist()
    )


@pytest.mark.parametrize("statistics", ["1d", "6d"])
def test_paths_tell_noise_from_the_field(statistics: str) -> None:
    model, train, x = field_denoiser(), field_images(300, seed=1), field_images(100, seed=2)
    for foreign in (random_images(100, 1, SIDE, SIDE).double(), 0.5 + 0.3 * (x - 0.5)):
        detector = PathStatistics(statistics=statistics)
        inside, outside = (run(detector, train, z, model) for z in (x, foreign))
        assert auroc(inside.scores, outside.scores) > 0.95
        assert inside.evaluations == 10


def test_densities_are_those_of_scikit_learn() -> None:
    from sklearn.mixture import GaussianMixture
    from sklearn.neighbors import KernelDensity

    draw = np.random.default_rng(0)
    rows, query = draw.normal(size=(80, 3)), 2 * draw.normal(size=(20, 3))
    mixture = GaussianMixture(2, random_state=0).fit(rows)
    given = {"weights": mixture.weights_, "centres": mixture.means_, "factors": mixture.precisions_cholesky_}
    found = mixture_log_density(torch.from_numpy(query), {k: torch.from_numpy(v) for k, v in given.items()})
    np.testing.assert_allclose(found.numpy(), mixture.score_samples(query), rtol=1e-9)
    kernels = KernelDensity(bandwidth=80 ** (-1 / 7)).fit(rows)
    found = kernel_log_density(torch.from_numpy(query), torch.from_numpy(rows))
    np.testing.assert_allclose(found.numpy(), kernels.score_samples(query), rtol=1e-9)
    with pytest.raises(InvalidInput, match="too few for components: 5"):
        PathStatistics().calibrate(random_images(9, 1, SIDE, SIDE), toy_denoiser(), CTX)


def densities(x: Tensor, model: Denoiser, **settings: Any) -> Tensors:
    return ProbabilityFlow(**settings).lifted(model, x, CTX)


def test_likelihood_of_a_faint_field_is_too_good_and_typicality_sees_it() -> None:
    model, train, x = field_denoiser(), field_images(100, seed=1), field_images(60, seed=2)
    faint = 0.5 + 0.3 * (field_images(60, seed=3) - 0.5)
    flow = ProbabilityFlow(intervals=20, probes=4)
    lifted = [flow.lifted(model, z, CTX) for z in (x, faint)]
    inside, outside = (Likelihood().score(z, model, {}, made, CTX) for z, made in zip((x, faint), lifted, strict=True))
    assert auroc(inside.scores, outside.scores) < 0.01
    typical = Typicality(images=100)
    calibrated = typical.calibrate_densities(train, model, flow, CTX)
    near, far = (typical.score(z, model, calibrated, made, CTX) for z, made in zip((x, faint), lifted, strict=True))
    assert auroc(near.scores, far.scores) > 0.99
    torch.testing.assert_close(near.extras["bits_per_dim"], inside.scores)
    density = torch.distributions.MultivariateNormal(torch.zeros(64, dtype=torch.float64), 0.04 * field_covariance())
    nats = density.log_prob((2 * x - 1).flatten(1))
    expected = -nats / (64 * np.log(2)) + 7
    assert float(inside.scores.mean()) == pytest.approx(float(expected.mean()), abs=0.1)
    assert float(lifted[0]["evaluations"]) == flow.evaluations == 2 * 20 * (1 + 4)


def test_the_adaptive_solver_agrees_and_counts_what_it_took() -> None:
    model, x = field_denoiser(), field_images(1, seed=2)
    adaptive, heun = (densities(x, model, exact_trace=True, **how) for how in ({"method": "rk45"}, {"intervals": 150}))
    torch.testing.assert_close(adaptive["nats"], heun["nats"], rtol=0, atol=0.1)
    assert float(heun["evaluations"]) == 300 * (1 + 64)
    assert 65 * 20 < float(adaptive["evaluations"]) < 65 * 800
    with pytest.raises(InvalidInput, match="intervals: 20 has no meaning for method: rk45"):
        ProbabilityFlow(method="rk45", intervals=20)


def test_png_and_zlib_in_bits() -> None:
    pytest.importorskip("PIL")
    for shape, bits in (((1, 28, 28), 632), ((1, 32, 32), 648), ((3, 32, 32), 776), ((1, 8, 8), 584)):
        grey = torch.full((1, *shape), 128 / 255)
        assert float(compressed_bits(grey, "png")) == pytest.approx(bits, abs=16)  # equal here; builds of zlib differ in a byte
    noise = random_images(5, 1, SIDE, SIDE)
    assert float(compressed_bits(noise, "png").mean()) / 512 == pytest.approx(2.19, abs=0.02)
    assert float(compressed_bits(torch.zeros(1, 1, SIDE, SIDE), "zlib")) < 100 < float(compressed_bits(noise, "zlib").min())
    with pytest.raises(InvalidInput, match="2 channels; write compressor: zlib"):
        compressed_bits(random_images(1, 2, SIDE, SIDE), "png")


def test_complexity_is_taken_off_in_bits() -> None:
    model, x = field_denoiser(), field_images(20, seed=2)
    lifted = densities(x, model, intervals=10)
    likelihood = Likelihood().score(x, model, {}, lifted, CTX).scores
    for compressor in ("png", "zlib"):
        scored = InputComplexity(compressor=compressor).score(x, model, {}, lifted, CTX)
        bits = compressed_bits(x, compressor)
        torch.testing.assert_close(scored.scores, 64 * likelihood - bits)
        torch.testing.assert_close(scored.extras["compressed_bits"], bits)


READERS: list[Detector] = [
    NoiseError(times=3),
    MultiLevel(levels=3),
    PathStatistics(steps=4, components=2),
    PathStatistics(statistics="1d", steps=4),
]


@pytest.mark.parametrize("detector", [Likelihood(), Typicality(images=10), InputComplexity()], ids=lambda d: type(d).__name__)
def test_a_density_depends_on_its_image_alone(detector: DensityDetector) -> None:
    model, train, x = toy_denoiser(), random_images(20, 1, SIDE, SIDE), random_images(5, 1, SIDE, SIDE, seed=1)
    flow = ProbabilityFlow(intervals=3)
    calibrated = detector.calibrate_densities(train, model, flow, CTX)
    whole = detector.score(x, model, calibrated, flow.lifted(model, x, CTX), CTX).scores
    assert whole.dtype == torch.float64
    singles = [detector.score(one, model, calibrated, flow.lifted(model, one, CTX), CTX).scores for one in x.split(1)]
    torch.testing.assert_close(torch.cat(singles), whole, rtol=1e-6, atol=1e-4)
    with pytest.raises(InvalidInput, match="found none; write lift: probability_flow"):
        detector.score(x, model, calibrated, {}, CTX)


@pytest.mark.parametrize("detector", READERS, ids=lambda d: type(d).__name__)
def test_a_score_depends_on_its_image_alone(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    model, train, x = toy_denoiser(), random_images(20, 1, SIDE, SIDE), random_images(5, 1, SIDE, SIDE, seed=1)
    assert detector.reads is Denoiser
    calibrated = detector.calibrate(train, model, CTX)
    assert all(isinstance(v, Tensor) for v in calibrated.values())
    whole = detector.score(x, model, calibrated, {}, CTX)
    assert whole.scores.dtype == torch.float64
    assert bool(whole.scores.isfinite().all())
    tolerance = 1e-6 * max(1.0, float(whole.scores.abs().max()))
    alone = [detector.score(x[i : i + 1], model, calibrated, {}, CTX).scores for i in range(5)]
    torch.testing.assert_close(torch.cat(alone), whole.scores, rtol=0, atol=tolerance)
    monkeypatch.setattr(denoising, "_AT_ONCE", 200)
    torch.testing.assert_close(detector.score(x, model, calibrated, {}, CTX).scores, whole.scores, rtol=0, atol=tolerance)
    monkeypatch.undo()
    again = detector.score(x, model, detector.calibrate(train, model, CTX), {}, Context(scope="elsewhere", seed=0))
    assert torch.equal(again.scores, whole.scores)
    with pytest.raises(InvalidInput, match="reads a diffusion model, found RandomFeatures"):
        detector.score(x, random_features(), calibrated, {}, CTX)
