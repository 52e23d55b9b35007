# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from lipbench_lipschitz.graph import fuse, network_bound
from lipbench_lipschitz.tracing import read_network
from torch import Tensor, nn
from torch.func import jacrev, vmap

from lipbench.api import NotApplicable

P = {"l2": 2, "l1": 1, "linf": math.inf}
ORDERS = list(P)


class Skip(nn.Module):
    """x + body(x)."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Inception(nn.Module):
    """Two branches joined, an in-place activation and shape arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 2, 3, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.a(x), F.gelu(self.b(x))], dim=1)
        y = F.max_pool2d(y, 3, stride=2, padding=1)
        y = y.view(x.shape[0], y.shape[1], -1).mean(-1)
        return 2 * y - y / 3


class Sorted(nn.Module):
    """GroupSort written out, halves of the features swapped."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.flatten(1).chunk(2, dim=1)
        y = torch.cat((b, a), 1)
        return y.view(y.size(0), -1, 2).sort(-1)[0].flatten(1)


def _norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels)
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.3, 2)
    layer.weight.data.normal_()
    return layer


def _lite(channels: int, grown: int, kernel: int, stride: int) -> list[nn.Module]:
    """An inverted bottleneck of EfficientNet-Lite from plain modules."""
    return [
        *(nn.Conv2d(channels, grown, 1, bias=False), _norm(grown), nn.ReLU6()),
        nn.ZeroPad2d((0, 1, 0, 1) if stride == 2 else kernel // 2),
        *(nn.Conv2d(grown, grown, kernel, stride, groups=grown, bias=False), _norm(grown), nn.ReLU6()),
        *(nn.Conv2d(grown, channels, 1, bias=False), _norm(channels)),
    ]


def _networks() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    torch.manual_seed(0)
    lite = nn.Sequential(
        *(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3, 2, bias=False), _norm(4), nn.ReLU6(), Skip(*_lite(4, 8, 3, 1))),
        *(*_lite(4, 8, 3, 2), Skip(*_lite(4, 8, 5, 1)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(4, 6)),
    )
    mirrored = nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect")
    return {
        "residual convolutions": (lite, (3, 8, 8)),
        "branches": (nn.Sequential(nn.Conv2d(2, 4, 3), nn.SiLU(), Inception()), (2, 7, 7)),
        "sorting": (nn.Sequential(nn.Linear(6, 8), Sorted(), nn.Linear(8, 3), nn.Softmax(1)), (6,)),
        "transformed": (nn.Sequential(nn.PixelUnshuffle(2), mirrored, nn.Mish()), (1, 6, 6)),
        "pooled": (nn.Sequential(nn.AvgPool2d(3, 1), nn.Conv1d(4, 4, 2), nn.LogSigmoid(), nn.MaxPool1d(2)), (6, 7)),
    }


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["residual convolutions", "branches", "sorting", "transformed", "pooled"])
def test_bound_is_above_jacobian_norms(name: str, order: str) -> None:
    module, shape = _networks()[name]
    module = module.eval().requires_grad_(False)
    bound, factors = network_bound(module, shape, order)
    x = torch.randn((40, *shape), generator=torch.Generator().manual_seed(1)).double() * 2
    exact = module.double()
    J = vmap(jacrev(lambda t: exact(t.unsqueeze(0)).flatten()))(x).flatten(2)
    assert float(torch.linalg.matrix_norm(J, P[order]).max()) <= bound < math.inf
    assert factors[-1].total == pytest.approx(bound)


def test_path_product_residual_sum_and_concatenation() -> None:
    double = nn.Linear(1, 1, bias=False)
    double.weight.data.fill_(2.0)

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = double

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.f(x), x - torch.sigmoid(self.f(x))], 1)

    for order, expected in {"l2": math.hypot(2.0, 1.5), "l1": 3.5, "linf": 2.0}.items():
        assert network_bound(Both(), (1,), order)[0] == pytest.approx(expected, rel=1e-12)


def test_needle_is_the_sum_of_its_slopes() -> None:
    class Needle(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 0.01 * torch.relu(1 - (x - 0.3).abs() / 0.001)

    assert network_bound(Needle(), (1,), "l2")[0] == pytest.approx(11.0, rel=1e-12)


def test_normalisation_is_merged_only_where_its_convolution_has_no_other_reader() -> None:
    conv, norm = nn.Conv2d(2, 3, 1, bias=False), _norm(3).eval()
    merged, factors = network_bound(nn.Sequential(conv, norm), (2, 4, 4), "l2")
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).double().detach()
    exact = float(torch.linalg.matrix_norm(scale[:, None] * conv.weight.double().detach().flatten(1), 2))
    assert len(factors) == 1
    assert exact <= merged <= exact * (1 + 1e-6)

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = conv, norm

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return y + self.norm(y)

    bound, factors = network_bound(Shared(), (2, 4, 4), "l2")
    top = float(torch.linalg.matrix_norm(conv.weight.double().detach().flatten(1), 2))
    assert len(factors) == 3
    assert bound == pytest.approx(top * (1 + float(scale.abs().max())), rel=1e-6)


def test_change_of_units_is_merged_into_the_first_convolution() -> None:
    class Units(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x / 255 - 0.5) * torch.tensor([1.0, 10.0]).view(2, 1, 1)

    conv = nn.Conv2d(2, 2, 1, bias=False)
    conv.weight.data = torch.tensor([[1.0, 0.0], [0.0, 0.1]]).view(2, 2, 1, 1)
    bound, factors = network_bound(nn.Sequential(Units(), conv), (2, 3, 3), "l2")
    assert len(factors) == 1
    assert bound == pytest.approx(1 / 255, rel=1e-6)  # 10 / 255 if the units were counted on their own


def test_fusing_keeps_the_order_of_execution() -> None:
    module, shape = _networks()["residual convolutions"]
    steps = fuse(read_network(module.eval(), shape))
    assert all(source < i for i, step in enumerate(steps) for source in step.sources)


@pytest.mark.parametrize(
    ("module", "order", "words"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.Hardshrink()), "l2", "Hardshrink"),
        (nn.LayerNorm(4), "linf", "norm: linf"),
        (nn.Sequential(nn.Unflatten(1, (1, 4)), nn.InstanceNorm1d(1)), "l2", "InstanceNorm1d"),
        (nn.Sequential(nn.Unflatten(1, (2, 2)), nn.BatchNorm1d(2, track_running_stats=False)), "l2", "running statistics"),
    ],
)
def test_what_is_not_known_is_named(module: nn.Module, order: str, words: str) -> None:
    with pytest.raises(NotApplicable, match=words):
        network_bound(module, (4,), order)


def test_products_of_variables_and_divisions_are_refused() -> None:
    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * x

    class Inverse(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 1 / x

    for module in (Square(), Inverse()):
        with pytest.raises(NotApplicable, match="not Lipschitz everywhere"):
            network_bound(module, (3,), "l2")


def test_dropout_that_stays_on_is_refused() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(x, 0.5)

    with pytest.raises(NotApplicable, match="dropout"):
        network_bound(Noisy(), (3,), "l2")


def test_efficientnet_lite_is_read_as_it_comes() -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = package.EfficientNet.from_name("efficientnet-lite0").eval()
    bound, factors = network_bound(network, (3, 224, 224), "linf")
    assert math.isfinite(bound)
    assert sum(f.name == "add" for f in factors) == 9
