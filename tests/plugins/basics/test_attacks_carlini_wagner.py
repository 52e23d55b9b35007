# SPDX-License-Identifier: Apache-2.0
"""The attack of Carlini and Wagner, against the closed form on linear networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lipbench_basics.attacks import Victim
from lipbench_basics.attacks.carlini_wagner import CarliniWagnerL2
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput, NotFinite

pytest.importorskip("foolbox")
CTX = Context(scope="test", seed=0)


def linear(shift: float = 0.0, unit: float = 1.0) -> tuple[Victim, Tensor, Tensor, Tensor]:
    """A two-class network, rows well within the range, its guesses and its distances to the boundary in [0,1] units."""
    rng = np.random.default_rng(0)
    w, x = torch.from_numpy(rng.normal(size=20)), torch.from_numpy(rng.uniform(0.3, 0.7, (60, 20)))
    head = nn.Linear(20, 2).double()
    with torch.no_grad():
        head.weight.copy_(torch.stack([torch.zeros_like(w), w / unit]))
        head.bias.copy_(torch.stack([torch.zeros(()), -w.sum() / 2]) + shift)
    spec = DataSpec(shape=(20,), low=0.0, high=unit, unit=unit, classes=2)
    f = x @ w - w.sum() / 2
    return Victim(embed=nn.Identity(), head=head.eval(), spec=spec), x * unit, (f > 0).long(), f.abs() / w.norm()


def wrong(victim: Victim, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return victim.logits(x).argmax(1) != y


def test_the_change_is_never_below_the_distance_to_the_boundary_and_comes_near() -> None:
    victim, x, y, distance = linear()
    medians = []
    for attack in (CarliniWagnerL2(initial_const=10, steps=500), CarliniWagnerL2(initial_const=1, steps=50)):
        crafted = attack.craft(victim, x, y, CTX)
        ratio = (crafted - x).norm(dim=1) / distance
        assert wrong(victim, crafted, y).all()
        assert float(ratio.min()) >= 1
        medians.append(float(ratio.median()))
    assert 1.005 < medians[0] < 1.03
    assert medians[1] > medians[0] + 0.05


def test_a_search_for_the_weight_finds_nearer_inputs() -> None:
    victim, x, y, distance = linear()
    one, several = (
        CarliniWagnerL2(steps=60, initial_const=30, binary_search_steps=n).craft(victim, x[:20], y[:20], CTX) for n in (1, 5)
    )
    first, best = ((crafted - x[:20]).norm(dim=1) for crafted in (one, several))
    assert (best <= first).all()
    assert (best >= distance[:20]).all()
    assert float(best.mean()) < float(first.mean())


@pytest.mark.parametrize("shift", [10.0, -10.0])
def test_a_constant_added_to_all_logits_changes_nothing(shift: float) -> None:
    plain, x, y, _ = linear()
    moved, *_ = linear(shift)
    attack = CarliniWagnerL2(initial_const=10, steps=100)
    torch.testing.assert_close(attack.craft(plain, x, y, CTX), attack.craft(moved, x, y, CTX), rtol=0, atol=1e-9)


def test_a_row_that_resists_stays_as_it_was() -> None:
    victim, x, y, distance = linear()
    near = distance < distance.median()
    lines: list[str] = []
    weak = CarliniWagnerL2(initial_const=0.02, steps=100)
    crafted = weak.craft(victim, x, y, Context(scope="test", log=lines.append))
    moved = (crafted != x).any(1)
    assert 0 < int(moved.sum()) < len(x), "the weight is meant to suffice for some rows only"
    assert torch.equal(moved, wrong(victim, crafted, y))
    assert int(moved[near].sum()) > int(moved[~near].sum())
    assert lines == [f"CarliniWagnerL2: {int((~moved).sum())} of 60 rows are unchanged"]


def test_confidence_is_the_lead_of_the_wrong_logit() -> None:
    victim, x, y, _ = linear()
    crafted = CarliniWagnerL2(confidence=0.5, initial_const=10, steps=200).craft(victim, x, y, CTX)
    logits = victim.logits(crafted).detach()
    lead = (logits.gather(1, 1 - y[:, None]) - logits.gather(1, y[:, None]))[:, 0]
    assert float(lead.min()) >= 0.5
    assert float(lead.median()) < 0.7


def test_the_raw_unit_and_the_division_into_batches_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    attack = CarliniWagnerL2(steps=40)
    victim, x, y, _ = linear()
    crafted = attack.craft(victim, x, y, CTX)
    assert float(crafted.min()) >= 0
    assert float(crafted.max()) <= 1
    raw, raw_x, *_ = linear(unit=255.0)
    torch.testing.assert_close(attack.craft(raw, raw_x, y, CTX) / 255, crafted, rtol=0, atol=1e-9)
    monkeypatch.setattr("lipbench_basics.attacks.base._CHUNK_ROWS", 7)
    torch.testing.assert_close(attack.craft(victim, x, y, CTX), crafted, rtol=0, atol=1e-12)


def test_single_precision_stays_within_the_range_and_is_wrong_as_returned() -> None:
    victim, x, y, _ = linear(unit=255.0)
    victim.head.float()
    crafted = CarliniWagnerL2(initial_const=10, steps=100).craft(victim, x.float(), y, CTX)
    assert crafted.dtype == torch.float32
    assert wrong(victim, crafted, y).all()
    edge = torch.full((1, 20), 255.0)
    assert float(CarliniWagnerL2(steps=5).craft(victim, edge, torch.tensor([0]), CTX).max()) <= 255


def test_bad_inputs_are_told() -> None:
    victim, x, y, _ = linear()
    flat = Victim(embed=victim.embed, head=victim.head, spec=DataSpec(shape=(20,), low=0.5, high=0.5))
    with pytest.raises(InvalidInput, match="needs data with a range"):
        CarliniWagnerL2().craft(flat, torch.full_like(x, 0.5), y, CTX)
    with pytest.raises(InvalidInput, match="the network has 2 classes"):
        CarliniWagnerL2().craft(victim, x, y + 2, CTX)
    with torch.no_grad():
        victim.head.bias.fill_(torch.nan)
    with pytest.raises(NotFinite, match="infinite logit"):
        CarliniWagnerL2().craft(victim, x, y, CTX)
