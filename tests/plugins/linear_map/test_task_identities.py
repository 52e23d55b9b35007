# SPDX-License-Identifier: Apache-2.0
"""The protocol: identities of linear maps, features, heads, and the same bits again."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from linear_map_cases import KINDS, Blobs, Lab, Toy, normal, roles
from linear_map_protocol import Spy, again, auroc, same
from lipbench_basics.attacks import PGD
from lipbench_linear_map.features import MagnitudeSpectrum, PhaseCosSin
from lipbench_linear_map.maps import OLS, Identity, OLSAffine, RidgeCV, ScoreRegression, Shuffled
from lipbench_linear_map.views import VAL
from torch import Tensor

from lipbench.api import Context

# Identities of linear maps.


def test_the_mapped_score_is_the_targets_detector_on_the_prediction() -> None:
    lab = Lab()
    found = lab.evidence()
    detector = lab.made["target_detector"]
    assert found.prediction is not None
    for kind in ("clean", "adversarial"):
        expected = getattr(found.prediction, kind) @ detector["svm_weight"] + detector["svm_bias"]
        torch.testing.assert_close(getattr(found.mapped, kind), expected[:, 0], rtol=0, atol=1e-10)


def test_score_regression_is_least_squares_for_the_price_of_one_output() -> None:
    lab = Lab()
    full, single = lab.evidence(), lab.evidence(map=ScoreRegression())
    same(single.mapped, full.mapped, 1e-8)
    assert auroc(single.mapped) == auroc(full.mapped)
    assert single.prediction is None
    assert single.rows == full.rows
    heavy = single.evasion(5.0, 5).scores
    torch.testing.assert_close(heavy, full.evasion(5.0, 5).scores, rtol=0, atol=1e-4)


def turned(views: Mapping[str, Tensor], matrix: Tensor) -> dict[str, Tensor]:
    """The views of the same network with other coordinates of its embedding."""
    return {**views, **{kind: views[kind].double() @ matrix for kind in KINDS}}


def orthogonal(width: int) -> Tensor:
    return torch.linalg.qr(normal(width, width, seed=5))[0]


@pytest.mark.parametrize("invertible", [orthogonal(8), normal(8, 8, seed=6), torch.eye(8).double()[torch.randperm(8)]])
def test_least_squares_does_not_depend_on_the_coordinates_of_the_source(invertible: Tensor) -> None:
    lab = Lab()
    plain = lab.evidence()
    found = again(turned(lab.made["source_views"], invertible), lab.made["target_views"])
    same(found.mapped, plain.mapped, 1e-8)
    assert auroc(found.mapped) == auroc(plain.mapped)
    same(found.native_target, plain.native_target)
    assert plain.prediction is not None
    assert found.prediction is not None
    torch.testing.assert_close(found.prediction.adversarial, plain.prediction.adversarial, rtol=0, atol=1e-8)


def test_ridge_on_standardised_columns_depends_on_directions_and_not_on_order_or_units() -> None:
    lab, ridge = Lab(), RidgeCV(strengths=(1.0,))
    plain = lab.evidence(map=ridge)
    units = torch.diag(torch.linspace(0.5, 20, 8).double())[torch.arange(7, -1, -1)]
    source, target = lab.made["source_views"], lab.made["target_views"]
    same(again(turned(source, units), target, map=ridge).mapped, plain.mapped, 1e-8)
    rotated = again(turned(source, orthogonal(8)), target, map=ridge).mapped
    assert float((rotated.clean - plain.mapped.clean).abs().max()) > 1e-3


def test_an_orthogonal_change_of_the_target_changes_the_prediction_with_it() -> None:
    lab = Lab()
    plain = lab.evidence()
    matrix = orthogonal(6)
    found = again(lab.made["source_views"], turned(lab.made["target_views"], matrix))
    assert plain.prediction is not None
    assert found.prediction is not None
    torch.testing.assert_close(found.prediction.clean, plain.prediction.clean @ matrix, rtol=0, atol=1e-9)


# Features, heads, bits.


@pytest.mark.parametrize(("feature", "columns"), [(MagnitudeSpectrum(), 5), (PhaseCosSin(), 10)])
def test_map_and_detector_read_the_feature_and_no_head_does(feature: MagnitudeSpectrum, columns: int) -> None:
    lab, spy = Lab(), Spy()
    found = lab.evidence(feature=feature, map=spy)
    assert found.columns == columns
    assert spy.y[0].shape[1] == feature(torch.zeros(1, 6)).shape[1]
    assert found.prediction is not None
    assert found.prediction.head is None
    val = lab.made["target_views"]["part"] == VAL
    assert torch.equal(found.prediction.true_clean, feature(lab.made["target_views"]["clean"][val].double()))


def test_the_head_is_the_targets_last_layer() -> None:
    target = Toy(width=6, seed=1)
    found = Lab().evidence(target=target)
    assert found.prediction is not None
    assert found.prediction.head is not None
    guesses = found.prediction.head(found.prediction.true_adversarial).argmax(1)
    assert torch.equal(guesses, found.target.guess_adversarial)


def test_the_same_bits_again() -> None:
    def tensors(thing: object) -> list[Tensor]:
        if isinstance(thing, Tensor):
            return [thing]
        parts = vars(thing).values() if hasattr(thing, "__dataclass_fields__") else ()
        return [t for part in parts for t in tensors(part)]

    filled = roles(attack=PGD(eps=0.125))
    one, other = (tensors(Lab().evidence(**filled)) for _ in range(2))
    assert len(one) > 20
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    seeds = [Lab(ctx=Context(scope="test", seed=seed)).evidence(**filled).mapped.clean for seed in (0, 1)]
    assert not torch.equal(*seeds)


def test_units_of_the_pixels_do_not_matter() -> None:
    """Raw pixels in 0..255 and networks that divide by 255 give what pixels in [0, 1] give."""
    found = Lab().evidence(source=Toy(width=8, seed=2, unit=255), target=Toy(width=6, seed=1, unit=255), data=Blobs(unit=255.0))
    plain = Lab().evidence()
    for name in ("linf", "l2", "mse"):
        torch.testing.assert_close(getattr(found.source, name), getattr(plain.source, name), rtol=1e-3, atol=1e-5)
    assert auroc(found.mapped) == pytest.approx(auroc(plain.mapped), abs=0.01)


def test_maps_of_least_squares_share_one_factorisation_and_ridge_has_its_own() -> None:
    lab, filled = Lab(), roles()
    factors = []
    for chosen in (OLS(), OLSAffine(), Shuffled(), ScoreRegression()):
        lab.evidence(**{**filled, "map": chosen})
        factors.append(lab.made["factor"])
    assert all(factor is factors[0] for factor in factors)
    lab.evidence(**{**filled, "map": RidgeCV()})
    assert lab.made["factor"] is not factors[0]
    assert "scale" in lab.made["factor"]
    lab.evidence(**{**filled, "map": Identity()})
    assert "factor" not in lab.made
