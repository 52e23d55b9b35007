# SPDX-License-Identifier: Apache-2.0
"""Losses: identities, conventions, agreement with deel-torchlip."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_lipschitz_networks.losses import (
    evaluate,
    hinge,
    hkr,
    kr,
    kr_multiclass,
    make_loss,
    margins,
    right,
    signs,
    to_torchlip,
)

from lipbench.api import InvalidInput


def _batch(seed: int = 0, rows: int = 12, outputs: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(rows, outputs, generator=g), torch.arange(rows) % max(2, outputs)


def test_class_0_is_positive() -> None:
    assert signs(torch.tensor([0, 1])).tolist() == [1, -1]
    assert float(kr(torch.tensor([3.0, 1.0]), torch.tensor([1.0, -1.0]))) == 2
    assert right(torch.tensor([[0.0], [0.0]]), torch.tensor([0, 1])).tolist() == [True, False]


@given(st.floats(0.01, 100), st.floats(0.01, 3), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_hkr_is_that_of_deel_torchlip_in_other_parameters(alpha: float, margin: float, seed: int) -> None:
    f, y = _batch(seed)
    theirs_alpha, theirs_margin = to_torchlip(alpha, margin)
    ours = make_loss("hkr", alpha, margin)(f, y)
    theirs = make_loss("hkr_torchlip", theirs_alpha, theirs_margin)(f, y)
    assert float(ours) == pytest.approx((1 + alpha) * float(theirs), rel=1e-4, abs=1e-5)


def test_hkr_is_kr_and_hinge() -> None:
    f, y = _batch()
    f, s = f[:, 0], signs(y)
    assert float(hkr(f, s, 10, 0.3)) == pytest.approx(float(-kr(f, s) + 10 * hinge(f, s, 0.3)))
    assert float(hkr(f, s, 0, 0.3)) == float(-kr(f, s))
    assert float(hkr(f, s, math.inf, 0.3)) == float(hinge(f, s, 0.3))
    assert to_torchlip(math.inf, 0.5) == (1.0, 1.0)


def test_kr_and_hinge_are_those_of_deel_torchlip() -> None:
    from deel.torchlip import functional

    f, y = _batch(rows=9)  # classes of unequal size
    s = signs(y)
    assert float(kr(f[:, 0], s)) == pytest.approx(float(functional.kr_loss(f, s[:, None]).mean()), abs=1e-6)
    theirs = functional.hinge_margin_loss(f, s[:, None], 2 * 0.4).mean()
    assert float(hinge(f[:, 0], s, 0.4)) == pytest.approx(float(theirs), abs=1e-6)


def test_multiclass_kr_is_that_of_deel_torchlip_and_of_each_class() -> None:
    from deel.torchlip import functional

    f, y = _batch(rows=12, outputs=4)
    theirs = functional.kr_loss(f, F.one_hot(y, 4)).mean()
    each = [float(kr(f[:, c], torch.where(y == c, 1.0, -1.0))) for c in range(4)]
    assert float(kr_multiclass(f, y)) == pytest.approx(float(theirs), abs=1e-6)
    assert float(kr_multiclass(f, y)) == pytest.approx(sum(each) / 4, abs=1e-6)


def test_multiclass_conventions_differ() -> None:
    f, y = _batch(rows=12, outputs=4)
    value = float(make_loss("hkr_multiclass", 5, 0.5)(f, y))
    found = evaluate(f, y, 0.5)
    assert value == pytest.approx(found["hinge"] - found["kr"] / 5, abs=1e-6)
    theirs = float(make_loss("hkr_multiclass_torchlip", 0.5, 1.0)(f, y))
    # Its hinge counts the own class once for each of the others.
    own = F.one_hot(y, 4).bool()
    terms = F.relu(0.5 - torch.where(own, 1.0, -1.0) * f)
    assert theirs == pytest.approx(float(0.5 * torch.where(own, 3 * terms, terms).mean() - 0.5 * found["kr"]), abs=1e-5)


def test_cross_entropy_of_one_logit_is_the_binary_one() -> None:
    f, y = _batch()
    theirs = F.binary_cross_entropy_with_logits(f[:, 0], 1.0 - y.float())
    assert float(make_loss("cross_entropy", 1, 1)(f, y)) == pytest.approx(float(theirs), abs=1e-6)


def test_a_batch_without_a_class_is_finite() -> None:
    f = torch.randn(4, 3)
    assert math.isfinite(float(make_loss("hkr_multiclass", 5, 0.5)(f, torch.zeros(4, dtype=torch.int64))))


def test_margins_are_distances_to_another_answer() -> None:
    f = torch.tensor([[0.5], [-0.2]])
    assert margins(f, torch.tensor([0, 0])).tolist() == pytest.approx([0.5, -0.2])
    several = torch.tensor([[3.0, 1.0, 0.0]])
    assert margins(several, torch.tensor([0])).tolist() == pytest.approx([2 / math.sqrt(2)])
    assert margins(several, torch.tensor([2])).tolist() == pytest.approx([-3 / math.sqrt(2)])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        make_loss("hkr_torchlip", 10, 1)
    with pytest.raises(InvalidInput, match="positive"):
        make_loss("hkr_multiclass", 0, 1)
    with pytest.raises(InvalidInput, match="outputs: 1"):
        make_loss("hkr", 10, 1)(torch.zeros(2, 3), torch.tensor([0, 1]))
