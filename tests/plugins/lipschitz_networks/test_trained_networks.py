# SPDX-License-Identifier: Apache-2.0
"""Trained networks: the same bits again, and all that is claimed of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from lip_cases import context, fitted, orthonormal_error, seen
from lipbench_basics.datasets.moons import TwoMoons
from lipbench_lipschitz_networks.attack import pgd_l2
from lipbench_lipschitz_networks.datasets import ToySquares
from lipbench_lipschitz_networks.metrics.cost import Parameters, StepSeconds
from lipbench_lipschitz_networks.metrics.duality import W1, Hinge, Kr
from lipbench_lipschitz_networks.metrics.robustness import (
    Accuracy,
    AttackedAccuracy,
    CertifiedAccuracy,
    CertifiedRadius,
    certified_radii,
)
from lipbench_lipschitz_networks.metrics.steepness import ExportDifference, GradientNorm, Orthogonality, ProductBound
from lipbench_lipschitz_networks.models.conv import LipConv
from lipbench_lipschitz_networks.models.mlp import LipMLP
from lipbench_lipschitz_networks.models.single import LipLayer
from lipbench_lipschitz_networks.training import kernels

from lipbench.api import DataSpec, InvalidInput, NotApplicable

SQUARES = {"loss": "kr", "sampling": "whole", "steps": 80, "hidden": (16, 8)}
MOONS = TwoMoons(count=120)


@pytest.fixture(scope="module")
def moons() -> LipMLP:
    return fitted(MOONS, steps=60, alpha=10, act="fullsort")


def test_fitting_twice_gives_the_same_bits_and_its_state_the_same_outputs() -> None:
    one, two = fitted(MOONS, steps=5), fitted(MOONS, steps=5)
    assert all(torch.equal(a, two.state()[name]) for name, a in one.state().items())
    other = LipMLP(hidden=(16, 8), norm="bjorck", steps=5)
    other.build(MOONS.spec(), context(seed=1))
    other.load_state(one.state())
    x = torch.from_numpy(MOONS.split("test", context()).inputs)
    assert torch.equal(other.module(x), one.module(x))
    assert torch.equal(other.curves["kr"], one.curves["kr"])


@pytest.mark.parametrize("norm", ["bjorck", "torchlip"])
def test_sorting_finds_the_distance_of_three_diracs(norm: str) -> None:
    data = ToySquares(size=8, count=8)
    network = fitted(data, norm=norm, act="fullsort", **SQUARES)
    value = Kr(relative=True).compute(seen(network, data), context())
    # Class 0 is black, so the loss makes black images positive.
    assert 0.95 < value.value <= 1 + 1e-6
    assert value.extras["w1"] == pytest.approx(4)
    assert network.curves["step"][-1] == 80
    assert float(network.curves["kr"][-1]) == pytest.approx(value.extras["kr"], abs=1e-5)


def test_a_linear_network_finds_nothing_and_one_relu_layer_at_most_half() -> None:
    data = ToySquares(size=8, count=8)
    for act, hidden, most in (("identity", (16, 8), 1e-6), ("relu", (16,), 0.5 + 1e-6)):
        network = fitted(data, act=act, **(SQUARES | {"hidden": hidden}))
        assert Kr(relative=True).compute(seen(network, data), context()).value <= most


def test_a_linear_network_finds_the_distance_of_two_diracs() -> None:
    data = ToySquares(size=8, mode="binary", count=8)
    network = fitted(data, act="identity", **SQUARES)
    assert Kr(relative=True).compute(seen(network, data), context()).value == pytest.approx(1, abs=1e-4)


def test_all_that_is_claimed_of_a_trained_network_holds(moons: LipMLP) -> None:
    evidence, ctx = seen(moons, MOONS), context()
    bound = ProductBound().compute(evidence, ctx).value
    assert bound == pytest.approx(1, abs=1e-5)
    kr = Kr().compute(evidence, ctx)
    assert kr.value <= kr.extras["w1"] * bound + 1e-6
    assert W1().compute(evidence, ctx).value == kr.extras["w1"] < W1(cost="l1").compute(evidence, ctx).value
    slope = GradientNorm().compute(evidence, ctx)
    assert slope.value <= bound + 1e-6
    assert slope.extras["quantiles"] == sorted(slope.extras["quantiles"])
    hinge = Hinge(margin=0.29).compute(evidence, ctx)
    assert hinge.value >= hinge.extras["floor"] > 0
    assert Orthogonality().compute(evidence, ctx).value < 1e-5
    assert all(orthonormal_error(used) < 1e-5 for _, used in kernels(moons.constrained))
    assert ExportDifference().compute(evidence, ctx).value < 1e-6
    parameters = Parameters().compute(evidence, ctx)
    assert parameters.value == parameters.extras["learned"] == 2 * 16 + 16 + 16 * 8 + 8 + 8 + 1
    assert StepSeconds(steps=1).compute(evidence, ctx).value > 0


def test_pairs_of_points_move_outputs_no_further_than_themselves(moons: LipMLP) -> None:
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        f = moons.module.double()(x)
        moons.module.float()
    assert bool((torch.cdist(f, f) <= torch.cdist(x, x) * (1 + 1e-5) + 1e-9).all())


def test_no_attack_within_a_certified_radius_succeeds(moons: LipMLP) -> None:
    evidence, ctx = seen(moons, MOONS), context()
    x, y = evidence.test.x, evidence.test.y
    radii = certified_radii(evidence, "test")
    for radius in (0.05, 0.2, 0.5):
        held, moved = pgd_l2(evidence.module, x, y, radius, steps=10, generator=torch.Generator().manual_seed(0))
        assert not bool((~held & (radii > radius)).any())
        assert float((moved - x).norm(dim=1).max()) <= radius * (1 + 1e-5)
        attacked = AttackedAccuracy(radius=radius, steps=5).compute(evidence, ctx)
        certified = CertifiedAccuracy(radius=radius).compute(evidence, ctx)
        assert certified.value <= attacked.value <= Accuracy().compute(evidence, ctx).value
        assert attacked.extras["broken"] == 0


def test_an_attack_breaks_what_is_close(moons: LipMLP) -> None:
    assert AttackedAccuracy(radius=3, steps=10).compute(seen(moons, MOONS), context()).value == 0


def test_the_curve_of_certified_accuracy_falls_from_the_accuracy(moons: LipMLP) -> None:
    evidence, ctx = seen(moons, MOONS), context()
    curve = CertifiedRadius().compute(evidence, ctx).extras["accuracy"]
    assert curve[0] == pytest.approx(Accuracy().compute(evidence, ctx).value, abs=1e-5)
    assert curve == sorted(curve, reverse=True)
    assert curve[-1] == 0


def test_kr_alone_is_no_classifier_until_its_threshold_is_moved() -> None:
    evidence = seen(fitted(MOONS, loss="kr", steps=60), MOONS)
    assert Accuracy(threshold="median").compute(evidence, context()).value > 0.75
    assert Kr(relative=True).compute(evidence, context()).value > 0.9


def test_a_free_network_is_not_ranked_by_kr() -> None:
    network = fitted(MOONS, norm="none", loss="cross_entropy", act="relu", steps=30)
    evidence = seen(network, MOONS)
    value = Kr().compute(evidence, context())
    assert value.unranked
    assert value.extras["kr"] <= value.extras["bound"] * value.extras["w1"]


def test_spectral_normalisation_alone_leaves_small_singular_values() -> None:
    network = fitted(MOONS, norm="spectral", steps=40)
    evidence = seen(network, MOONS)
    assert ProductBound().compute(evidence, context()).value <= 1 + 1e-4
    assert Orthogonality().compute(evidence, context()).value > 0.05


def test_a_layer_is_measured_without_classes() -> None:
    from lipbench_basics.datasets.noise import UniformNoise

    data = UniformNoise(shape=(1, 6, 6), low=-1, high=1, integers=False, count=4)
    network = LipLayer(of="conv", units=4)
    network.build(data.spec(), context())
    evidence = seen(network, data)
    slope = GradientNorm(points=2).compute(evidence, context()).value
    assert slope == pytest.approx(ProductBound().compute(evidence, context()).value, rel=1e-5)
    for metric in (Kr(), Accuracy(), ExportDifference()):
        with pytest.raises(NotApplicable):
            metric.compute(evidence, context())


@pytest.mark.parametrize(
    ("params", "words"),
    [({"outputs": 3, "loss": "hkr"}, "outputs: 1"), ({"loss": "hkr_torchlip", "alpha": 10.0}, "between 0 and 1")],
)
def test_impossible_recipes_are_refused(params: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        fitted(MOONS, **params)


def test_looking_changes_nothing_and_does_not_trust_an_old_estimate() -> None:
    from lipbench_lipschitz_networks.training import look

    module = LipMLP(hidden=(16, 8), norm="bjorck")
    module.build(MOONS.spec(), context())
    net = module.constrained.train()
    kernel = net[1].parametrizations["weight"].original
    kernel.data.mul_(5)  # beyond root five times the estimate that the layer remembers
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    x, y = module.rows(MOONS, "train", context())
    seen_now = look(net, x, y, 0.29)
    assert float(seen_now["raw_max"].max()) == pytest.approx(5, rel=1e-4)
    assert float((seen_now["bound_max"] - 1).abs().max()) < 1e-5
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_batches_are_balanced() -> None:
    from lipbench_lipschitz_networks.training import batches

    recipe = LipMLP(steps=4, batch_size=6).recipe
    y = torch.tensor([0] * 20 + [1] * 5)
    for rows in batches(recipe, y, context()):
        assert y[rows].tolist() == [0, 0, 0, 1, 1, 1]
        assert len(set(rows.tolist())) == 6
    with pytest.raises(InvalidInput, match="shuffled"):
        list(batches(recipe, torch.zeros(5, dtype=torch.int64), context()))


def test_one_more_than_the_classes_is_refused() -> None:
    from lipbench_basics.datasets.digits import Digits

    network = LipMLP(hidden=(4,), steps=1)
    network.build(DataSpec(shape=(64,), low=0, high=1, classes=10), context())
    with pytest.raises(InvalidInput, match="1 outputs"):
        network.fit(Digits(), context())
    assert np.isfinite(network.module[1].weight.detach().numpy()).all()


@pytest.mark.parametrize(
    ("network", "parameters", "words"),
    [
        (LipMLP, {"act": "groupsort2", "hidden": (8, 7)}, "must be even, found 7"),
        (LipConv, {"channels": (3,)}, "must be even, found 3"),
        (LipMLP, {"loss": "hkr_multiclass"}, "write outputs:"),
        (LipMLP, {"loss": "hkr_torchlip", "alpha": 10}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is(network: Any, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        network(**parameters)
