# SPDX-License-Identifier: Apache-2.0
"""Local affine maps: they rebuild the network, and clusters and maps of them obey what is known in closed form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lipbench_basics.datasets.digits import Digits
from lipbench_relu_geometry.local.clusters import ClusteredOutputs, OriginalAccuracy, kmeans
from lipbench_relu_geometry.local.mapping import MappedOutputs, solve
from lipbench_relu_geometry.local.networks import ImageNetwork
from lipbench_relu_geometry.local.redundancy import RowRedundancy
from lipbench_relu_geometry.local.rows import applied, local_rows
from lipbench_relu_geometry.local.task import Local, LocallyLinear, NoTarget
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput, Model, NotApplicable

CTX = Context(scope="local maps")
FLAT = DataSpec(shape=(6,), low=-1.0, high=1.0, classes=3)
IMAGE = DataSpec(shape=(1, 8, 8), low=0.0, high=1.0, classes=3)


def built(model: Any, spec: DataSpec = FLAT) -> nn.Module:
    model.build(spec, CTX)
    return model.module.double().eval()  # type: ignore[no-any-return]


def points(spec: DataSpec, count: int = 40, seed: int = 0) -> Tensor:
    return torch.randn(count, *spec.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows_of(module: nn.Module, x: Tensor, mean: float = 0.0, scale: float = 1.0, batch: int = 16) -> Tensor:
    return local_rows(module, x, mean=mean, scale=scale, batch=batch)[0]


NETS = {
    "dense": (ImageNetwork(widths=(9,)), FLAT),
    "batch norm": (ImageNetwork(widths=(7, 5, 6), batch_norm=True), FLAT),
    "residual": (ImageNetwork(kind="resnet18", width=0.05), IMAGE),
    "inception": (ImageNetwork(kind="googlenet", width=0.03), IMAGE),
    "convolutions": (ImageNetwork(kind="conv", widths=(3, 4, 8)), IMAGE),
}


@pytest.mark.parametrize("name", NETS)
def test_maps_rebuild_the_network_and_are_its_jacobian(name: str) -> None:
    model, spec = NETS[name]
    module, x = built(model, spec), points(spec)
    rows, outputs = local_rows(module, x, mean=0.3, scale=1.7, batch=16)
    z = (x.flatten(1) - 0.3) / 1.7
    torch.testing.assert_close(applied(rows, z), module(x), rtol=0, atol=1e-13)
    torch.testing.assert_close(outputs, module(x), rtol=0, atol=0)
    exact = torch.func.vmap(torch.func.jacrev(lambda p: module(p[None])[0]))(x).flatten(2)
    torch.testing.assert_close(rows[:, :, :-1].transpose(0, 1), 1.7 * exact, rtol=0, atol=1e-13)


def test_permuted_and_rescaled_units_leave_the_maps_as_they_are() -> None:
    module, x = built(ImageNetwork(widths=(9,))), points(FLAT)
    before = rows_of(module, x)
    first, last = (part for part in module if isinstance(part, nn.Linear))
    order, gain = torch.randperm(9, generator=torch.Generator().manual_seed(1)), torch.linspace(0.5, 3, 9, dtype=torch.float64)
    with torch.no_grad():
        first.weight.copy_((gain[:, None] * first.weight)[order])
        first.bias.copy_((gain * first.bias)[order])
        last.weight.copy_((last.weight / gain)[:, order])
    torch.testing.assert_close(rows_of(module, x), before, rtol=0, atol=1e-14)


def test_the_mean_map_of_one_hidden_layer_is_that_of_the_mean_mask() -> None:
    module, x = built(ImageNetwork(widths=(9,))), points(FLAT)
    first, last = (part for part in module if isinstance(part, nn.Linear))
    inner = module[0](x)
    mask = (first(inner) > 0).double().mean(0)
    weight = (last.weight * mask) @ first.weight * module[0].scale
    bias = last.weight @ (mask * first.bias) + last.bias + (last.weight * mask) @ first.weight @ module[0].shift.expand(6)
    torch.testing.assert_close(rows_of(module, x).mean(1), torch.cat([weight, bias[:, None]], 1), rtol=0, atol=1e-14)


def test_rank_of_one_hidden_layer_is_at_most_its_units_and_one() -> None:
    module, spec = built(ImageNetwork(widths=(4,)), IMAGE), IMAGE
    rows = rows_of(module, points(spec, 300))
    assert [int(torch.linalg.matrix_rank(r)) for r in rows] == [5, 5, 5]


class Smooth(nn.Module):
    """A smooth function between layers that are piecewise affine."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 9), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.gelu(self.first(x)))  # type: ignore[no-any-return]


