# SPDX-License-Identifier: Apache-2.0
"""Training of the U-Net: what it learns, that it repeats and resumes to the bit, and the shapes that it takes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from lipbench_basics.datasets.digits import Digits
from lipbench_diffusion_ood.models import training
from lipbench_diffusion_ood.models.unet import DiffusionUNet
from torch import Tensor

from lipbench.api import Context, DataSpec, InvalidInput, NotFinite, Split

CTX = Context(scope="test", seed=0)
SMALL: dict[str, Any] = {"channels": (4, 8), "steps": 20, "batch_size": 8}


def fitted(ctx: Context = CTX, data: Digits | None = None, **params: Any) -> DiffusionUNet:
    data = data or Digits(image=True)
    model = DiffusionUNet(**(SMALL | params))
    model.build(data.spec(), ctx)
    model.fit(data, ctx)
    return model


def built(shape: tuple[int, ...], **params: Any) -> DiffusionUNet:
    model = DiffusionUNet(**({"channels": (4, 8)} | params))
    model.build(DataSpec(shape=shape, low=0, high=1), CTX)
    return model


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_to_predict_the_noise_of_unseen_images() -> None:
    model = fitted(channels=(8, 8), steps=100, batch_size=24, lr=5e-3, ema=0.95)
    x = torch.from_numpy(2 * Digits(image=True).split("test", CTX).inputs - 1)
    t = torch.rand(len(x), generator=CTX.generator("t")).clamp_min(1e-3)
    noise = torch.randn(x.shape, generator=CTX.generator("noise"))
    c, std = (value[:, None, None, None] for value in (model.schedule.mean(t), model.schedule.std(t)))
    with torch.inference_mode():
        error = float((model.eps(c * x + std * noise, t) - noise).square().mean())
    assert error < 0.4  # predicting zero has 1
    assert model.loss_curve.shape == (5,)
    assert float(model.loss_curve[-1]) < 0.5 * float(model.loss_curve[0])


@pytest.mark.parametrize("process", ["vp", "subvp", "ve"])
def test_every_process_trains(process: str) -> None:
    model = fitted(process=process, steps=60, batch_size=16, lr=4e-3)
    assert float(model.loss_curve[-1]) < 0.9 * float(model.loss_curve[0])
    sizes: list[float] = []
    model.module.conv_in.register_forward_pre_hook(lambda _, args: sizes.append(float(args[0].std())))  # type: ignore[union-attr, operator]
    with torch.inference_mode():
        model.eps(model.schedule.std(torch.ones(4))[:, None, None, None] * torch.randn(4, 1, 8, 8), torch.ones(4))
    assert 0.5 < sizes[0] < 2  # whatever the noise, the network sees numbers of about one


def test_the_averaged_weights_are_kept() -> None:
    initial = dict(built((1, 8, 8)).module.named_parameters())
    last, averaged = (dict(fitted(steps=1, ema=ema).module.named_parameters()) for ema in (0.0, 0.995))
    assert any(not torch.equal(initial[name], last[name]) for name in initial)
    for name in initial:  # the first step keeps 2/11 of the initial weights
        torch.testing.assert_close(averaged[name], initial[name] + (last[name] - initial[name]) * 9 / 11)


def test_a_fit_repeats_to_the_bit_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first = fitted(dropout=0.1, flips=True)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(1)
    assert same(first.state(), fitted(dropout=0.1, flips=True).state())
    torch.set_rng_state(before)
    assert not same(first.state(), fitted(dropout=0.1, flips=True, ctx=Context(scope="test", seed=1)).state())
    assert not same(first.state(), fitted(dropout=0.1).state())
    assert not same(first.state(), fitted(flips=True).state())


class Killed(Exception):
    """The process ends."""


@dataclass
class Kept:
    """A checkpoint in memory, of copies."""

    tensors: dict[str, Tensor] | None = None
    saves: list[int] = field(default_factory=list)

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        self.saves.append(int(tensors["step"]))

    def load(self) -> Mapping[str, Tensor] | None:
        return self.tensors


@dataclass(frozen=True, kw_only=True)
class Resumable(Context):
    checkpoint: Kept


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_killed_fit_resumes_to_the_same_bits(dropout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 20)
    params: dict[str, Any] = {"steps": 70, "batch_size": 4, "dropout": dropout, "flips": True}
    whole, kept, reports = fitted(**params), Kept(), list[str]()

    def kill(message: str) -> None:
        if message.startswith("step 60/"):
            raise Killed

    with pytest.raises(Killed):
        fitted(ctx=Resumable(scope="test", checkpoint=kept, report=kill), **params)
    assert kept.saves == [20, 40]
    resumed = fitted(ctx=Resumable(scope="test", checkpoint=kept, report=reports.append), **params)
    assert [line.split(",")[0] for line in reports] == ["step 60/70", "step 70/70"]
    assert kept.saves == [20, 40, 60]
    assert same(whole.state(), resumed.state())


def test_state_comes_back() -> None:
    first, second = fitted(), built((1, 8, 8))
    x, t = torch.randn(3, 1, 8, 8, generator=CTX.generator()), torch.tensor([0.1, 0.5, 1.0])
    assert not torch.equal(first.eps(x, t), second.eps(x, t))
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    assert torch.equal(first.eps(x, t), second.eps(x, t))
    assert same(first.state(), second.state())


@pytest.mark.parametrize(
    ("shape", "channels", "sizes"),
    [
        ((1, 8, 8), (4, 8), [(4, 8, 8), (4, 4, 4), (8, 4, 4), (8, 4, 4)]),
        ((3, 32, 32), (4, 4, 8), [(4, 32, 32), (4, 16, 16), (4, 8, 8), (8, 8, 8), (8, 8, 8)]),
        ((1, 28, 28), (4, 4, 4, 4), [(4, 32, 32), (4, 16, 16), (4, 8, 8), (4, 4, 4), (4, 4, 4), (4, 4, 4)]),
        ((2, 7, 5), (6,), [(6, 7, 5), (6, 7, 5), (6, 7, 5)]),
    ],
)
def test_shapes(shape: tuple[int, int, int], channels: tuple[int, ...], sizes: list[tuple[int, ...]]) -> None:
    model = built(shape, channels=channels)
    x, t = torch.randn(2, *shape, generator=CTX.generator()), torch.tensor([0.2, 0.9])
    with torch.inference_mode():
        found, features = model.eps(x, t), model.features(x, t)
        torch.testing.assert_close(model.eps(x[1:], t[1:]), found[1:], rtol=1e-4, atol=1e-5)
    assert found.shape == x.shape
    assert [tuple(f.shape[1:]) for f in features] == sizes
    assert model.eps(x.double(), t.double()).dtype == torch.float64


def test_features_are_the_activations_of_the_evaluation() -> None:
    model, seen = built((1, 8, 8)), list[Tensor]()
    net: Any = model.module
    for part in (net.conv_in, net.mid_block):
        part.register_forward_hook(lambda *found: seen.append(found[2]))
    x, t = torch.randn(2, 1, 8, 8, generator=CTX.generator()), torch.tensor([0.05, 0.6])
    model.eps(x, t)
    features = model.features(x, t)
    assert len(seen) == 4
    assert torch.equal(features[0], seen[0])
    assert torch.equal(features[-1], seen[1])


def test_attention_is_at_the_second_level() -> None:
    with_attention = built((1, 16, 16), channels=(4, 8, 8), attention=True).module
    names = [name for name, _ in with_attention.named_modules() if name.endswith("attentions.0")]
    assert names == ["down_blocks.1.attentions.0", "up_blocks.1.attentions.0", "mid_block.attentions.0"]
    model = fitted(attention=True)
    assert bool(model.loss_curve.isfinite().all())


def test_the_range_of_the_data_is_respected() -> None:
    unit, raw = fitted(), fitted(data=_Bytes(image=True))
    torch.testing.assert_close(unit.loss_curve, raw.loss_curve, rtol=1e-3, atol=0)


class _Bytes(Digits):
    def spec(self) -> DataSpec:
        return DataSpec(shape=(1, 8, 8), low=0.0, high=255.0)

    def load(self, split: str, ctx: Context) -> Split:
        return Split(inputs=(255 * super().load(split, ctx).inputs).astype(np.float32))


def test_the_rate_rises_and_falls() -> None:
    recipe = DiffusionUNet(steps=100, lr=1.0, warmup=0.1).recipe
    rates = [recipe.rate(step) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([k / 10 for k in range(1, 11)])
    assert all(a > b for a, b in pairwise(rates[9:]))
    assert 0 < rates[-1] < 1e-3
    assert [DiffusionUNet(lr=0.5, warmup=0.0, decay=False).recipe.rate(step) for step in (1, 1500)] == [0.5, 0.5]


def test_progress_is_told() -> None:
    reports, lines = list[str](), list[str]()
    model = fitted(ctx=Context(scope="test", report=reports.append, log=lines.append), steps=30)
    assert reports[-1] == f"step 30/30, loss {float(model.loss_curve[-1]):.4g}"
    assert len(reports) == len(model.loss_curve) == 2
    assert "loss" in lines[0]


def test_what_cannot_work_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFinite, match="at step 20; write a smaller lr: than 1e"):
        fitted(lr=1e30, warmup=0.0)
    with pytest.raises(InvalidInput, match=r"needs images .* shape \(64,\)"):
        built((64,))
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(InvalidInput, match=r"pip install 'lipbench\[diffusion\]'"):
        built((1, 8, 8))


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)
def test_lower_precision_and_compilation_change_little(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if device == "cpu":  # the whole compiler takes half a minute there; how it is called is the same
        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    plain, half = (fitted(steps=3, channels=(4,), **how) for how in ({}, {"precision": "bfloat16"}))
    compiled = built((1, 8, 8), channels=(4,), compiled=True)
    assert not same(plain.state(), half.state())
    x, t = torch.randn(6, 1, 8, 8, generator=CTX.generator()).to(device), torch.full((6,), 0.4, device=device)
    for model, tolerance in ((half, 0.05), (compiled, 1e-4)):
        model.load_state(plain.state())
        with torch.inference_mode():
            found, expected = model.eps(x, t), plain.eps(x, t)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    assert not torch.equal(half.eps(x, t), plain.eps(x, t))
