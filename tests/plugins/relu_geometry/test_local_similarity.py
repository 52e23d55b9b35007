# SPDX-License-Identifier: Apache-2.0
"""Similarity of local maps, planar maps, pruning and numbers of centres against closed forms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lipbench_relu_geometry.local.descent import Descent
from lipbench_relu_geometry.local.exclusive_or import ExclusiveOrNet, ExclusiveOrSquare
from lipbench_relu_geometry.local.mapping import MappedOutputs, predicted
from lipbench_relu_geometry.local.needed import CentresNeeded
from lipbench_relu_geometry.local.networks import ImageNetwork
from lipbench_relu_geometry.local.oracles import LocalOracle
from lipbench_relu_geometry.local.pictures import MappedSurface, jump
from lipbench_relu_geometry.local.pruning import PrunedNetwork, pruned
from lipbench_relu_geometry.local.similarity import CosineTest, RowSimilarity, linear_cka, permuted_cosines, procrustes
from lipbench_relu_geometry.local.task import Local, LocallyLinear
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput, Model, NotApplicable

CTX = Context(scope="similarity")
SQUARE = ExclusiveOrSquare(side=21)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(size: int) -> Tensor:
    return torch.linalg.qr(drawn(size, size, seed=7))[0]


@pytest.fixture(scope="module")
def planar() -> Any:
    def make(network: Model, target: Model) -> Local:
        task = LocallyLinear()
        for model in (network, target):
            model.build(SQUARE.spec(), CTX)
            if isinstance(model, ExclusiveOrNet):
                model.fit(SQUARE, CTX)
        maps = [task.local_maps(model, SQUARE, CTX) for model in (network, target)]
        return task.evidence(network, target, SQUARE, *maps, CTX)

    return make


@pytest.mark.parametrize("measure", [linear_cka, procrustes])
def test_rotations_shifts_and_scales_change_no_similarity(measure: Any) -> None:
    x, y = drawn(3, 40, 6), drawn(3, 40, 9, seed=1)
    torch.testing.assert_close(measure(x, 2.5 * x @ rotation(6) + 4), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(measure(x @ rotation(6), 0.1 * y @ rotation(9) - 1), measure(x, y))
    assert (measure(x, y) < 0.95).all()


def test_cka_is_the_aligned_kernels_and_procrustes_the_best_rotation() -> None:
    x, y = drawn(30, 5), drawn(30, 4, seed=1)
    h = torch.eye(30, dtype=torch.float64) - 1 / 30
    k, q = h @ x @ x.T @ h, h @ y @ y.T @ h
    torch.testing.assert_close(linear_cka(x, y), (k * q).sum() / (k.norm() * q.norm()))
    # In two dimensions the best rotation or reflection can be searched.
    a, b = (drawn(25, 2, seed=s) for s in (2, 3))
    angle = torch.linspace(0, 2 * torch.pi, 20_001, dtype=torch.float64)
    ways = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).reshape(-1, 2, 2)
    ways = torch.cat([ways, ways * torch.tensor([1.0, -1.0])])
    a, b = a - a.mean(0), b - b.mean(0)
    best = torch.einsum("nd,kde,ne->k", a, ways, b).max() / (a.norm() * b.norm())
    torch.testing.assert_close(procrustes(a, b), best, rtol=0, atol=1e-6)


def test_permuted_cosines_have_the_mean_of_all_pairs() -> None:
    a, b = drawn(2, 5, 4), drawn(2, 5, 4, seed=1)
    cosines = nn.functional.cosine_similarity(a[:, :, None], b[:, None], dim=3).mean(0)
    seen, mean, permuted = permuted_cosines(a, b, 4000, torch.Generator().manual_seed(0))
    assert seen == pytest.approx(float(cosines.diagonal().mean()))
    assert mean == pytest.approx(float(cosines.mean()))
    assert float(permuted.mean()) == pytest.approx(mean, abs=4 * float(permuted.std()) / 4000**0.5)
    assert permuted.max() <= cosines.max(1).values.mean()


def test_a_network_beside_itself_is_as_alike_as_can_be(planar: Any) -> None:
    found = planar(ExclusiveOrNet(steps=0), ExclusiveOrNet(steps=0))
    assert RowSimilarity().compute(found, CTX).value == pytest.approx(1)
    assert RowSimilarity(pairs="shuffled").compute(found, CTX).value < 0.2
    assert CosineTest(of="p", permutations=99).compute(found, CTX).value == 0.01
    test = CosineTest().compute(found, CTX)
    assert test.extras["cosine"] == pytest.approx(1)
    assert test.value == pytest.approx(1 - test.extras["permuted_mean"])
    assert MappedOutputs(of="agreement").compute(found, CTX).value == 1
    assert MappedSurface().compute(found, CTX).value == pytest.approx(MappedSurface().compute(found, CTX).extras["own_jump"])


def test_an_affine_function_more_is_beyond_a_matrix_and_not_beyond_a_constant(planar: Any) -> None:
    found = planar(ExclusiveOrNet(steps=0), ExclusiveOrNet(steps=0))
    more = torch.tensor([3.0, -2.0, 5.0], dtype=torch.float64)
    moved = replace(found.target, train=found.target.train + more, test=found.target.test + more)
    found = replace(found, target=moved, kept={})
    left = {rows: predicted(found, *found.pair("test"), "fit", rows)[0] - moved.test for rows in ("biased", "scaled")}  # type: ignore[arg-type]
    assert left["biased"].abs().max() > 0.1
    assert left["scaled"].abs().max() < 1e-12


def test_rows_that_are_all_the_same_say_nothing_of_pairs(planar: Any) -> None:
    found = planar(ExclusiveOrNet(steps=0), ExclusiveOrNet(steps=0))
    flat = {split: getattr(found.maps, split)[:, :1].expand_as(getattr(found.maps, split)) for split in ("train", "test")}
    same = replace(found, maps=replace(found.maps, **flat), target=replace(found.maps, **flat), kept={})
    assert CosineTest(of="p", permutations=99).compute(same, CTX).value == 1


def test_the_square_is_even_and_the_networks_learn_its_corners(planar: Any) -> None:
    train, test = SQUARE.split("train", CTX), SQUARE.split("test", CTX)
    assert (len(train.inputs), len(test.inputs)) == (441, 400)
    assert test.targets is not None
    assert test.targets.mean() == 0.5
    model = ExclusiveOrNet(hidden=20)
    found = planar(LocalOracle(), model)
    corners = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(model.module(corners)[:, 0], torch.tensor([-1.0, 1, 1, -1]).double(), rtol=0, atol=1e-3)
    # A source of three maps predicts at most three.
    rows = predicted(found, *found.pair("test"), "fit", "biased")[0][0].numpy()
    assert len(np.unique(rows.round(9), axis=0)) == 3
    with pytest.raises(InvalidInput, match="2 inputs"):
        ExclusiveOrNet().build(DataSpec(shape=(3,), low=0, high=1, classes=2), CTX)


def test_jumps_of_a_step_are_its_height_and_those_of_a_bend_vanish() -> None:
    for side in (10, 100):
        line = torch.linspace(-1, 1, side, dtype=torch.float64)
        z = torch.stack(torch.meshgrid(line, line, indexing="ij"), 2).reshape(-1, 2)
        right = (z[:, :1] > 0.0).double()
        zero = torch.zeros_like(right)
        step, bend = torch.cat([zero, zero, 3 * right], 1), torch.cat([2 * right, zero, zero], 1)
        assert jump(step, z, side) == pytest.approx(3)
        assert jump(bend, z, side) <= 2 / side
        assert jump(torch.ones_like(step), z, side) == 0


def test_pruned_networks_hold_what_there_is_room_for(planar: Any) -> None:
    model = ImageNetwork(widths=(7,), epochs=0)
    model.build(SQUARE.spec(), CTX)
    linear = [part for part in pruned(model.module, 20)[0].modules() if isinstance(part, nn.Linear)]
    weights = torch.cat([part.weight.flatten() for part in linear])
    assert int((weights != 0).sum()) == 20 - sum(part.bias.numel() for part in linear)
    full = torch.cat([part.weight.flatten() for part in model.module.modules() if isinstance(part, nn.Linear)]).abs()
    assert full[weights == 0].max() <= full[weights != 0].min()
    found = planar(ImageNetwork(widths=(7,), epochs=0), LocalOracle())
    assert PrunedNetwork(of="numbers").compute(found, CTX).value == 7 * 2 + 7 + 2 * 7 + 2
    whole = PrunedNetwork(k=1000, of="fidelity").compute(found, CTX)
    assert (whole.value, whole.extras["numbers"], whole.unranked) == (1, 37, None)
    # Offsets alone, 7 + 2, are more than the 2 * 3 numbers of one centre for each output.
    none = PrunedNetwork(k=1).compute(found, CTX)
    assert none.extras["numbers"] == 9
    assert none.unranked == "9 numbers are left where there is room for 6"
    with pytest.raises(NotApplicable, match="single network"):
        PrunedNetwork().compute(planar(LocalOracle(), LocalOracle()), CTX)


def test_three_maps_need_three_centres(planar: Any) -> None:
    found = planar(LocalOracle(), LocalOracle())
    needed = CentresNeeded(share=1.0, of="fidelity", ks=(1, 2, 3, 50), starts=5).compute(found, CTX)
    assert (needed.value, needed.extras["enough"], needed.unranked) == (3, True, None)
    short = CentresNeeded(share=1.0, of="fidelity", ks=(1,)).compute(found, CTX)
    assert short.unranked == "1 centres are not enough"


def test_a_pass_has_every_row_once_but_a_last_one_alone() -> None:
    descent = Descent(lr=0.1, momentum=0.0, weight_decay=0.0, batch_size=4)
    rows = torch.cat(descent.batches(11, torch.Generator().manual_seed(0)))
    assert sorted(rows.tolist()) == list(range(11))
    assert [len(part) for part in descent.batches(9)] == [4, 4]
    assert [len(part) for part in descent.batches(1)] == [1]
    # Least squares in one number: each step takes the share lr of the way to the mean.
    at = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    steps = descent.steps([at], lambda part: (at - 1).square().sum() / 2, count=8, steps=3, shuffle=torch.Generator())
    assert [step for step, _ in steps] == [1, 2, 3]
    assert float(at.detach()) == pytest.approx(1 - 0.9**3)
