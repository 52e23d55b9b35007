# SPDX-License-Identifier: Apache-2.0
"""The protocol of `ood_detection`: what is shared, what a score may depend on, what it costs, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lipbench_diffusion_ood.base import Detector, Lift
from lipbench_diffusion_ood.detectors.controls import MeanIntensity, PrincipalComponents
from lipbench_diffusion_ood.detectors.denoising import NoiseError
from lipbench_diffusion_ood.detectors.features import NearestNeighbors
from lipbench_diffusion_ood.detectors.lmd import LiftMapDetect
from lipbench_diffusion_ood.evidence import OODScores
from lipbench_diffusion_ood.lifts import DenoiseFrom, Inpaint, NoLift
from lipbench_diffusion_ood.metrics import OODAuroc
from lipbench_diffusion_ood.models.autoencoder import Autoencoder
from lipbench_diffusion_ood.models.none import NoBackbone
from lipbench_diffusion_ood.task import unit
from ood_cases import ATTEMPTS, COUNT, CTX, SIDE, STEPS, CountedInpaint, Given, Lab, Spy, exact, field_images
from torch import Tensor

from lipbench.api import DataSpec, NotApplicable, NotFinite


def domain() -> Tensor:
    return unit(field_images(), "test", CTX)


def auroc(found: OODScores) -> float:
    return OODAuroc().compute(found, CTX).value


def detectors() -> dict[str, Detector]:
    """One of each kind that needs no training."""
    return {
        "lmd": LiftMapDetect(distance="mse"),
        "knn": NearestNeighbors(source="pixels", k=2),
        "pca": PrincipalComponents(components=3),
        "mean intensity": MeanIntensity(),
        "error of the noise": NoiseError(),
    }


def refuses(**changes: Any) -> str:
    """The sentence with which the task refuses."""
    with pytest.raises(NotApplicable) as caught:
        Lab().evidence(**changes)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert "; " in text, "what to write instead"
    return text


# What is shared.


def test_images_are_reconstructed_once_for_all_detectors_distances_and_attempts() -> None:
    lab, lift = Lab(), CountedInpaint()
    for detector in [*detectors().values(), *(LiftMapDetect(distance="mse", attempts=k) for k in (1, 2, 3))]:
        lab.evidence(lift=lift, detector=detector)
    assert [len(x) for x in lift.asked] == [COUNT, COUNT]
    lab.evidence(lift=lift, out_dist=field_images("white"))
    assert len(lift.asked) == 3, "those of the in-domain set are there"
    lab.evidence(lift=lift, params={"images": 5})
    assert len(lift.asked) == 5, "another number of images is another result"


def test_what_is_stored_is_every_attempt_and_the_seconds() -> None:
    lab = Lab()
    found = lab.evidence()
    stored = lab.made["in_lifted"]
    assert set(stored) == {"reconstructions", "evaluations", "seconds"}
    assert float(stored["evaluations"]) == ATTEMPTS * STEPS
    assert stored["reconstructions"].shape == (ATTEMPTS, COUNT, 1, SIDE, SIDE)
    assert stored["reconstructions"].dtype == torch.float32
    assert stored["seconds"].shape == ()
    assert found.seconds > 0
    assert found.inside.dtype == found.outside.dtype == torch.float64
    assert found.inside.shape == found.outside.shape == (COUNT,)


def test_a_set_against_itself_gives_a_half_exactly() -> None:
    data = field_images()
    for name, detector in detectors().items():
        lift = CountedInpaint()
        found = Lab().evidence(lift=lift, detector=detector, in_dist=data, out_dist=data)
        assert torch.equal(found.inside, found.outside), name
        assert auroc(found) == 0.5, name
        assert len(lift.asked) == 1


def test_equal_images_of_another_dataset_get_equal_scores() -> None:
    """Noise hangs on the content of an image, so a copy is told apart by nothing."""
    copy = Given(domain().numpy())
    for name, detector in detectors().items():
        found = Lab().evidence(detector=detector, out_dist=copy)
        assert torch.equal(found.inside, found.outside), name


# What a score depends on.


@pytest.mark.parametrize("name", detectors())
def test_a_score_does_not_depend_on_the_other_images(name: str) -> None:
    x, order = domain().numpy(), np.random.default_rng(1).permutation(COUNT)
    whole = Lab().evidence(detector=detectors()[name]).inside
    first = Lab().evidence(detector=detectors()[name], params={"images": 3}).inside
    torch.testing.assert_close(first, whole[:3], rtol=1e-6, atol=1e-9)
    moved = Lab().evidence(detector=detectors()[name], out_dist=Given(x[order])).outside
    torch.testing.assert_close(moved, whole[order], rtol=1e-6, atol=1e-9)


def test_a_rerun_gives_the_same_bits_and_another_seed_does_not() -> None:
    one, two, other = (Lab(ctx=replace(CTX, seed=seed)).evidence() for seed in (0, 0, 1))
    for name in ("inside", "outside", "inside_mapped", "outside_mapped", "inside_lifted"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert not torch.equal(one.inside, other.inside)
    assert torch.equal(one.inside_images, other.inside_images)


def test_the_range_of_the_data_does_not_matter() -> None:
    levels = (domain() * 255).round()
    plain, scaled = Given((levels / 255).numpy()), Given(levels.numpy(), high=255.0)
    for name, detector in detectors().items():
        found = Lab().evidence(detector=detector, in_dist=plain, out_dist=scaled)
        assert torch.equal(found.inside, found.outside), name
        assert torch.equal(found.inside_images, found.outside_images)


def test_detectors_learn_from_in_domain_training_images_alone() -> None:
    spy = Spy()
    Lab().evidence(detector=spy, out_dist=field_images("white"))
    assert len(spy.train) == 1
    assert torch.equal(spy.train[0], unit(field_images(), "train", CTX))
    inside, outside = spy.given
    assert torch.equal(inside[0], domain())
    assert torch.equal(outside[0], unit(field_images("white"), "test", CTX))
    assert torch.equal(inside[1]["mean"], outside[1]["mean"])


def test_only_who_reads_reconstructions_gets_them() -> None:
    spy, lifting = Spy(), Spy()
    vars(lifting)["needs"] = "reconstructions"
    lab = Lab()
    lab.evidence(detector=spy)
    assert [lifted for _, _, lifted in spy.given] == [{}, {}]
    lab.evidence(detector=lifting)
    assert torch.equal(lifting.given[0][2]["reconstructions"], lab.made["in_lifted"]["reconstructions"])
    assert torch.equal(lifting.given[1][2]["reconstructions"], lab.made["out_lifted"]["reconstructions"])


@pytest.mark.parametrize(("images", "expected"), [(None, COUNT), (2, 2), (5, 5), (COUNT, COUNT), (10 * COUNT, COUNT)])
def test_images_limits_both_sets(images: int | None, expected: int) -> None:
    lab = Lab()
    found = lab.evidence(params={"images": images})
    assert len(found.inside) == len(found.outside) == expected
    assert lab.made["in_lifted"]["reconstructions"].shape[1] == expected
    extras = OODAuroc().compute(found, CTX).extras
    assert extras["images"] == [expected, expected]


# What it costs.


@pytest.mark.parametrize("attempts", [None, 1, 2, 3, ATTEMPTS])
def test_attempts_share_the_cost(attempts: int | None) -> None:
    lab = Lab()
    whole, found = lab.evidence(), lab.evidence(detector=LiftMapDetect(distance="mse", attempts=attempts))
    used = attempts or ATTEMPTS
    assert found.evaluations == used * STEPS
    assert found.seconds > 0
    lifting = float(lab.made["in_lifted"]["seconds"] + lab.made["out_lifted"]["seconds"]) / 2
    scoring = float(lab.made["in_scores"]["cost"][1] + lab.made["out_scores"]["cost"][1]) / 2
    assert found.seconds == pytest.approx(scoring + lifting * used / ATTEMPTS)
    assert whole.evaluations == ATTEMPTS * STEPS


@pytest.mark.parametrize(("made", "used", "steps"), [(11, 3, 5), (11, 6, 20), (14, 9, 50), (15, 11, 10)])
def test_evaluations_are_whole_numbers_whatever_the_share(made: int, used: int, steps: int) -> None:
    lift = Inpaint(cells=2, attempts=made, steps=steps)
    found = Lab().evidence(lift=lift, detector=LiftMapDetect(distance="mse", attempts=used), params={"images": 2})
    assert found.evaluations == used * steps


def test_resamplings_and_the_detector_itself_count_too() -> None:
    lift = CountedInpaint(attempts=2, steps=3, resamplings=2)
    assert Lab().evidence(lift=lift).evaluations == 2 * 3 * 2
    found = Lab().evidence(detector=NoiseError())
    assert found.evaluations == detectors()["error of the noise"].score(domain(), exact(), {}, {}, CTX).evaluations > 0


def test_who_reads_no_reconstructions_pays_for_none() -> None:
    lab = Lab()
    for detector, own in ((Spy(), 2), (MeanIntensity(), 0)):
        found = lab.evidence(detector=detector)
        assert found.evaluations == own
        scoring = float(lab.made["in_scores"]["cost"][1] + lab.made["out_scores"]["cost"][1]) / 2
        assert found.seconds == pytest.approx(scoring)
        assert found.seconds < float(lab.made["in_lifted"]["seconds"])


# What metrics see of images.


@pytest.mark.parametrize("lift", [Inpaint(cells=2, attempts=3, steps=2), DenoiseFrom(attempts=3, steps=2)])
def test_the_first_images_are_kept_to_look_at(lift: Lift) -> None:
    lab = Lab()
    found = lab.evidence(lift=lift)
    x = domain()[:8]
    assert torch.equal(found.inside_images, x)
    assert found.inside_mapped is not None
    assert torch.equal(found.inside_mapped, lab.made["in_lifted"]["reconstructions"][:, :8])
    assert found.inside_mapped.shape == (3, 8, 1, SIDE, SIDE)
    assert found.inside_lifted.shape == x.shape
    changed = (found.inside_lifted != x).float().mean()
    # Half of the pixels are masked; noise changes all of them.
    assert float(changed) == pytest.approx(0.5 if isinstance(lift, Inpaint) else 1, abs=0.02)
    for part in (found.inside_lifted, found.outside_lifted, found.inside_mapped, found.outside_images):
        assert float(part.min()) >= 0
        assert float(part.max()) <= 1


def test_without_a_lift_nothing_is_reconstructed_and_no_backbone_is_needed() -> None:
    lab = Lab()
    found = lab.evidence(lift=NoLift(), backbone=NoBackbone(), detector=MeanIntensity())
    assert found.inside_mapped is None
    assert found.outside_mapped is None
    assert torch.equal(found.inside_lifted, found.inside_images)
    assert set(lab.made["in_lifted"]) == {"seconds"}
    assert float(lab.made["in_lifted"]["seconds"]) == 0
    assert found.evaluations == 0


# What is known of Gaussian fields.


def test_errors_of_pixels_follow_the_contrast_of_the_field() -> None:
    """Foreign fields of higher contrast come back further away, fainter ones nearer than in-domain ones, and so below 1/2."""
    lab, kinds = Lab(), {"strong": ("field", 1.5), "faint": ("field", 0.3), "white": ("white", 1.0)}
    same: dict[str, Any] = {"backbone": exact(8), "lift": Inpaint(cells=4, attempts=4, steps=10)}
    inside = field_images(side=8, count=60)
    found = {
        name: auroc(lab.evidence(**same, in_dist=inside, out_dist=field_images(kind, scale, 8, 60)))
        for name, (kind, scale) in kinds.items()
    }
    assert found["strong"] > 0.8
    assert found["faint"] < 0.1
    assert found["white"] > 0.9


def test_more_attempts_tell_more() -> None:
    lab = Lab()
    same: dict[str, Any] = {
        "backbone": exact(8), "lift": Inpaint(cells=4, attempts=8, steps=10),
        "in_dist": field_images(side=8, count=60), "out_dist": field_images(scale=1.5, side=8, count=60),
    }  # fmt: skip
    one, all_ = (auroc(lab.evidence(**same, detector=LiftMapDetect(distance="mse", attempts=k))) for k in (1, 8))
    assert all_ > one + 0.02


# What is refused, in one sentence.


@pytest.mark.parametrize("name", detectors())
def test_images_of_another_shape(name: str) -> None:
    text = refuses(out_dist=field_images(side=8), detector=detectors()[name])
    assert "(1, 8, 8)" in text
    assert "(1, 4, 4)" in text
    assert "(1, 8, 8)" in refuses(out_dist=field_images(side=8), detector=MeanIntensity(), lift=NoLift(), backbone=NoBackbone())


def test_a_lift_without_a_diffusion_model() -> None:
    spec = DataSpec(shape=(1, 8, 8), low=0.0, high=1.0)
    encoder = Autoencoder(steps=0)
    encoder.build(spec, CTX)
    for backbone in (NoBackbone(), encoder):
        text = refuses(backbone=backbone, detector=MeanIntensity())
        assert "Inpaint" in text
        assert type(backbone).__name__ in text
        assert "no_lift" in text


def test_a_detector_that_cannot_read_the_backbone() -> None:
    same: dict[str, Any] = {"backbone": NoBackbone(), "lift": NoLift()}
    for detector in (LiftMapDetect(), NoiseError()):
        text = refuses(**same, detector=detector)
        assert type(detector).__name__ in text
        assert "NoBackbone" in text
        assert "Denoiser" in text


def test_a_detector_that_reads_reconstructions_without_a_lift() -> None:
    text = refuses(lift=NoLift())
    assert "LiftMapDetect" in text
    assert "lift" in text


@pytest.mark.parametrize("shape", [(16,), (1, 4, 6), (4, 4)])
def test_rows_that_are_no_square_images(shape: tuple[int, ...]) -> None:
    rows = Given(np.zeros((4, *shape)))
    same: dict[str, Any] = {"backbone": NoBackbone(), "lift": NoLift(), "detector": MeanIntensity()}
    assert str(shape) in refuses(**same, in_dist=rows, out_dist=rows)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_names_detector_and_image(bad: float) -> None:
    with pytest.raises(NotFinite, match=r"^Spy gave (nan|inf) for image 0$"):
        Lab().evidence(detector=Spy(factor=bad))
