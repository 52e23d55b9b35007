# SPDX-License-Identifier: Apache-2.0
"""Attacks along the sign of a gradient, against closed forms on linear networks and against foolbox's own loop."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lipbench_basics.attacks import Attack, Victim
from lipbench_basics.attacks.adaptive import AdaptivePGD
from lipbench_basics.attacks.control import RandomSign
from lipbench_basics.attacks.gradient import FGSM, PGD, Transfer
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput, NotApplicable, NotFinite

pytest.importorskip("foolbox")
CTX = Context(scope="test", seed=0)
BOX = DataSpec(shape=(20,), low=0.0, high=1.0, classes=2)


def linear_victim(w: Tensor, bias: float = 0.0, shift: float = 0.0, spec: DataSpec = BOX) -> Victim:
    """Two classes, the second has the logit w.x + bias more; both have `shift`."""
    head = nn.Linear(len(w), 2).to(w.dtype)
    with torch.no_grad():
        head.weight.copy_(torch.stack([torch.zeros_like(w), w]))
        head.bias.copy_(torch.tensor([shift, shift + bias]))
    return Victim(embed=nn.Flatten(), head=head.eval(), spec=spec)


def mlp_victim(
    shift: float = 0.0, classes: int = 4, spec: DataSpec = BOX, detector: Callable[[Tensor], Tensor] | None = None
) -> Victim:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        embed, head = nn.Sequential(nn.Linear(20, 32), nn.Tanh()).double(), nn.Linear(32, classes).double()
    with torch.no_grad():
        head.weight.mul_(4)
        head.bias.add_(shift)
    return Victim(embed=embed.eval(), head=head.eval(), spec=spec, detector=detector)


def rows(n: int = 12, dims: int = 20, low: float = 0.3, high: float = 0.7, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(low, high, (n, dims)))


def guesses(victim: Victim, x: Tensor) -> Tensor:
    with torch.no_grad():
        return victim.logits(x).argmax(1)


def true_margin(victim: Victim, x: Tensor, y: Tensor) -> Tensor:
    """Logit of the true class of two, less the other."""
    with torch.no_grad():
        logits = victim.logits(x)
    return (logits.gather(1, y[:, None]) - logits.gather(1, 1 - y[:, None]))[:, 0]


SIGN_ATTACKS: list[tuple[str, Callable[..., Attack]]] = [
    ("fgsm", FGSM),
    ("fgsm margin", lambda **kw: FGSM(loss="margin", **kw)),
    ("pgd", PGD),
    ("transfer", Transfer),
    ("adaptive", AdaptivePGD),
]
each_attack = pytest.mark.parametrize("make", [make for _, make in SIGN_ATTACKS], ids=[name for name, _ in SIGN_ATTACKS])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), eps=st.sampled_from([1e-3, 0.01, 0.125, 0.3]), loss=st.sampled_from(["ce", "margin"]))
def test_the_margin_of_a_linear_network_falls_by_eps_times_the_l1_norm(seed: int, eps: float, loss: str) -> None:
    w = torch.from_numpy(np.random.default_rng(seed).normal(size=20)) / 5
    victim, x = linear_victim(w, bias=0.1), rows(8, seed=seed)
    y = torch.arange(8) % 2
    for attack in (FGSM(eps=eps, loss=loss), PGD(eps=eps, loss=loss), PGD(eps=eps, loss=loss, random_start=False)):
        change = true_margin(victim, attack.craft(victim, x, y, CTX), y) - true_margin(victim, x, y)
        torch.testing.assert_close(change, (-eps * w.abs().sum()).expand(8), rtol=1e-12, atol=1e-14)


def test_one_step_of_pgd_from_the_input_is_fgsm_bit_for_bit() -> None:
    victim, x = mlp_victim(), rows(30, low=0.0, high=1.0)
    y = torch.arange(30) % 4
    fgsm = FGSM(eps=0.07).craft(victim, x, y, CTX)
    assert torch.equal(PGD(eps=0.07, steps=1, step=1.0, random_start=False).craft(victim, x, y, CTX), fgsm)
    assert torch.equal(Transfer(eps=0.07, steps=1).craft(victim, x, y, CTX), fgsm)
    x.requires_grad_(True)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(victim.logits(x), y, reduction="sum"), x)
    by_hand = (x + 0.07 * gradient.sign()).clamp(0, 1).detach()
    torch.testing.assert_close(fgsm, by_hand, rtol=0, atol=1e-16)


def test_pgd_without_a_random_start_is_foolbox_bit_for_bit() -> None:
    victim, x = mlp_victim(), rows(30, low=0.0, high=1.0)
    y = torch.arange(30) % 4
    ours = PGD(eps=0.07, steps=5, step=0.25, random_start=False).craft(victim, x, y, CTX)
    from foolbox import PyTorchModel
    from foolbox.attacks import LinfPGD

    network = nn.Sequential(victim.embed, victim.head).eval()
    theirs = LinfPGD(rel_stepsize=0.25, steps=5, random_start=False)
    assert torch.equal(ours, theirs.run(PyTorchModel(network, bounds=(0, 1)), x, y, epsilon=0.07))


def test_transfer_accumulates_gradients_over_their_l1_norm() -> None:
    victim, x = mlp_victim(), rows(10)
    y, eps, decay = torch.arange(10) % 4, 0.2, 0.9
    crafted = Transfer(eps=eps, steps=4, momentum=decay).craft(victim, x, y, CTX)
    at, velocity = x.clone(), torch.zeros_like(x)
    for _ in range(4):
        at.requires_grad_(True)
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(victim.logits(at), y, reduction="sum"), at)
        velocity = decay * velocity + gradient / gradient.abs().sum(1, keepdim=True)
        at = (at + eps / 4 * velocity.sign()).clamp(x - eps, x + eps).clamp(0, 1).detach()
    torch.testing.assert_close(crafted, at, rtol=0, atol=1e-14)


def test_attacks_say_on_what_they_are_made() -> None:
    assert [make().own for _, make in SIGN_ATTACKS] == [True, True, True, False, True]
    assert [make().adaptive for _, make in SIGN_ATTACKS] == [False, False, False, False, True]


def test_the_change_is_eps_everywhere_without_clipping_and_at_most_eps_with_it() -> None:
    victim, x = mlp_victim(), rows(20, low=0.0, high=1.0)
    y, eps = guesses(victim, x), 0.125
    for attack in (FGSM(eps=eps, clip=False), RandomSign(eps=eps, clip=False)):
        change = attack.craft(victim, x, y, CTX) - x
        torch.testing.assert_close(change.abs().amax(1), torch.full((20,), eps, dtype=x.dtype), rtol=1e-14, atol=0)
        torch.testing.assert_close(change.square().mean(), torch.tensor(eps**2, dtype=x.dtype), rtol=1e-13, atol=0)
    for clipped in (FGSM(eps=eps), PGD(eps=eps), Transfer(eps=eps), RandomSign(eps=eps)):
        crafted = clipped.craft(victim, x, y, CTX)
        assert float(crafted.min()) >= 0
        assert float(crafted.max()) <= 1
        assert float((crafted - x).abs().max()) <= eps * (1 + 1e-14)
        assert float((crafted - x).square().mean()) < eps**2


@each_attack
@pytest.mark.parametrize("shift", [10.0, -10.0])
def test_a_constant_added_to_all_logits_changes_nothing(make: Callable[..., Attack], shift: float) -> None:
    detector = torch.linspace(-1, 1, 32, dtype=torch.float64)
    plain, moved = mlp_victim(detector=lambda z: z @ detector), mlp_victim(shift, detector=lambda z: z @ detector)
    x = rows(12)
    y = guesses(plain, x)
    attack = make(eps=0.1)
    torch.testing.assert_close(attack.craft(plain, x, y, CTX), attack.craft(moved, x, y, CTX), rtol=0, atol=1e-14)


def test_a_saturated_softmax_stops_the_cross_entropy_and_not_the_margin() -> None:
    w = torch.full((20,), 1000.0)
    victim, x = linear_victim(w, bias=-5000.0), rows(6, low=0.6, high=0.8).float()
    y = torch.ones(6, dtype=torch.int64)
    lines: list[str] = []
    ctx = Context(scope="test", log=lines.append)
    assert torch.equal(FGSM(eps=0.1).craft(victim, x, y, ctx), x), "the gradient of a saturated softmax is 0"
    assert lines == ["FGSM: 6 of 6 rows are unchanged"]
    crafted = FGSM(eps=0.1, loss="margin").craft(victim, x, y, ctx)
    torch.testing.assert_close(crafted, x - 0.1)
    assert len(lines) == 1


@each_attack
def test_the_context_alone_decides(make: Callable[..., Attack]) -> None:
    detector = torch.linspace(-1, 1, 32, dtype=torch.float64)
    victim, x = mlp_victim(detector=lambda z: z @ detector), rows(12)
    y = guesses(victim, x)
    before = torch.random.get_rng_state()
    first = make(eps=0.1).craft(victim, x, y, CTX)
    torch.manual_seed(1)
    again = make(eps=0.1).craft(victim, x, y, CTX)
    torch.random.set_rng_state(before)
    assert torch.equal(first, again)


def test_a_random_start_depends_on_the_seed_and_leaves_the_global_generator_alone() -> None:
    victim, x = mlp_victim(), rows(12)
    y = guesses(victim, x)
    before = torch.random.get_rng_state()
    zero, one = (PGD(steps=1).craft(victim, x, y, Context(scope="test", seed=seed)) for seed in (0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert not torch.equal(zero, one)
    zero, one = (RandomSign().craft(victim, x, y, Context(scope="test", seed=seed)) for seed in (0, 1))
    assert not torch.equal(zero, one)


@each_attack
def test_rows_do_not_depend_on_how_they_are_divided(make: Callable[..., Attack], monkeypatch: pytest.MonkeyPatch) -> None:
    detector = torch.linspace(-1, 1, 32, dtype=torch.float64)
    victim, x = mlp_victim(detector=lambda z: z @ detector), rows(23)
    y = guesses(victim, x)
    whole = make(eps=0.1).craft(victim, x, y, CTX)
    monkeypatch.setattr("lipbench_basics.attacks.base._CHUNK_ROWS", 5)
    torch.testing.assert_close(make(eps=0.1).craft(victim, x, y, CTX), whole, rtol=0, atol=1e-14)


def test_a_row_alone_is_attacked_as_in_a_batch() -> None:
    victim, x = mlp_victim(), rows(6)
    y = guesses(victim, x)
    for attack in (FGSM(), PGD(random_start=False), Transfer()):
        batch = attack.craft(victim, x, y, CTX)
        alone = torch.cat([attack.craft(victim, x[i : i + 1], y[i : i + 1], CTX) for i in range(6)])
        torch.testing.assert_close(alone, batch, rtol=0, atol=1e-14)


def test_attacks_work_and_iterated_ones_reach_a_higher_loss() -> None:
    victim, x = mlp_victim(), rows(200)
    with torch.no_grad():
        victim.embed.get_submodule("0").weight.mul_(4)  # bends within the budget, where one step overshoots
    y, eps = guesses(victim, x), 0.2
    loss, right = {}, {}
    for attack in (RandomSign(eps=eps), FGSM(eps=eps), PGD(eps=eps, steps=20)):
        crafted = attack.craft(victim, x, y, CTX)
        with torch.no_grad():
            loss[type(attack)] = float(nn.functional.cross_entropy(victim.logits(crafted), y))
        right[type(attack)] = float((guesses(victim, crafted) == y).double().mean())
    assert right[RandomSign] > right[FGSM] + 0.5
    assert loss[RandomSign] < loss[FGSM] < loss[PGD]


def test_eps_counts_in_units_of_the_data() -> None:
    spec = DataSpec(shape=(20,), low=0.0, high=255.0, unit=255.0, classes=2)
    w = torch.linspace(-1, 1, 20, dtype=torch.float64) / 255
    victim, x = linear_victim(w, spec=spec), 255 * rows(5)
    y = torch.ones(5, dtype=torch.int64)
    for attack in (FGSM(eps=0.1), PGD(eps=0.1), Transfer(eps=0.1), RandomSign(eps=0.1)):
        crafted = attack.craft(victim, x, y, CTX)
        assert attack.eps == 0.1
        torch.testing.assert_close((crafted - x).abs().amax(1), torch.full((5,), 25.5, dtype=x.dtype), rtol=1e-12, atol=0)


class ScaleChannels(nn.Module):
    """What networks for normalised images do to each channel of 0..255."""

    def __init__(self, scale: list[float]) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64).view(-1, 1, 1))
        self.register_buffer("shift", torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x + self.shift


def test_normalised_eps_counts_in_what_the_network_sees_of_each_channel() -> None:
    spec = DataSpec(shape=(3, 2, 2), low=0.0, high=255.0, unit=255.0, classes=2)
    scale = [1 / 58.0, -1 / 57.0, 1 / 64.0]
    head = linear_victim(torch.linspace(0.1, 1, 12, dtype=torch.float64)).head
    victim = Victim(embed=nn.Sequential(ScaleChannels(scale), nn.Flatten()), head=head, spec=spec)
    x = 255 * rows(4, dims=12).view(4, 3, 2, 2)
    y = torch.tensor([0, 1, 0, 1])
    for make in (FGSM, PGD, Transfer, RandomSign):
        change = make(eps=0.2, eps_space="normalised").craft(victim, x, y, CTX) - x
        expected = torch.tensor([0.2 / abs(s) for s in scale], dtype=x.dtype).view(1, 3, 1).expand(4, 3, 4)
        torch.testing.assert_close(change.abs().flatten(2), expected, rtol=1e-12, atol=0)
        assert make(eps=0.2, eps_space="normalised").eps is None, "no one number in [0,1] units"
        seen = change * torch.tensor(scale, dtype=x.dtype).view(3, 1, 1)
        torch.testing.assert_close(seen.abs(), torch.full_like(seen, 0.2), rtol=1e-12, atol=0)
    bad = Victim(embed=nn.Sequential(ScaleChannels([1.0, 0.0, 1.0]), nn.Flatten()), head=head, spec=spec)
    with pytest.raises(InvalidInput, match="of which none may be 0"):
        FGSM(eps_space="normalised").craft(bad, x, y, CTX)
    with pytest.raises(NotApplicable, match="write eps_space: pixel"):
        FGSM(eps_space="normalised").craft(mlp_victim(), rows(2), torch.tensor([0, 1]), CTX)


def test_the_adaptive_attack_lowers_the_score_at_the_same_budget() -> None:
    plain, x = mlp_victim(), rows(100)
    y, eps = guesses(plain, x), 0.08
    with torch.no_grad():
        attacked, clean = plain.embed(PGD(eps=eps).craft(plain, x, y, CTX)), plain.embed(x)
        direction = attacked.mean(0) - clean.mean(0)
        direction /= direction.norm()
    victim = mlp_victim(detector=lambda z: z @ direction)
    with torch.no_grad():
        scores = {
            weight: float((victim.embed(AdaptivePGD(eps=eps, weight=weight).craft(victim, x, y, CTX)) @ direction).mean())
            for weight in (0.0, 1.0, 10.0)
        }
        pgd = float((victim.embed(PGD(eps=eps, steps=40, step=0.1).craft(victim, x, y, CTX)) @ direction).mean())
    assert scores[0.0] == pgd
    assert scores[10.0] < scores[1.0] < pgd
    assert scores[10.0] < float((clean @ direction).mean()) < pgd, "it is made to look less suspicious than a clean input"


def test_the_adaptive_attack_sends_each_step_once_through_the_embedding() -> None:
    calls = []
    victim = mlp_victim(detector=lambda z: z.sum(1))
    victim.embed.register_forward_hook(lambda *_: calls.append(1))
    x = rows(4)
    AdaptivePGD(steps=7).craft(victim, x, torch.zeros(4, dtype=torch.int64), CTX)
    assert len(calls) == 7


def test_the_adaptive_attack_needs_a_detector() -> None:
    with pytest.raises(InvalidInput, match="write use: pgd"):
        AdaptivePGD().craft(mlp_victim(), rows(2), torch.tensor([0, 1]), CTX)


def test_the_victim_is_left_as_it_was() -> None:
    victim, x = mlp_victim(), rows(4)
    victim.embed.train()
    weights = [p.detach().clone() for p in victim.embed.parameters()]
    with torch.inference_mode():
        inside = FGSM().craft(victim, rows(4), torch.arange(4), CTX)
    assert torch.equal(inside, FGSM().craft(victim, x, torch.arange(4), CTX)), "also within inference mode"
    assert victim.embed.training
    assert not victim.head.training
    assert all(p.requires_grad and p.grad is None for p in [*victim.embed.parameters(), *victim.head.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(weights, victim.embed.parameters(), strict=True))


def test_single_precision_stays_so_at_the_ends_of_the_range() -> None:
    spec = DataSpec(shape=(20,), low=0.1, high=0.7, classes=2)
    victim = linear_victim(torch.linspace(-1, 1, 20), spec=spec)
    x = torch.tensor([0.1, 0.7]).repeat(10).expand(2, 20)
    crafted = FGSM(eps=0.05).craft(victim, x, torch.tensor([0, 1]), CTX)
    assert crafted.dtype == torch.float32
    assert not torch.equal(crafted, x)


def test_bad_inputs_are_told() -> None:
    victim, x, y = mlp_victim(), rows(3), torch.tensor([0, 1, 2])
    cases = [
        (x[:, :5], y, "needs .* floating-point inputs"),
        (x[:0], y[:0], "with B at least 1"),
        (x, y[:2], "one whole-numbered label"),
        (x, y.double(), "one whole-numbered label"),
        (x + torch.tensor([[0.0], [9.0], [0.0]]), y, r"input 1 leaves the data's range \[0, 1\]"),
        (x * torch.nan, y, "input 0 leaves the data's range"),
        (x, y + 3, "labels run from 3 to 5, but the network has 4 classes"),
        (x, y - 1, "labels run from -1 to 1"),
    ]
    for inputs, labels, message in cases:
        with pytest.raises(InvalidInput, match=message):
            FGSM().craft(victim, inputs, labels, CTX)
    with pytest.raises(NotApplicable, match="2 or more"):
        FGSM().craft(mlp_victim(classes=1), x, torch.zeros(3, dtype=torch.int64), CTX)
    sick = linear_victim(torch.full((20,), torch.nan, dtype=torch.float64))
    with pytest.raises(NotFinite, match="infinite logit"):
        FGSM().craft(sick, x, torch.tensor([0, 1, 1]), CTX)
    steep = linear_victim(torch.ones(20, dtype=torch.float64))
    with pytest.raises(NotFinite, match="gradient by its input"):
        FGSM().craft(Victim(embed=Root(), head=steep.head, spec=BOX), x * 0, torch.tensor([0, 1, 1]), CTX)


class Root(nn.Module):
    """Finite at 0, where its slope is not."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


