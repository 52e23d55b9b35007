# SPDX-License-Identifier: Apache-2.0
"""Lift, Map, Detect: aggregates against closed forms, the analytic failure of pixel errors, and what it refuses."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from detector_toys import CTX, SIDE, auroc, field_covariance, random_images, toy_denoiser
from lipbench_diffusion_ood.base import Scored
from lipbench_diffusion_ood.detectors.lmd import LiftMapDetect, aggregate
from lipbench_diffusion_ood.masks import checkerboard
from lipbench_diffusion_ood.models.autoencoder import Autoencoder
from lipbench_diffusion_ood.models.features import SelfSupervised
from torch import Tensor

from lipbench.api import InvalidInput, NotFinite

ATTEMPTS = 10


def score(detector: LiftMapDetect, x: Tensor, found: Tensor) -> Scored:
    return detector.score(x, toy_denoiser(x.shape[1]), {}, {"reconstructions": found}, CTX)


@pytest.mark.parametrize(
    ("how", "attempts", "expected"),
    [
        ("mean", 1, 0.7365),
        ("mean", 2, 0.7929),
        ("mean", 5, 0.8541),
        ("mean", 10, 0.8840),
        ("median", 5, 0.8332),
        ("median", 10, 0.8715),
    ],
)
def test_gain_from_attempts_with_gaussian_noise(how: str, attempts: int, expected: float) -> None:
    """AUROC = Phi(shift / sqrt(2 (tau^2 + sigma^2 / r))) for the mean: shift 1, tau 0.5, sigma 1."""
    draw, n = torch.Generator().manual_seed(attempts), 200_000

    def distances(shift: float) -> Tensor:
        image = shift + 0.5 * torch.randn(n, generator=draw, dtype=torch.float64)
        return image + torch.randn(attempts, n, generator=draw, dtype=torch.float64)

    inside, outside = aggregate(distances(0), how), aggregate(distances(1), how)
    assert float((outside > inside).double().mean()) == pytest.approx(expected, abs=0.004)  # one pair an image: error 0.001


def test_aggregates_by_hand() -> None:
    d = torch.tensor([9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 100.0], dtype=torch.float64)[:, None]
    assert {how: float(aggregate(d, how)) for how in ("median", "mean", "min", "trimmed")} == pytest.approx(
        {"median": 5.5, "mean": 14.5, "min": 1.0, "trimmed": 5.5}
    )
    assert float(aggregate(d[:3], "median")) == 2.0
    assert float(aggregate(d[:2], "trimmed")) == 5.0


def _conditional(known: Tensor) -> tuple[Tensor, Tensor]:
    """A and C of x' ~ N(A x_known, C) on the other pixels of the Gaussian field."""
    s = field_covariance()
    a = torch.linalg.solve(s[known][:, known], s[known][:, ~known]).T
    return a, s[~known][:, ~known] - a @ s[known][:, ~known]


def _inpainted(x: Tensor, cells: int, seed: int) -> Tensor:
    """(10, n, 1, 8, 8) exact conditional samples with alternating masks."""
    draw, found = torch.Generator().manual_seed(seed), []
    for k in range(ATTEMPTS):
        known = checkerboard(SIDE, cells, swapped=k % 2 == 1).flatten()
        a, c = _conditional(known)
        rows = x.flatten(1).clone()
        fresh = torch.randn(len(x), len(c), generator=draw, dtype=torch.float64) @ torch.linalg.cholesky(c).T
        rows[:, ~known] = rows[:, known] @ a.T + fresh
        found.append(rows.view_as(x))
    return torch.stack(found)


@pytest.mark.parametrize(
    ("cells", "trace", "faint", "strong"),
    [
        (2, 18.47, (0.158, 0.008), (0.795, 0.936)),
        (4, 11.61, (0.078, 0.001), (0.873, 0.979)),
        (8, 8.78, (0.048, 0.0), (0.917, 0.990)),
    ],
)
def test_pixel_errors_on_a_gaussian_field_fail_as_the_closed_form_says(
    cells: int, trace: float, faint: tuple[float, float], strong: tuple[float, float]
) -> None:
    """E[d] = (1 + c^2) tr C / 64 for the field scaled by c, so faint fields look more in-domain than the domain itself."""
    draw, n = torch.Generator().manual_seed(0), 2000
    root = torch.linalg.cholesky(field_covariance())
    fields = [(torch.randn(n, 64, generator=draw, dtype=torch.float64) @ root.T).view(n, 1, SIDE, SIDE) for _ in range(2)]
    a, c = _conditional(checkerboard(SIDE, cells).flatten())
    exact = float(c.trace())
    assert exact == pytest.approx(trace, abs=0.005)
    detector = LiftMapDetect(distance="mse", aggregate="mean")
    white = torch.randn(n, 1, SIDE, SIDE, generator=draw, dtype=torch.float64)
    expected = {
        "inside": 2 * exact,
        "faint": 1.09 * exact,
        "strong": 3.25 * exact,
        "white": exact + len(c) + float(a.square().sum()),
    }
    scores = {}
    for name, x in (("inside", fields[0]), ("faint", 0.3 * fields[1]), ("strong", 1.5 * fields[1]), ("white", white)):
        scores[name] = score(detector, x, _inpainted(x, cells, seed=len(name)))
        # The mask and its opposite leave the same covariance but for the corners of the field.
        assert float(scores[name].extras["distances"][::2].mean()) == pytest.approx(
            expected[name] / 64, rel=0.025
        )  # 4 standard errors
    for name, (one, ten) in (("faint", faint), ("strong", strong)):
        first = auroc(scores["inside"].extras["distances"][0], scores[name].extras["distances"][0])
        assert first == pytest.approx(one, abs=0.02)
        assert auroc(scores["inside"].scores, scores[name].scores) == pytest.approx(ten, abs=0.01)


