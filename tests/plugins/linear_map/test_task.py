# SPDX-License-Identifier: Apache-2.0
"""The protocol: which rows fit what, and the native diagonal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from linear_map_cases import CTX, KINDS, Lab, Toy, normal
from linear_map_protocol import Spy, again, auroc, evidence, same
from lipbench_linear_map.features import Embedding
from lipbench_linear_map.maps import OLS, Identity, OLSAffine, RidgeCV, ScoreRegression, Shuffled
from lipbench_linear_map.task import LinearMapDetection
from lipbench_linear_map.views import MAP, SVM, VAL
from torch import Tensor

from lipbench.api import InvalidInput


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
