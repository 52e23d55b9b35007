# SPDX-License-Identifier: Apache-2.0
"""MLP and CNN: layers, training, seeds, and clear refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lipbench_basics.datasets.digits import Digits
from lipbench_basics.datasets.moons import TwoMoons
from lipbench_basics.datasets.noise import UniformNoise
from lipbench_basics.networks.cnn import CNN
from lipbench_basics.networks.layers import ACTIVATIONS, Rescale, rescale
from lipbench_basics.networks.mlp import MLP
from torch import nn

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Network, NotApplicable, NotFinite, Split

CTX = Context(scope="test")


def built(network: Network, data: Dataset, ctx: Context = CTX) -> Network:
    network.build(data.spec(), ctx)
    return network


def accuracy(network: Network, data: Dataset) -> float:
    part = data.split("test", CTX)
    with torch.inference_mode():
        return float(np.mean(network.module(torch.from_numpy(part.inputs)).argmax(1).numpy() == part.targets))


def test_mlp_is_a_plain_chain_that_ends_in_a_linear_layer() -> None:
    network = built(MLP(hidden=(5, 7), activation="tanh"), TwoMoons())
    kinds = [type(m) for m in network.module.children()]
    assert kinds == [nn.Flatten, Rescale, nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
    x = torch.zeros(3, 2)
    assert network.at("logits")(x).shape == (3, 2)
    assert network.at("embedding")(x).shape == (3, 7)
    with pytest.raises(NotApplicable, match="no layer 'head'"):
        network.at("head")


@pytest.mark.parametrize("down", ["stride", "average"])
@pytest.mark.parametrize("size", [5, 8])
def test_cnn_takes_any_size_that_can_be_halved(down: str, size: int) -> None:
    data = UniformNoise(shape=(2, size, size + 1), count=3)
    network = built(CNN(channels=(3, 4), down=down, outputs=6, epochs=0), data)  # type: ignore[arg-type]
    assert network.module(torch.zeros(3, *data.spec().shape)).shape == (3, 6)
    assert isinstance(list(network.module.children())[-1], nn.Linear)
    assert network.at("embedding")(torch.zeros(1, *data.spec().shape)).ndim == 2


@pytest.mark.parametrize(("scaling", "ends"), [("unit", (0, 1)), ("centred", (-0.5, 0.5)), ("raw", (-2, 3))])
def test_rescale_maps_the_range_of_the_data(scaling: str, ends: tuple[float, float]) -> None:
    spec = DataSpec(shape=(1,), low=-2, high=3)
    found = rescale(spec, scaling)(torch.tensor([spec.low, spec.high]))  # type: ignore[arg-type]
    assert found.tolist() == pytest.approx(ends, abs=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_weights_are_finite_and_follow_the_seed_alone(activation: str) -> None:
    data, network = TwoMoons(count=4), MLP(hidden=(6,), activation=activation)  # type: ignore[arg-type]
    before = torch.get_rng_state()
    first = {k: v.clone() for k, v in built(network, data).state().items()}
    torch.rand(5)
    again, other = built(network, data).state(), built(network, data, Context(scope="test", seed=1)).state()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["2.weight"], other["2.weight"])
    torch.set_rng_state(before)
    built(network, data)
    assert torch.equal(torch.get_rng_state(), before), "the global generator is left as it was"


def test_digits_are_learned_to_the_accuracy_that_the_oracle_needs() -> None:
    logged: list[str] = []
    reported: list[str] = []
    network = built(MLP(), Digits())
    network.fit(Digits(), Context(scope="test", log=logged.append, report=reported.append))
    assert accuracy(network, Digits()) > 0.94
    assert "on test" in logged[0]
    assert len(reported) == 60
    norms = [
        float(torch.linalg.matrix_norm(m.weight.detach(), 2)) for m in network.module.children() if isinstance(m, nn.Linear)
    ]
    assert 30 < np.prod(norms) < 60, "the product bound of the published bracket is 40.9, and moves with the seed"


def test_training_is_the_same_bits_and_can_be_stored() -> None:
    data = Digits(image=True)
    runs = []
    for _ in range(2):
        network = built(CNN(channels=(4,), epochs=2), data)
        network.fit(data, CTX)
        assert not network.module.training
        runs.append(network)
    states = [run.state() for run in runs]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    stored = built(CNN(channels=(4,), epochs=2), data, Context(scope="elsewhere"))
    stored.load_state(states[0])
    assert accuracy(stored, data) == accuracy(runs[0], data) > 0.3


def test_no_epochs_keep_the_random_weights_and_need_no_labels() -> None:
    data = UniformNoise(shape=(4,), count=5)
    network = built(MLP(outputs=3, epochs=0), data)
    before = {k: v.clone() for k, v in network.state().items()}
    network.fit(data, CTX)
    assert all(torch.equal(before[k], v) for k, v in network.state().items())


def test_data_without_labels_are_refused() -> None:
    data = UniformNoise(shape=(4,), count=5)
    with pytest.raises(InvalidInput, match="has none; write epochs: 0"):
        built(MLP(outputs=3), data).fit(data, CTX)
    with pytest.raises(InvalidInput, match="no classes, so write outputs:"):
        built(MLP(), data)


def test_too_few_outputs_are_refused() -> None:
    with pytest.raises(InvalidInput, match="MLP has 4 outputs, but train has label 9"):
        built(MLP(outputs=4), Digits()).fit(Digits(), CTX)


def test_a_loss_that_is_not_finite_is_reported() -> None:
    class Huge(TwoMoons):
        def load(self, split: str, ctx: Context) -> Split:
            part = super().load(split, ctx)
            return Split(inputs=part.inputs * np.float32(1e38), targets=part.targets)

    with pytest.raises(NotFinite, match="smaller lr:"):
        built(MLP(hidden=(), epochs=2, lr=1e5), Huge(count=70)).fit(Huge(count=70), CTX)


def test_cnn_refuses_what_is_no_image_or_too_small() -> None:
    with pytest.raises(InvalidInput, match=r"needs images .* the data has shape \(64,\)"):
        built(CNN(), Digits())
    with pytest.raises(InvalidInput, match="8x8 pixels cannot be halved 4 times"):
        built(CNN(channels=(1, 1, 1, 1)), Digits(image=True))


def test_an_empty_range_cannot_be_scaled() -> None:
    with pytest.raises(InvalidInput, match="write scaling: raw"):
        rescale(DataSpec(shape=(1,), low=1, high=1), "unit")