@pytest.mark.parametrize("distance", ["mse", "ssim", "perc_unet", "perc_rand"])
def test_scores_do_not_depend_on_neighbours_or_on_later_attempts(distance: str) -> None:
    x, found = random_images(5, 1, SIDE, SIDE, seed=1), random_images(6, 5, 1, SIDE, SIDE, seed=2)
    whole = score(LiftMapDetect(distance=distance), x, found)
    for i in range(5):
        alone = score(LiftMapDetect(distance=distance), x[i : i + 1], found[:, i : i + 1])
        torch.testing.assert_close(alone.scores, whole.scores[i : i + 1], rtol=0, atol=1e-6)
    assert whole.extras["distances"].shape == (6, 5)
    assert whole.scores.dtype == torch.float64
    first = score(LiftMapDetect(distance=distance, attempts=3), x, found)
    torch.testing.assert_close(first.scores, whole.extras["distances"][:3].median(0).values, rtol=0, atol=1e-6)
    assert LiftMapDetect(attempts=3).share({"reconstructions": found}) == 0.5
    assert LiftMapDetect().share({"reconstructions": found}) == 1
    assert whole.evaluations == (7 if distance == "perc_unet" else 0)
    assert torch.equal(score(LiftMapDetect(distance=distance), x, found).scores, whole.scores)


def test_lpips_needs_its_weights_and_tells_that_images_were_enlarged(tmp_path: Path) -> None:
    from lipbench_diffusion_ood.distances.alexnet import WIDTHS, AlexNetFeatures
    from safetensors.torch import save_file

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(AlexNetFeatures().state_dict(), tmp_path / "alexnet.safetensors")
    save_file({f"lin{k}.model.1.weight": torch.ones(1, w, 1, 1) for k, w in enumerate(WIDTHS)}, tmp_path / "alex.safetensors")
    paths = {"trunk": str(tmp_path / "alexnet.safetensors"), "heads": str(tmp_path / "alex.safetensors")}
    detector = LiftMapDetect(distance="lpips", **paths)
    assert [str(f) for f in detector.files()] == list(paths.values())
    x, found = random_images(2, 1, SIDE, SIDE, seed=1), random_images(1, 2, 1, SIDE, SIDE, seed=2)
    scored = score(detector, x, found)
    assert (scored.scores > 0).all()
    assert scored.extras["enlarged_to"].tolist() == [64, 64]
    with pytest.raises(InvalidInput, match="weights were not supplied"):
        LiftMapDetect(distance="lpips").files()
    with pytest.raises(InvalidInput, match="reads no trunk:; leave it out"):
        LiftMapDetect(distance="mse", **paths)
    assert list(LiftMapDetect().files()) == []


@pytest.mark.parametrize("distance", ["perc_ssl", "perc_ae"])
def test_a_network_of_its_own_is_learned_once_from_training_images(distance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (SelfSupervised, Autoencoder):  # a few steps instead of several hundred
        monkeypatch.setattr(cls, "__init__", functools.partialmethod(cls.__init__, steps=10))
    train, x, found = (random_images(*shape, seed=k) for k, shape in enumerate(((40, 1, 8, 8), (4, 1, 8, 8), (3, 4, 1, 8, 8))))
    detector = LiftMapDetect(distance=distance)
    state = detector.calibrate(train, toy_denoiser(), CTX)
    again = detector.calibrate(train, toy_denoiser(), CTX)
    assert state.keys() == again.keys()
    assert all(torch.equal(state[name], again[name]) for name in state)
    lifted = {"reconstructions": found}
    scored = detector.score(x, toy_denoiser(), state, lifted, CTX)
    assert bool((scored.scores > 0).all())
    exact = detector.score(x, toy_denoiser(), state, {"reconstructions": x.expand(3, -1, -1, -1, -1)}, CTX)
    assert float(exact.scores.abs().max()) < 1e-9
    other = detector.score(x, toy_denoiser(), detector.calibrate(train.flip(0) ** 2, toy_denoiser(), CTX), lifted, CTX)
    assert not torch.equal(other.scores, scored.scores)
    assert LiftMapDetect(distance="mse").calibrate(train, toy_denoiser(), CTX) == {}


def test_what_it_refuses() -> None:
    x, found = random_images(2, 1, SIDE, SIDE), random_images(3, 2, 1, SIDE, SIDE)
    with pytest.raises(InvalidInput, match="found none; write a lift"):
        LiftMapDetect().score(x, toy_denoiser(), {}, {}, CTX)
    with pytest.raises(InvalidInput, match="too few for attempts: 4"):
        score(LiftMapDetect(attempts=4), x, found)
    with pytest.raises(InvalidInput, match="reads a diffusion model"):
        LiftMapDetect().score(x, None, {}, {"reconstructions": found}, CTX)
    with pytest.raises(NotFinite, match="not finite"):
        score(LiftMapDetect(distance="mse"), x, found * torch.inf)
