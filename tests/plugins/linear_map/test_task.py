# SPDX-License-Identifier: Apache-2.0
"""The protocol: which rows fit what, the native diagonal, whose adversarial images, and the identities of linear maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from linear_map_cases import CTX, KINDS, SPEC, Blobs, Lab, Notes, Shift, Toy, normal, roles
from lipbench_basics.attacks import FGSM, PGD, AdaptivePGD, CarliniWagnerL2, Transfer, Victim
from lipbench_linear_map.evidence import MappedEmbeddings, Scores
from lipbench_linear_map.features import Embedding, MagnitudeSpectrum, PhaseCosSin
from lipbench_linear_map.maps import OLS, Affine, Identity, OLSAffine, RidgeCV, ScoreRegression, Shuffled
from lipbench_linear_map.task import LinearMapDetection
from lipbench_linear_map.views import MAP, SVM, VAL, embed, labelled
from sklearn.metrics import roc_auc_score
from torch import Tensor

from lipbench.api import Context, InvalidInput, Network, NotApplicable

Stages = Mapping[str, Mapping[str, Tensor]]


class Spy(OLSAffine):
    """Least squares that remembers what it was fitted on."""

    def __init__(self) -> None:
        super().__init__()
        self.x: list[Tensor] = []
        self.y: list[Tensor] = []

    def fit(self, x: Tensor, factor: Mapping[str, Tensor], y: Tensor, ctx: Context) -> Affine:
        self.x.append(x)
        self.y.append(y)
        return super().fit(x, factor, y, ctx)


def evidence(stages: Stages, params: Mapping[str, Any] | None = None, **changes: Any) -> MappedEmbeddings:
    """Evidence from stages that a test may have changed."""
    return LinearMapDetection(**(params or {})).evidence(**roles(**changes), **stages, ctx=CTX)


def again(views: Mapping[str, Tensor], target_views: Mapping[str, Tensor], **changes: Any) -> MappedEmbeddings:
    """Evidence anew from changed views, every stage behind them too."""
    task, filled = LinearMapDetection(), roles(**changes)
    feature = filled["feature"]
    stages = {
        "source_views": views,
        "target_views": target_views,
        "source_detector": task.detector(views, feature, CTX),
        "target_detector": task.detector(target_views, feature, CTX),
        "factor": filled["map"].factorise(task._fit_rows(views, feature)),
    }
    return evidence(stages, **filled)


def auroc(scores: Scores) -> float:
    truth = np.repeat([0, 1], [len(scores.clean), len(scores.adversarial)])
    return float(roc_auc_score(truth, torch.cat([scores.clean, scores.adversarial]).numpy()))


def same(one: Scores, other: Scores, tolerance: float = 0.0) -> None:
    for kind in KINDS:
        torch.testing.assert_close(getattr(one, kind), getattr(other, kind), rtol=tolerance, atol=tolerance)


def wild(views: Mapping[str, Tensor], part: int, kinds: tuple[str, ...] = KINDS) -> dict[str, Tensor]:
    """The views with nonsense in the embeddings of one part."""
    rows = (views["part"] == part)[:, None]
    noise = {kind: 1e4 * normal(*views[kind].shape, seed=9).float() for kind in kinds}
    return {**views, **{kind: torch.where(rows, noise[kind], views[kind]) for kind in kinds}}


# The diagonal.


@pytest.mark.parametrize("chosen", [OLS(), OLSAffine(), RidgeCV(), Identity(), Shuffled(), ScoreRegression()])
def test_a_network_is_not_mapped_to_itself(chosen: OLS) -> None:
    network = Toy(width=8, seed=2)
    found = Lab().evidence(source=network, target=network, map=chosen)
    assert found.native
    same(found.mapped, found.native_target)
    same(found.mapped, found.native_source)
    assert torch.equal(found.negatives, found.native_target.clean)
    if not isinstance(chosen, ScoreRegression):
        assert found.prediction is not None
        assert torch.equal(found.prediction.clean, found.prediction.true_clean)
        assert torch.equal(found.prediction.adversarial, found.prediction.true_adversarial)


@pytest.mark.parametrize("dead", [False, True])
def test_least_squares_to_oneself_says_what_the_native_diagonal_says(dead: bool) -> None:
    """With other tensors of equal content nothing is recognised: a map is fitted, and of a dead unit it says nothing."""
    lab, network = Lab(), Toy(width=8, seed=2)
    if dead:
        with torch.no_grad():
            network.module[1].weight[2] = 0
            network.module[1].bias[2] = 0
    native = lab.evidence(source=network, target=network)
    assert (native.columns, native.live) == (8, 7 if dead else 8)
    fitted = evidence({**lab.made, "source_views": dict(lab.made["source_views"])}, source=network, target=network)
    assert not fitted.native
    same(fitted.mapped, native.mapped, 1e-9)
    assert auroc(fitted.mapped) == auroc(native.mapped)


def test_two_networks_are_not_native() -> None:
    found = Lab().evidence()
    assert not found.native
    assert not torch.equal(found.mapped.clean, found.native_target.clean)


# Which rows.


def test_the_map_is_fitted_on_both_copies_of_the_map_images_alone() -> None:
    lab, spy = Lab(), Spy()
    found = lab.evidence(map=spy)
    source, target = lab.made["source_views"], lab.made["target_views"]
    images = [i for i in source["order"].tolist() if source["part"][i] == MAP]
    assert sorted(images) == torch.nonzero(source["part"] == MAP)[:, 0].tolist()
    for rows, views in ((spy.x[0], source), (spy.y[0], target)):
        assert torch.equal(rows, torch.cat([views["clean"][images], views["adversarial"][images]]))
    assert (found.rows, found.columns, found.live) == (60, 8, 8)


def test_the_prediction_is_least_squares_of_the_map_rows() -> None:
    lab = Lab()
    found = lab.evidence()
    part = lab.made["source_views"]["part"].numpy()
    rows = {name: {k: lab.made[f"{name}_views"][k].double().numpy() for k in KINDS} for name in ("source", "target")}
    x, y = (np.concatenate([rows[name][k][part == MAP] for k in ("clean", "adversarial")]) for name in ("source", "target"))
    weight = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)[0]
    assert found.prediction is not None
    for kind, mapped in (("clean", found.prediction.clean), ("adversarial", found.prediction.adversarial)):
        val = rows["source"][kind][part == VAL]
        np.testing.assert_allclose(mapped.numpy(), np.column_stack([val, np.ones(len(val))]) @ weight, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found.prediction.true_clean.numpy(), rows["target"]["clean"][part == VAL])


@pytest.mark.parametrize(("fit", "kinds"), [("clean", ("clean",)), ("adversarial", ("adversarial",))])
def test_the_map_may_be_fitted_on_one_kind(fit: str, kinds: tuple[str, ...]) -> None:
    lab, spy = Lab(), Spy()
    found = lab.evidence({"map_fit": fit}, map=spy)
    views = lab.made["source_views"]
    images = views["order"][views["part"][views["order"]] == MAP]
    assert torch.equal(spy.x[0], views[kinds[0]][images].double())
    assert found.rows == 30


@pytest.mark.parametrize(("fit", "most", "images"), [("both", 20, 10), ("both", 21, 10), ("clean", 20, 20), ("both", 2, 1)])
def test_fewer_rows_are_the_same_first_images_for_both_networks(fit: str, most: int, images: int) -> None:
    lab, spy, whole = Lab(), Spy(), Spy()
    found = lab.evidence({"map_rows": most, "map_fit": fit}, map=spy)
    assert found.rows == images * (2 if fit == "both" else 1) <= most
    lab.evidence({"map_fit": fit}, map=whole)
    copies = 2 if fit == "both" else 1
    for few, all_ in ((spy.x[0], whole.x[0]), (spy.y[0], whole.y[0])):
        expected = all_.reshape(copies, 30, -1)[:, :images].reshape(copies * images, -1)
        assert torch.equal(few, expected)


def test_more_rows_than_there_are_are_refused() -> None:
    lab = Lab()
    same(lab.evidence({"map_rows": 60}).mapped, lab.evidence().mapped)
    with pytest.raises(InvalidInput, match="map_rows: 61 is more than the 60 rows of this part; write at most 60"):
        lab.evidence({"map_rows": 61})


def test_the_map_never_sees_svm_and_val_rows() -> None:
    lab = Lab()
    lab.evidence()
    spy = Spy()
    evidence(lab.made, map=spy)
    source, target = lab.made["source_views"], lab.made["target_views"]
    for part in (SVM, VAL):
        views = wild(source, part)
        again(views, wild(target, part), map=spy)
        factor = LinearMapDetection().centred(views, Embedding(), CTX)
        assert all(torch.equal(factor[name], lab.made["factor"][name]) for name in factor)
    assert len(spy.x) == 3
    for x, y in zip(spy.x[1:], spy.y[1:], strict=True):
        assert torch.equal(x, spy.x[0])
        assert torch.equal(y, spy.y[0])


def test_no_detector_sees_rows_of_another_part() -> None:
    lab, task = Lab(), LinearMapDetection()
    lab.evidence()
    plain = lab.made["source_detector"]
    for name, own in (("svm", SVM), ("map", MAP)):
        for part in {MAP, SVM, VAL} - {own}:
            found = task.detector(wild(lab.made["source_views"], part), Embedding(), CTX)
            assert torch.equal(found[f"{name}_weight"], plain[f"{name}_weight"])
            assert torch.equal(found[f"{name}_bias"], plain[f"{name}_bias"])
        changed = task.detector(wild(lab.made["source_views"], own), Embedding(), CTX)
        assert not torch.equal(changed[f"{name}_weight"], plain[f"{name}_weight"])
    noisy = task.detector(wild(lab.made["source_views"], SVM, ("noise",)), Embedding(), CTX)
    assert torch.equal(noisy["svm_weight"], plain["svm_weight"]), "noise teaches nothing"


def test_wild_val_rows_do_not_reach_the_scores_of_others() -> None:
    """One wild val image changes its own scores alone."""
    lab = Lab()
    plain = lab.evidence()
    source = lab.made["source_views"]
    first = int(torch.nonzero(source["part"] == VAL)[0, 0])
    changed = {**source, "adversarial": source["adversarial"].clone()}
    changed["adversarial"][first] = 1e3
    found = again(changed, lab.made["target_views"])
    assert found.mapped.adversarial[0] != plain.mapped.adversarial[0]
    assert torch.equal(found.mapped.clean, plain.mapped.clean)
    torch.testing.assert_close(found.mapped.adversarial[1:], plain.mapped.adversarial[1:], rtol=0, atol=1e-12)


def test_negatives_are_mapped_or_native() -> None:
    lab = Lab()
    found = lab.evidence()
    assert torch.equal(found.negatives, found.mapped.clean)
    native = lab.evidence({"negatives": "native"})
    assert torch.equal(native.negatives, native.native_target.clean)
    assert not torch.equal(native.negatives, native.mapped.clean)
    same(native.mapped, found.mapped)


def test_c_reaches_the_detectors() -> None:
    lab = Lab()
    assert not torch.equal(lab.evidence({"C": 1e-3}).native_target.clean, lab.evidence().native_target.clean)


def test_facts_of_the_val_images_are_those_of_the_views() -> None:
    lab = Lab()
    found = lab.evidence()
    for images, name in ((found.source, "source_views"), (found.target, "target_views")):
        views = lab.made[name]
        val = views["part"] == VAL
        for field in ("labels", "guess_clean", "guess_adversarial", "linf", "l2", "mse"):
            assert torch.equal(getattr(images, field), views[field][val])
        assert torch.equal(
            images.success(), (images.guess_clean == images.labels) & (images.guess_adversarial != images.labels)
        )
    assert 0 < int(found.source.success().sum()) < 30, "a toy that the attack fools sometimes"
    assert torch.equal(found.source.labels, found.target.labels)


# Whose adversarial images.


def crafted(victim: Network, fed: Network, attack: FGSM | Transfer) -> Tensor:
    """Embeddings in one network of images that were made on another."""
    x, y = labelled(Blobs().split("test", CTX))
    found = attack.craft(Victim(embed=victim.at("embedding"), head=victim.head(), spec=SPEC), x, y, CTX)
    return embed(fed, found, "cpu")[0]


@pytest.mark.parametrize(("crafted_on", "victims"), [("own", (0, 1)), ("source", (0, 0)), ("target", (1, 1))])
def test_adversarial_images_come_from_the_network_that_the_task_names(crafted_on: str, victims: tuple[int, int]) -> None:
    lab, attack = Lab(), FGSM(eps=0.125)
    networks = Toy(width=8, seed=2), Toy(width=6, seed=1)
    found = lab.evidence({"crafted_on": crafted_on}, source=networks[0], target=networks[1], attack=attack)
    for name, fed, victim in zip(("source_views", "target_views"), networks, victims, strict=True):
        assert torch.equal(lab.made[name]["adversarial"], crafted(networks[victim], fed, attack))
    equal = [torch.equal(getattr(found.source, size), getattr(found.target, size)) for size in ("l2", "mse")]
    assert equal == [crafted_on != "own"] * 2
    pixels = [torch.equal(a, b) for a, b in zip(found.source.pixel, found.target.pixel, strict=True)]
    assert pixels == [True, True] or crafted_on == "own"


@pytest.mark.parametrize("crafted_on", ["own", "source", "target"])
def test_attacks_that_transfer_come_from_the_surrogate_whatever_the_task_names(crafted_on: str) -> None:
    lab, attack, surrogate = Lab(), Transfer(eps=0.125, steps=2), Toy(width=7, seed=3)
    filled = roles(attack=attack, surrogate=surrogate)
    lab.evidence({"crafted_on": crafted_on}, **filled)
    for name in ("source", "target"):
        assert torch.equal(lab.made[f"{name}_views"]["adversarial"], crafted(surrogate, filled[name], attack))


def test_the_diagonal_shares_its_views_whoever_is_attacked() -> None:
    network = Toy(width=8, seed=2)
    for crafted_on in ("own", "source", "target"):
        lab = Lab()
        assert lab.evidence({"crafted_on": crafted_on}, source=network, target=network).native
        assert lab.made["source_views"] is lab.made["target_views"]


def test_both_networks_see_the_same_noise() -> None:
    lab, network = Lab(), Toy(width=8, seed=2)
    lab.evidence(source=network, target=Toy(width=6, seed=1))
    before = lab.made["source_views"]["noise"]
    lab.evidence(source=Toy(width=6, seed=1), target=network)
    assert torch.equal(lab.made["target_views"]["noise"], before)


# An attacker who knows the detector.


def test_the_adaptive_attack_changes_val_images_alone() -> None:
    plain, aware = Lab(), Lab()
    plain.evidence(attack=PGD(eps=0.125))
    aware.evidence(attack=AdaptivePGD(eps=0.125, steps=10))
    one, other = plain.made["source_views"], aware.made["source_views"]
    val = one["part"] == VAL
    assert torch.equal(one["adversarial"][~val], other["adversarial"][~val])
    assert not bool((one["adversarial"][val] == other["adversarial"][val]).all(1).any())
    assert torch.equal(one["clean"], other["clean"])
    assert float(other["linf"].max()) <= 0.125 * (1 + 1e-6)


def test_the_adaptive_attack_evades_a_detector_that_finds_the_plain_one() -> None:
    network = Toy(width=8, seed=2)
    before = auroc(Lab().evidence(source=network, target=network, attack=PGD(eps=0.125)).native_source)
    attack = AdaptivePGD(eps=0.125, steps=10, weight=5.0)
    assert auroc(Lab().evidence(source=network, target=network, attack=attack).native_source) < before - 0.1


def test_evading_map_and_detector_lowers_the_scores_and_leaves_the_evidence() -> None:
    lab = Lab()
    found = lab.evidence()
    before = auroc(found.mapped)
    made = found.evasion(5.0, 10)
    assert made.scores.shape == made.guesses.shape == (30,)
    assert auroc(replace(found.mapped, adversarial=made.scores)) < before - 0.1
    assert (made.forwards, made.backwards) == (30 * 11, 30 * 10)
    assert auroc(found.mapped) == before
    heavy, light = found.evasion(100.0, 10), found.evasion(0.0, 10)
    assert float(heavy.scores.mean()) < float(light.scores.mean())
    assert torch.equal(found.evasion(5.0, 10).scores, lab.evidence().evasion(5.0, 10).scores)


def test_evading_reads_the_feature_that_the_map_reads() -> None:
    found = Lab().evidence(feature=MagnitudeSpectrum())
    heavy, light = found.evasion(50.0, 10), found.evasion(0.0, 10)
    assert float(heavy.scores.mean()) < float(light.scores.mean())


@pytest.mark.parametrize("attack", [CarliniWagnerL2(steps=2), Shift()])
def test_without_a_budget_there_is_no_adaptive_attack(attack: CarliniWagnerL2) -> None:
    lab = Lab()
    found = lab.evidence(attack=FGSM(eps=0.125))
    found = evidence(lab.made, attack=attack)
    with pytest.raises(NotApplicable, match="an adaptive attack needs a budget") as caught:
        found.evasion(1.0, 2)
    assert "\n" not in str(caught.value)


def test_who_is_evaded_is_on_the_device_of_the_context_before() -> None:
    """The network of the evidence is not the object that the views were made with."""
    views = Lab()
    views.evidence(source=Notes())
    source = Notes()
    found = evidence(views.made, source=source)
    found.evasion(1.0, 1)
    assert source.events[0] == "to"
    assert "forward" in source.events


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