def test_what_has_no_local_maps_is_refused() -> None:
    x = points(FLAT)
    with pytest.raises(NotApplicable, match="GELU is not known"):
        rows_of(nn.Sequential(nn.Linear(6, 3), nn.GELU()).double().eval(), x)
    with pytest.raises(NotApplicable, match="eval mode"):
        rows_of(nn.Sequential(nn.Linear(6, 3), nn.Dropout()).double(), x)
    with pytest.raises(NotApplicable, match="curved"):
        rows_of(Smooth().double().eval(), x)
    with pytest.raises(InvalidInput, match="3 numbers, not 1"):
        ImageNetwork(kind="conv", widths=(4,)).build(IMAGE, CTX)
    with pytest.raises(InvalidInput, match="nothing is left of 8 pixels"):
        ImageNetwork(kind="conv", kernel=7, padding=0).build(IMAGE, CTX)


def test_ties_go_to_the_first_and_a_unit_at_zero_is_off() -> None:
    pool = nn.Sequential(nn.MaxPool2d((1, 2)), nn.Flatten(), nn.Linear(2, 1)).double().eval()
    with torch.no_grad():
        pool[2].weight.fill_(1.0)  # type: ignore[operator,union-attr]
    equal = torch.full((1, 1, 1, 4), 0.7, dtype=torch.float64)
    assert rows_of(pool, equal)[0, 0, :-1].tolist() == [1, 0, 1, 0]
    relu = nn.Sequential(nn.ReLU(), nn.Linear(2, 1)).double().eval()
    with torch.no_grad():
        relu[1].weight.fill_(1.0)  # type: ignore[operator,union-attr]
    assert rows_of(relu, torch.tensor([[0.0, 1.0]], dtype=torch.float64))[0, 0, :-1].tolist() == [0, 1]


def test_a_linear_target_of_the_rows_is_found_exactly() -> None:
    x = points(DataSpec(shape=(7,), low=-1, high=1), 50)
    m, rank = solve(x, 3 * x)
    torch.testing.assert_close(m, 3 * torch.eye(7, dtype=torch.float64), rtol=0, atol=1e-12)
    assert rank == 7
    deficient = torch.cat([x, x[:, :2]], 1)
    m, rank = solve(deficient, x)
    assert rank == 7
    torch.testing.assert_close(m, torch.linalg.pinv(deficient) @ x, rtol=0, atol=1e-12)


def test_clusters_of_as_many_centres_as_rows_are_the_rows() -> None:
    rows = np.repeat(np.random.default_rng(0).normal(size=(12, 4)), 3, axis=0)
    labels, centres, inertia = kmeans(rows, 500, np.random.default_rng(0))
    assert len(centres) == 12
    np.testing.assert_allclose(centres[labels], rows, atol=1e-12)
    assert inertia == pytest.approx(0, abs=1e-18)
    cloud = np.random.default_rng(1).normal(size=(200, 3))
    one, best = (kmeans(cloud, 15, np.random.default_rng(0), starts=s)[2] for s in (1, 20))
    assert best < one
    _, middle, spread = kmeans(rows, 1, np.random.default_rng(0))
    np.testing.assert_allclose(middle[0], rows.mean(axis=0))
    assert spread == pytest.approx(((rows - rows.mean(axis=0)) ** 2).sum())


def test_no_centre_is_without_rows() -> None:
    rows = np.random.default_rng(0).normal(size=(10_001, 2))
    rows[2500:] = rows[2500:] * 1e-3 + [50.0, 0.0]
    labels, centres, _ = kmeans(rows, 2000, np.random.default_rng(0), starts=1)
    # In mini-batches: some of the 2,000 have no row and are not kept.
    assert len(centres) < 2000
    assert np.array_equal(np.unique(labels), np.arange(len(centres)))


def evidence(network: Model, target: Model) -> Local:
    data, task = Digits(image=True, test_fraction=0.278), LocallyLinear()
    for model in (network, target):
        model.build(data.spec(), CTX)
    maps, goal = (task.local_maps(m, data, CTX) for m in (network, target))
    return task.evidence(network, target, data, maps, goal, CTX)


@pytest.fixture(scope="module")
def pair() -> Local:
    return evidence(ImageNetwork(widths=(16,), epochs=0), ImageNetwork(widths=(16, 8), epochs=0))


@pytest.fixture(scope="module")
def twin() -> Local:
    return evidence(ImageNetwork(widths=(16,), epochs=0), ImageNetwork(widths=(16,), epochs=0))