def test_without_foolbox_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(InvalidInput, match=r"pip install 'lipbench\[attacks\]'"):
        FGSM().craft(mlp_victim(), rows(2), torch.tensor([0, 1]), CTX)


def test_foolbox_is_imported_where_there_is_no_git() -> None:
    code = "from lipbench_basics.attacks.base import load_foolbox; load_foolbox(); import foolbox; print(foolbox.__version__)"
    env = {k: v for k, v in os.environ.items() if k != "GIT_PYTHON_REFRESH"} | {"PATH": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith("3.")


def test_an_attack_made_on_a_surrogate_is_the_same_for_every_network() -> None:
    surrogate, x = mlp_victim(), rows(12)
    y = torch.arange(12) % 4
    strong, weak = linear_victim(torch.ones(20, dtype=torch.float64)), linear_victim(torch.zeros(20, dtype=torch.float64))
    crafted = Transfer().craft(surrogate, x, y, Context(scope="network one", seed=0))
    again = Transfer().craft(surrogate, x, y, Context(scope="network two", seed=5))
    assert torch.equal(crafted, again)
    assert not torch.equal(true_margin(strong, crafted, y % 2), true_margin(strong, x, y % 2))
    assert torch.equal(true_margin(weak, crafted, y % 2), true_margin(weak, x, y % 2))
