# SPDX-License-Identifier: Apache-2.0
"""Networks that are trained together: each is what it is in any other stack, and nearly what it is alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from lip_cases import context, fitted, orthonormal_error, seen
from lipbench_basics.datasets.moons import TwoMoons
from lipbench_lipschitz_networks.datasets import ToySquares
from lipbench_lipschitz_networks.losses import make_loss, signs, terms, total
from lipbench_lipschitz_networks.metrics.duality import Kr
from lipbench_lipschitz_networks.metrics.steepness import ExportDifference, Orthogonality
from lipbench_lipschitz_networks.models.sweep import LipSweep

from lipbench.api import InvalidInput

MOONS = TwoMoons(count=60)
SMALL = {"hidden": (8, 4), "margin": 0.29, "batch_size": 16}


def swept(steps: int, members: tuple[tuple[str, float], ...], seeds: int = 1, **params: Any) -> Mapping[str, torch.Tensor]:
    """The state of all members."""
    sweep = LipSweep(members=members, seeds=seeds, steps=steps, **(SMALL | params))
    sweep.build(MOONS.spec(), context())
    sweep.fit(MOONS, context())
    return sweep.state()


def one(state: Mapping[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
    return {name.split(".", 1)[1]: t for name, t in state.items() if name.startswith(f"{index}.")}


@pytest.mark.parametrize("norm", ["bjorck", "spectral", "frobenius", "none"])
def test_who_else_is_in_the_stack_changes_nothing(norm: str) -> None:
    # As documented to the bit with MKL; otherwise a few steps differ by rounding.
    alone = one(swept(4, (("hkr", 10.0),), norm=norm), 0)
    among = swept(4, (("kr", 0.0), ("hkr", 10.0), ("hinge", 0.0)), seeds=2, norm=norm)
    other = one(among, 4)
    for name, tensor in one(among, 1).items():
        assert torch.allclose(tensor, alone[name], rtol=1e-4, atol=1e-5), name
    assert not torch.equal(other["net.1.bias"], alone["net.1.bias"]), "another seed is another network"


@pytest.mark.parametrize("seed", [0, 1])
def test_a_few_steps_are_those_of_a_network_alone(seed: int) -> None:
    state = one(swept(3, (("hkr", 10.0), ("kr", 0.0)), seeds=2, act="groupsort2"), 2 * seed)
    from lipbench_lipschitz_networks.models.mlp import LipMLP

    network = LipMLP(norm="bjorck", act="groupsort2", steps=3, alpha=10, **SMALL)
    network.build(MOONS.spec(), context(seed))
    network.fit(MOONS, context(seed))
    for name, tensor in network.state().items():
        assert torch.allclose(tensor, state[name], rtol=1e-4, atol=1e-5), name


def test_a_member_is_read_back_with_all_that_is_measured_of_it() -> None:
    data = ToySquares(size=8, count=8)
    params: dict[str, Any] = {
        "members": (("kr", 0.0), ("hkr", 1.0)),
        "seeds": 2,
        "hidden": (16, 8),
        "steps": 80,
        "sampling": "whole",
    }
    whole = LipSweep(**params)
    whole.build(data.spec(), context())
    whole.fit(data, context())
    member = LipSweep(**params, loss="kr")
    member.build(data.spec(), context(seed=1))
    member.load_state(whole.state())
    evidence = seen(member, data)
    share = Kr(relative=True).compute(evidence, context())
    assert 0.95 < share.value <= 1 + 1e-6
    assert float(member.curves["kr"][-1]) == pytest.approx(share.extras["kr"], abs=1e-5)
    assert Orthogonality().compute(evidence, context()).value < 1e-5
    assert ExportDifference().compute(evidence, context()).value < 1e-6


@pytest.mark.parametrize(("name", "alpha"), [("kr", 0), ("hinge", 0), ("hkr", 7), ("hkr_torchlip", 0.8), ("cross_entropy", 0)])
def test_the_losses_of_a_stack_are_those_of_its_members(name: Any, alpha: float) -> None:
    f = torch.randn(2, 20, generator=torch.Generator().manual_seed(0))
    y = torch.arange(20) % 2
    weights = torch.tensor([terms(name, alpha, 0.3), terms("kr", 0, 0.3)]).T
    found = total(f, signs(y).expand(2, -1), weights)
    assert float(found[0]) == pytest.approx(float(make_loss(name, alpha, 0.3)(f[0][:, None], y)), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"loss": "hkr", "alpha": 3.0}, "none of its members"),
        ({"members": (("kr", 0.0), ("kr", 1.0))}, "a loss twice"),
        ({"members": (("hkr_torchlip", 2.0),)}, "between 0 and 1"),
        ({"act": "groupsort2", "hidden": (7,)}, "must be even"),
    ],
)
def test_impossible_sweeps_are_refused(params: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        LipSweep(**params)


def test_a_seed_that_was_not_trained_is_refused() -> None:
    with pytest.raises(InvalidInput, match="seeds 0 to 1"):
        LipSweep(seeds=2).build(MOONS.spec(), context(seed=2))


def test_the_initial_kernels_of_the_source_keep_the_direction_of_their_mean() -> None:
    kernels = {
        init: fitted(MOONS, init=init, steps=0, hidden=(64, 32)).constrained[3].weight.detach()
        for init in ("uniform", "orthogonal")
    }
    # Uniform(0, 0.5) is nearly of rank one along equal entries, which Bjorck's iteration keeps as a singular direction.
    along = {init: float(W.sum()) / math.sqrt(W.numel()) for init, W in kernels.items()}
    assert along["uniform"] > 0.95
    assert abs(along["orthogonal"]) < 0.5
    assert orthonormal_error(kernels["uniform"]) < 1e-4