def test_as_many_centres_as_training_rows_give_the_network_on_its_training_points(pair: Local) -> None:
    assert pair.maps is not None
    few = slice(200)
    rows, outputs = pair.maps.train[:, few], pair.maps.train_outputs[few]
    found = replace(
        pair,
        maps=replace(pair.maps, train=rows, test=rows, train_outputs=outputs, test_outputs=outputs),
        train=pair.train[few],
        test=pair.train[few],
        test_labels=pair.train_labels[few],
        kept={},
    )
    own = OriginalAccuracy().compute(found, CTX).value
    for assign in ("row", "input"):
        assert ClusteredOutputs(k=500, starts=1, assign=assign).compute(found, CTX).value == own
    assert ClusteredOutputs(k=500, starts=1, of="fidelity").compute(found, CTX).value == 1
    assert ClusteredOutputs(k=500, starts=1, of="inertia").compute(found, CTX).value == pytest.approx(0, abs=1e-18)


def test_a_network_mapped_to_itself_is_itself(twin: Local) -> None:
    original = OriginalAccuracy().compute(twin, CTX).value
    for kind in ("fit", "identity"):
        assert MappedOutputs(map=kind).compute(twin, CTX).value == original
        assert MappedOutputs(of="agreement", map=kind).compute(twin, CTX).value == 1
        assert MappedOutputs(of="gain", map=kind).compute(twin, CTX).value == 0
        assert MappedOutputs(of="r2", map=kind).compute(twin, CTX).value == pytest.approx(1)
        assert MappedOutputs(of="cosine", map=kind).compute(twin, CTX).value == pytest.approx(1)


def test_a_map_of_w_alone_is_judged_by_w_alone(twin: Local) -> None:
    assert twin.maps is not None
    # The target's w is a linear map of the source's; its offsets are large and belong to nothing.
    turn = torch.linalg.qr(points(DataSpec(shape=(64,), low=-1, high=1), 64))[0]
    changed = {}
    for split in ("train", "test"):
        rows = getattr(twin.maps, split)
        offsets = 1e3 * points(DataSpec(shape=(rows.shape[1],), low=-1, high=1), rows.shape[0], seed=len(split))
        changed[split] = torch.cat([rows[:, :, :-1] @ turn, offsets[:, :, None]], 2)
    found = replace(twin, target=replace(twin.maps, **changed), kept={})
    for of in ("r2", "r2_uniform"):
        assert MappedOutputs(of=of, rows="unbiased").compute(found, CTX).value == pytest.approx(1, abs=1e-6)  # type: ignore[arg-type]
        assert MappedOutputs(of=of).compute(found, CTX).value < 0.99  # type: ignore[arg-type]


def test_no_map_gives_the_source_whatever_the_target(pair: Local) -> None:
    assert MappedOutputs(map="identity").compute(pair, CTX).value == OriginalAccuracy().compute(pair, CTX).value
    assert MappedOutputs(of="gain", map="identity").compute(pair, CTX).value == 0
    # The target's mean row is the best of all constants on the training points, so its R2 on test points is about 0.
    assert MappedOutputs(of="r2", map="mean").compute(pair, CTX).value == pytest.approx(0, abs=0.02)
    fitted, shuffled = (MappedOutputs(of="r2", map=m).compute(pair, CTX).value for m in ("fit", "shuffled"))
    assert fitted > 0.2 > shuffled
    assert MappedOutputs(of="rank").compute(pair, CTX).value <= 17


def test_clusters_of_a_network_that_is_one_affine_map_are_that_map() -> None:
    network = ImageNetwork(widths=(16,), epochs=0)
    found = evidence(network, NoTarget())
    with torch.no_grad():
        hidden = next(part for part in network.module if isinstance(part, nn.Linear))
        hidden.bias.fill_(100.0)
    data, task = Digits(image=True, test_fraction=0.278), LocallyLinear()
    found = task.evidence(network, NoTarget(), data, task.local_maps(network, data, CTX), {"none": torch.zeros(1)}, CTX)
    assert RowRedundancy(of="rank").compute(found, CTX).value == 1
    for k in (1, 10):
        for assign in ("row", "input"):
            clustered = ClusteredOutputs(k=k, of="fidelity", assign=assign).compute(found, CTX)
            assert clustered.value == 1
    with pytest.raises(NotApplicable, match="second network"):
        MappedOutputs().compute(found, CTX)


def test_numbers_of_the_centres_are_counted(pair: Local) -> None:
    assert ClusteredOutputs(k=10, of="parameters").compute(pair, CTX).value == 10 * 10 * 65
    few, many = (ClusteredOutputs(k=k, of="inertia").compute(pair, CTX).value for k in (1, 100))
    assert many < few
