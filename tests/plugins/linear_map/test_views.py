# SPDX-License-Identifier: Apache-2.0
"""Parts of the images, and what one network makes of them: embeddings, noise of the same size, sizes, controls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_map_cases import CLASSES, CTX, KINDS, SPEC, Blobs, Notes, Shift, Toy, normal
from lipbench_basics.attacks import FGSM, Attack, Victim
from lipbench_linear_map import views as views_module
from lipbench_linear_map.task import LinearMapDetection
from lipbench_linear_map.views import MAP, SVM, VAL, embed, labelled, noisy, partition, perturbation, pixel_control, quantised
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput, Network

BYTES = DataSpec(shape=(1, 5, 5), low=0.0, high=255.0, unit=255.0, classes=3)
SHIFTED = DataSpec(shape=(1, 5, 5), low=-1.0, high=1.0, unit=2.0)


def views(
    network: Network, attack: Attack, data: Blobs | None = None, ctx: Context = CTX, quantise: int | None = None,
    victim: Network | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    task = LinearMapDetection(quantise=quantise)
    return dict(task.views(network, victim or network, data or Blobs(), attack, ctx))


def pictures(spec: DataSpec, count: int = 20) -> Tensor:
    rng = np.random.default_rng(3)
    return torch.from_numpy(rng.uniform(spec.low, spec.high, (count, *spec.shape)).astype(np.float32))


# Parts.


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(3, 20), min_size=1, max_size=6), seed=st.integers(0, 1000))
def test_parts_are_equal_and_hold_each_class_alike(counts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)) * 2, counts))
    part = partition(labels, None, rng)
    assert np.ptp(np.bincount(part, minlength=3)) <= 1
    for label in np.unique(labels):
        found = np.bincount(part[labels == label], minlength=3)
        assert len(found) == 3
        assert np.ptp(found) <= 1


@settings(max_examples=40, deadline=None)
@given(groups=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2)), min_size=12, max_size=40), seed=st.integers(0, 1000))
def test_images_of_one_id_are_never_divided(groups: list[tuple[int, int]], seed: int) -> None:
    groups = [*groups, *((2, label) for label in (0, 1, 2) for _ in range(3))]
    rng = np.random.default_rng(seed)
    order = rng.permutation(sum(size for size, _ in groups))
    ids = np.concatenate([[f"image {k}"] * size for k, (size, _) in enumerate(groups)])[order]
    labels = np.concatenate([[label] * size for size, label in groups])[order]
    part = partition(labels, ids, rng)
    assert set(part) == {MAP, SVM, VAL}
    for name in np.unique(ids):
        assert len(set(part[ids == name])) == 1


def test_different_ids_change_nothing_and_the_seed_does() -> None:
    labels = np.arange(60) % CLASSES
    plain = partition(labels, None, np.random.default_rng(0))
    assert np.array_equal(partition(labels, np.arange(60) + 5, np.random.default_rng(0)), plain)
    assert not np.array_equal(partition(labels, None, np.random.default_rng(1)), plain)


def test_a_class_that_does_not_reach_every_part_is_named() -> None:
    labels = np.array([0] * 9 + [4] * 2)
    with pytest.raises(InvalidInput, match=r"^class 4 has 2 test images, and each of the three parts needs one; use more") as e:
        partition(labels, None, np.random.default_rng(0))
    assert "\n" not in str(e.value)
    with pytest.raises(InvalidInput, match="class 0 has 2 test images"):
        views(Toy(), Shift(), Blobs(count=6))


@pytest.mark.parametrize(
    ("labels", "ids"),
    [([0] * 9, [0] * 9), ([0] * 9, [0] * 5 + [1] * 4), ([0] * 9 + [1] * 3, [*range(9), 9, 9, 9])],
    ids=["one id", "two ids", "one id in a class"],
)
def test_a_class_whose_images_share_too_few_ids_is_named(labels: list[int], ids: list[int]) -> None:
    with pytest.raises(InvalidInput, match="each of the three parts needs one; use more") as caught:
        partition(np.array(labels), np.array(ids), np.random.default_rng(0))
    assert "\n" not in str(caught.value)


def test_all_networks_and_attacks_see_the_same_parts_and_order() -> None:
    first = views(Toy(), Shift())
    second = views(Toy(width=5, seed=4), FGSM(eps=0.2))
    for name in ("part", "order", "labels"):
        assert torch.equal(first[name], second[name])
    other = views(Toy(), Shift(), ctx=Context(scope="test", seed=1))
    assert not torch.equal(first["part"], other["part"])
    assert not torch.equal(first["order"], other["order"])
    assert sorted(first["order"].tolist()) == list(range(90))


def test_repeated_ids_of_the_dataset_share_a_part_and_reach_the_attack() -> None:
    ids = np.repeat(np.arange(30), 3)
    attack = Shift()
    found = views(Toy(), attack, Blobs(ids=ids))
    assert bool((found["part"].reshape(30, 3) == found["part"].reshape(30, 3)[:, :1]).all())
    assert np.array_equal(np.concatenate([asked for _, asked in attack.asked]), ids)
    unnamed = Shift()
    views(Toy(), unnamed)
    assert np.array_equal(unnamed.asked[0][1], np.arange(90))


# Noise, levels, sizes.


@pytest.mark.parametrize("spec", [SPEC, BYTES, SHIFTED])
def test_the_noise_control_has_exactly_the_budget_before_it_is_clipped(spec: DataSpec) -> None:
    middle = torch.full((50, *spec.shape), (spec.low + spec.high) / 2)
    moved = noisy(middle, middle, spec, 0.125, CTX) - middle
    assert torch.equal(moved.abs(), torch.full_like(moved, 0.125 * spec.unit))
    assert abs(float(moved.sign().mean())) < 0.1, "a fair coin"
    x = pictures(spec)
    found = noisy(x, x, spec, 0.125, CTX)
    assert float(found.min()) == spec.low
    assert float(found.max()) == spec.high
    inside = (found > spec.low) & (found < spec.high)
    torch.testing.assert_close((found - x)[inside].abs(), torch.full_like(x[inside], 0.125 * spec.unit), rtol=1e-5, atol=0)
    assert torch.equal(found, noisy(x, x, spec, 0.125, CTX))
    assert not torch.equal(found, noisy(x, x, spec, 0.125, Context(scope="test", seed=1)))


@pytest.mark.parametrize("spec", [SPEC, BYTES])
def test_an_attack_without_budget_is_matched_in_its_l2_norm_image_by_image(spec: DataSpec) -> None:
    x = pictures(spec) * 0.2 + 0.4 * spec.high
    adversarial = x + 0.02 * spec.unit * normal(20, *spec.shape).float() * torch.linspace(0, 1, 20).view(-1, 1, 1, 1)
    moved = (noisy(x, adversarial, spec, None, CTX) - x).flatten(1)
    wanted = (adversarial - x).flatten(1).norm(dim=1)
    torch.testing.assert_close(moved.norm(dim=1), wanted, rtol=1e-4, atol=1e-6 * spec.unit)
    spread = moved.abs()
    torch.testing.assert_close(spread, spread[:, :1].expand_as(spread), rtol=1e-3, atol=1e-5 * spec.unit)


@pytest.mark.parametrize(("spec", "levels"), [(SPEC, 16), (SPEC, 255), (BYTES, 255), (BYTES, 16), (SHIFTED, 7)])
def test_quantised_values_are_the_nearest_levels(spec: DataSpec, levels: int) -> None:
    x = pictures(spec)
    found = quantised(x, levels, spec)
    steps = (found.double() - spec.low) / spec.unit * levels
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
    assert float((found - x).abs().max()) <= spec.unit / levels / 2 * (1 + 1e-4)
    assert float(found.min()) >= spec.low
    assert float(found.max()) <= spec.high
    assert torch.equal(quantised(found, levels, spec), found)
    assert quantised(x, None, spec) is x


def test_quantise_rounds_adversarial_and_noisy_images_and_leaves_originals() -> None:
    network = Toy()
    plain, rounded = views(network, FGSM(eps=0.1)), views(network, FGSM(eps=0.1), quantise=4)
    assert torch.equal(plain["clean"], rounded["clean"])
    assert not torch.equal(plain["adversarial"], rounded["adversarial"])
    x, y = labelled(Blobs().split("test", CTX))
    victim = Victim(embed=network.at("embedding"), head=network.head(), spec=SPEC)
    crafted = (FGSM(eps=0.1).craft(victim, x, y, CTX) * 4).round() / 4
    assert torch.equal(embed(network, crafted, "cpu")[0], rounded["adversarial"])
    torch.testing.assert_close(rounded["linf"], (crafted - x).double().flatten(1).abs().amax(1))
    assert not torch.equal(rounded["noise"], plain["noise"])


@pytest.mark.parametrize("spec", [SPEC, BYTES])
def test_perturbations_are_measured_in_unit_pixels(spec: DataSpec) -> None:
    x = torch.zeros((2, *spec.shape))
    moved = x.clone()
    moved[0, 0, 0, :3] = torch.tensor([0.1, -0.2, 0.05]) * spec.unit
    found = perturbation(x, moved, spec)
    expected = {"linf": [0.2, 0.0], "l2": [0.0525**0.5, 0.0], "mse": [0.0525 / 25, 0.0]}
    for name, values in expected.items():
        assert found[name].dtype == torch.float64
        torch.testing.assert_close(found[name], torch.tensor(values, dtype=torch.float64), rtol=1e-6, atol=0)


def test_without_clipping_fgsm_has_the_closed_form_size() -> None:
    found = views(Toy(), FGSM(eps=0.125, clip=False))
    torch.testing.assert_close(found["linf"], torch.full((90,), 0.125, dtype=torch.float64), rtol=1e-6, atol=0)
    assert float(found["mse"].max()) <= 0.125**2 * (1 + 1e-6)
    clipped = views(Toy(), FGSM(eps=0.125))
    assert float(clipped["linf"].max()) <= 0.125 * (1 + 1e-6)
    assert float(clipped["mse"].mean()) < float(found["mse"].mean())


# Embeddings.


def test_views_are_the_network_at_its_embedding() -> None:
    network, attack = Toy(), Shift(budget=0.1)
    found = views(network, attack)
    x, y = labelled(Blobs().split("test", CTX))
    body = network.at("embedding")
    with torch.inference_mode():
        assert torch.equal(found["clean"], body(x))
        crafted = attack.craft(attack.asked[0][0], x, y, CTX)
        assert torch.equal(found["adversarial"], body(crafted))
        assert torch.equal(found["guess_clean"], network.module(x).argmax(1))
        assert torch.equal(found["guess_adversarial"], network.module(crafted).argmax(1))
    assert torch.equal(found["labels"], y)
    for kind in KINDS:
        assert found[kind].shape == (90, 8)
        assert found[kind].dtype == torch.float32
    again = views(Toy(), Shift(budget=0.1))
    assert again.keys() == found.keys()
    assert all(torch.equal(again[name], found[name]) for name in found)


def test_small_blocks_change_nothing_but_the_draw_of_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = views(Toy(), FGSM(eps=0.125))
    monkeypatch.setattr(views_module, "_BLOCK", 7 * 25)
    attack = Shift()
    views(Toy(), attack)
    assert [len(ids) for _, ids in attack.asked] == [7] * 12 + [6]
    parts = views(Toy(), FGSM(eps=0.125))
    for name in whole.keys() - {"noise", "guess_noise"}:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-5, atol=1e-5)


def test_each_image_goes_three_times_through_the_network_and_the_weights_stay() -> None:
    network, rows = Toy(), 0

    def count(_module: nn.Module, args: tuple[Tensor], _result: Tensor) -> None:
        nonlocal rows
        rows += len(args[0])

    network.module[1].register_forward_hook(count)
    before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    views(network, Shift())
    assert rows == 3 * 90
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.module.state_dict().items())


def test_the_victim_is_on_the_device_of_the_context_before_it_is_attacked() -> None:
    """The network and the victim come as two objects, even where they are the same network."""
    victim = Notes()
    views(Notes(), FGSM(eps=0.1), victim=victim)
    assert victim.events[0] == "to"
    assert "forward" in victim.events


class Unflat(Network):
    def __init__(self) -> None:
        self.build(SPEC, CTX)

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(3, 2))


def test_what_cannot_be_viewed_is_refused_in_a_sentence() -> None:
    with pytest.raises(InvalidInput, match=r"Unflat: an embedding of shape \(2, 3, 3\) is no vector"):
        views(Unflat(), Shift())
    with pytest.raises(InvalidInput, match="attacks need classes, and this data has none; use a dataset with labels"):
        views(Toy(), Shift(), Blobs(labelled=False))


# Controls without a network.


def test_the_detector_on_pixels_is_scikit_learns_on_the_svm_part() -> None:
    found = views(Toy(), FGSM(eps=0.125))
    x, y = labelled(Blobs().split("test", CTX))
    network = Toy()
    crafted = FGSM(eps=0.125).craft(Victim(embed=network.at("embedding"), head=network.head(), spec=SPEC), x, y, CTX)
    part = found["part"]
    pipeline = make_pipeline(StandardScaler(), LinearSVC(max_iter=20_000, dual=False, random_state=0))
    train = torch.cat([x[part == SVM], crafted[part == SVM]]).flatten(1).double().numpy()
    pipeline.fit(train, np.repeat([0, 1], 30))
    for kind, rows in (("clean", x), ("adversarial", crafted)):
        expected = pipeline.decision_function(rows[part == VAL].flatten(1).double().numpy())
        np.testing.assert_allclose(found[f"pixel_{kind}"].numpy(), expected, rtol=0, atol=1e-6)
        zeros = -(rows[part == VAL] == 0).flatten(1).sum(1)
        assert torch.equal(found[f"zeros_{kind}"], zeros.double())
    truth = np.repeat([0, 1], 30)
    assert roc_auc_score(truth, torch.cat([found["zeros_clean"], found["zeros_adversarial"]]).numpy()) > 0.3


def test_large_images_have_no_detector_on_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views_module, "_MOST_PIXELS", 24)
    found = views(Toy(), Shift())
    assert found["pixel_clean"].shape == found["pixel_adversarial"].shape == (0,)
    assert found["zeros_clean"].shape == (30,)


def test_the_detector_on_pixels_never_learns_from_map_and_val_rows() -> None:
    part = torch.from_numpy(np.arange(60) % 3)
    flat = {"clean": normal(60, 4), "adversarial": normal(60, 4, seed=1) + 0.5}
    wild = {kind: torch.where(part[:, None] == MAP, 1e6, t) for kind, t in flat.items()}
    for kind, expected in pixel_control(flat, part).items():
        assert torch.equal(pixel_control(wild, part)[kind], expected)
    far = {kind: torch.where((part == VAL)[:, None], 2 * t, t) for kind, t in flat.items()}
    twice, once = pixel_control(far, part)["pixel_clean"], pixel_control(flat, part)["pixel_clean"]
    zero = pixel_control({kind: torch.where((part == VAL)[:, None], 0 * t, t) for kind, t in flat.items()}, part)
    torch.testing.assert_close(twice, 2 * once - zero["pixel_clean"], rtol=0, atol=1e-12)


def test_noise_beside_an_attack_without_budget_has_its_length_at_the_border_too() -> None:
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(50, 1, 5, 5, generator=generator) - 0.3).clamp(0, 1) * 255
    crafted = (x + 40 * torch.randn(x.shape, generator=generator)).clamp(0, 255)
    noise = noisy(x, crafted, BYTES, None, CTX)
    assert float(noise.min()) >= 0
    assert float(noise.max()) <= 255
    lengths = [(t - x).flatten(1).norm(dim=1) for t in (noise, crafted)]
    torch.testing.assert_close(*lengths, rtol=1e-4, atol=1e-3)
