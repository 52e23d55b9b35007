# SPDX-License-Identifier: Apache-2.0
"""The protocol: whose adversarial images, and an attacker who knows the detector."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from linear_map_cases import CTX, SPEC, Blobs, Lab, Notes, Shift, Toy, roles
from linear_map_protocol import auroc, evidence
from lipbench_basics.attacks import FGSM, PGD, AdaptivePGD, CarliniWagnerL2, Transfer, Victim
from lipbench_linear_map.features import MagnitudeSpectrum
from lipbench_linear_map.views import VAL, embed, labelled
from torch import Tensor

from lipbench.api import Network, NotApplicable

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
