# SPDX-License-Identifier: Apache-2.0
"""Loaders of torchvision and timm networks, against stand-ins of the two packages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from lipbench_basics.networks.zoo import Normalise, Pretrained, Timm, TorchVision
from safetensors.torch import save_file
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput, NotApplicable

CTX = Context(scope="test")
SPEC = DataSpec(shape=(3, 8, 8), low=0, high=255, unit=255)
TINY = DataSpec(shape=(3, 4, 4), low=0, high=255, unit=255)


class Small(nn.Module):
    """Features, then one child with the head, as the networks of both packages have it."""

    def __init__(self, name: str, head: Callable[[int], nn.Module], after: nn.Module | None = None) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2)
        )
        self.name, self.after = name, after
        setattr(self, name, head(16))

    def forward(self, x: Tensor) -> Tensor:
        y = getattr(self, self.name)(torch.flatten(self.features(x), 1))
        return y if self.after is None else self.after(y)


class Inception(Small):
    """A training head beside the real one, and a fixed size of image."""

    def __init__(self, outputs: int, aux_logits: bool, transform_input: bool) -> None:
        super().__init__("fc", lambda width: nn.Linear(width, outputs))
        self.AuxLogits = nn.Linear(3, 2) if aux_logits else None
        self.transform_input = transform_input

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2:] == (299, 299), f"wrong image size {tuple(x.shape[2:])}"
        return super().forward(x)


def vgg_end(outputs: int) -> Callable[[int], nn.Module]:
    return lambda width: nn.Sequential(
        nn.Linear(width, 6), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, outputs)
    )


class TwoHeads(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


def architecture(name: str, outputs: int, extra: dict[str, Any]) -> nn.Module:
    makers: dict[str, Callable[[], nn.Module]] = {
        "resnet": lambda: Small("fc", lambda width: nn.Linear(width, outputs)),
        "vgg": lambda: Small("classifier", vgg_end(outputs)),
        "vit": lambda: Small("head", lambda width: nn.Linear(width, outputs)),
        "inplace": lambda: Small("fc", lambda width: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(width, outputs))),
        "soft": lambda: Small("fc", lambda width: nn.Linear(width, outputs), after=nn.Softmax(1)),
        "distilled": lambda: TwoHeads("head", lambda width: nn.Linear(width, outputs)),
        "squeezenet": lambda: nn.Sequential(nn.Conv2d(3, outputs, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "unflat": lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, outputs))
        ),
        "inception_v3": lambda: Inception(outputs, extra["aux_logits"], extra["transform_input"]),
    }
    return makers[name]()


NAMES = ["resnet", "vgg", "vit", "inplace", "soft", "distilled", "squeezenet", "unflat", "inception_v3"]


@pytest.fixture(autouse=True)
def _packages(monkeypatch: pytest.MonkeyPatch) -> None:
    torchvision: Any = ModuleType("torchvision")
    torchvision.models = ModuleType("torchvision.models")

    def list_models(module: ModuleType) -> list[str]:
        return NAMES if module is torchvision.models else [*NAMES, "detector"]

    def get_model(name: str, *, weights: None, num_classes: int, **extra: Any) -> nn.Module:
        assert weights is None
        return architecture(name, num_classes, extra)

    torchvision.models.list_models, torchvision.models.get_model = list_models, get_model
    timm: Any = ModuleType("timm")

    def create_model(name: str, *, pretrained: bool, num_classes: int) -> nn.Module:
        assert not pretrained
        base, _, tag = name.partition(".")
        if tag not in ("", "half"):
            raise RuntimeError(f"Invalid pretrained tag ({tag}) for {base}.")
        net: Any = architecture(base, num_classes, {})
        net.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "input_size": (3, 6, 6)} if tag else {"mean": None}
        return net

    timm.create_model, timm.list_models = create_model, lambda: NAMES
    timm.is_model = lambda name: name.partition(".")[0] in NAMES
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    monkeypatch.setitem(sys.modules, "timm", timm)


def trained(name: str, outputs: int = 7) -> nn.Module:
    """A network with numbers of its own everywhere, statistics of the batch too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        net = architecture(name, outputs, {"aux_logits": True, "transform_input": True})
        for key, tensor in net.state_dict().items():
            if "running_mean" in key:
                tensor.normal_()
    return net.eval()


def saved(net: nn.Module, file: Path) -> str:
    state = net.state_dict()
    if file.suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save(state, file)
    return str(file)


def built(network: Pretrained, spec: DataSpec = SPEC) -> Pretrained:
    network.build(spec, CTX)
    return network


def pixels(rows: int, spec: DataSpec = SPEC) -> Tensor:
    return torch.rand(rows, *spec.shape, generator=torch.Generator().manual_seed(1)) * spec.unit


def imagenet(x: Tensor) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (x / 255 - mean[:, None, None]) / std[:, None, None]


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("loader", [TorchVision, Timm])
@pytest.mark.parametrize(
    ("name", "embed", "width", "head"),
    [
        ("resnet", "penultimate", 16, nn.Linear),
        ("resnet", "flatten", 16, nn.Linear),
        ("vit", "penultimate", 16, nn.Linear),
        ("vgg", "penultimate", 5, nn.Linear),
        ("vgg", "flatten", 16, nn.Sequential),
        ("inplace", "flatten", 16, nn.Sequential),
    ],
)
def test_embedding_and_head_make_the_network(
    tmp_path: Path, loader: type[Any], ending: str, name: str, embed: str, width: int, head: type[nn.Module]
) -> None:
    net, x = trained(name), pixels(3)
    file = tmp_path / f"w{ending}"
    network = built(loader(name=name, weights=saved(net, file), embed=embed, outputs=7))
    assert network.files() == [file]
    assert not any(module.training for module in network.module.modules())
    with torch.inference_mode():
        embedding = network.at("embedding")(x)
        kept = embedding.clone()
        assert torch.equal(network.head()(embedding), network.module(x))
        assert torch.equal(embedding, kept), "the head must not write into the embedding"
        torch.testing.assert_close(network.module(x), net(imagenet(x)), rtol=1e-5, atol=1e-5)
    assert embedding.shape == (3, width)
    assert isinstance(network.head(), head)
    assert network.at("logits") is network.module
    probe = x.clone().requires_grad_()
    network.at("embedding")(probe).square().sum().backward()
    assert probe.grad is not None
    assert probe.grad.abs().amax((1, 2, 3)).min() > 0


def test_pixels_are_normalised_for_each_channel() -> None:
    layer = Normalise((0.1, 0.2, 0.3), (0.5, 1.0, 2.0), unit=255)
    assert layer.scale.shape == layer.shift.shape == (3, 1, 1)
    x = torch.tensor([25.5, 51.0, 76.5])[None, :, None, None].expand(1, 3, 2, 2)
    assert layer(x).abs().max() < 1e-6
    assert (layer(x + 255) - torch.tensor([2.0, 1.0, 0.5])[:, None, None]).abs().max() < 1e-6
    assert set(layer.state_dict()) == {"scale", "shift"}


def test_timm_says_how_its_weights_were_trained(tmp_path: Path) -> None:
    net, x = trained("resnet"), pixels(2)
    weights = saved(net, tmp_path / "w.pth")
    network = built(Timm(name="resnet.half", weights=weights, outputs=7))
    small = nn.functional.interpolate((x / 255 - 0.5) / 0.25, size=6, mode="bilinear", antialias=True)
    torch.testing.assert_close(network.module(x), net(small), rtol=1e-4, atol=1e-4)
    told = built(
        Timm(name="resnet.half", weights=weights, outputs=7, size=8, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    )
    torch.testing.assert_close(told.module(x), net(imagenet(x)), rtol=1e-5, atol=1e-5)
    with pytest.raises(InvalidInput, match=r"timm has no network 'resnet.nope': Invalid pretrained tag"):
        built(Timm(name="resnet.nope", weights=weights, outputs=7))


@pytest.mark.parametrize("size", [8, 299])
def test_inception_gets_its_size_and_loses_its_training_head(tmp_path: Path, size: int) -> None:
    net = trained("inception_v3")
    spec = DataSpec(shape=(3, size, size), low=0, high=255, unit=255)
    network = built(TorchVision(name="inception_v3", weights=saved(net, tmp_path / "w.pth"), outputs=7), spec)
    x = pixels(1, spec)
    large = nn.functional.interpolate(imagenet(x), size=299, mode="bilinear")
    torch.testing.assert_close(network.module(x), net(large), rtol=1e-4, atol=1e-4)
    body = list(network.module.children())[1]
    assert isinstance(body, Inception)
    assert body.AuxLogits is None
    assert body.transform_input


def test_counters_that_old_files_lack_are_no_error(tmp_path: Path) -> None:
    net = trained("resnet")
    state = {key: value for key, value in net.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "w.pth")
    network = built(TorchVision(name="resnet", weights=str(tmp_path / "w.pth"), outputs=7))
    torch.testing.assert_close(network.module(pixels(2)), net(imagenet(pixels(2))), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("loader", "package"), [(TorchVision, "torchvision"), (Timm, "timm")])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: type[Any], package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    network = loader(name="resnet", weights=saved(trained("resnet"), tmp_path / "w.pth"))
    assert network.files() == [tmp_path / "w.pth"], "files can be listed without the package"
    with pytest.raises(InvalidInput, match=f"{package} resnet needs the package {package}: pip install {package}"):
        built(network)


def test_a_package_for_another_torch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision")
    with pytest.raises(InvalidInput, match="torchvision cannot be imported: operator torchvision::nms does not exist"):
        built(TorchVision(name="resnet", weights=saved(trained("resnet"), tmp_path / "w.pth")))


@pytest.mark.parametrize(
    ("loader", "name", "message"),
    [
        (TorchVision, "resnt", r"torchvision has no image classifier 'resnt'; did you mean 'resnet'\?"),
        (TorchVision, "detector", "torchvision has no image classifier 'detector'"),
        (Timm, "resnt", r"timm has no image classifier 'resnt'; did you mean 'resnet'\?"),
        (TorchVision, "soft", "does not end in a linear layer"),
        (Timm, "distilled", "does not end in a linear layer"),
        (TorchVision, "squeezenet", "does not end in a linear layer"),
    ],
)
def test_networks_without_an_embedding_are_refused(tmp_path: Path, loader: type[Any], name: str, message: str) -> None:
    known = name if name in NAMES else "resnet"
    with pytest.raises(InvalidInput, match=message):
        built(loader(name=name, weights=saved(trained(known), tmp_path / "w.pth"), outputs=7))


def test_a_map_that_is_not_flat_is_refused_as_an_embedding(tmp_path: Path) -> None:
    weights = saved(trained("unflat"), tmp_path / "w.pth")
    with pytest.raises(InvalidInput, match=r"what enters '1' is no flat row, its shape is \(4, 6, 6\); write embed: penult"):
        built(TorchVision(name="unflat", weights=weights, outputs=7, embed="flatten"))
    assert built(TorchVision(name="unflat", weights=weights, outputs=7)).at("embedding")(pixels(2)).shape == (2, 4)


def test_other_layers_are_not_there(tmp_path: Path) -> None:
    network = built(TorchVision(name="resnet", weights=saved(trained("resnet"), tmp_path / "w.pth"), outputs=7))
    with pytest.raises(NotApplicable, match="no layer 'fc7'; write layer: logits or embedding"):
        network.at("fc7")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec(shape=(1, 8, 8), low=0, high=1), r"needs RGB images .* shape \(1, 8, 8\) and is in \[0, 1\]"),
        (DataSpec(shape=(64,), low=0, high=1), r"needs RGB images .* shape \(64,\)"),
        (DataSpec(shape=(3, 8, 8), low=-1, high=1), r"is in \[-1, 1\]"),
        (DataSpec(shape=(3, 2, 2), low=0, high=1), r"does not take inputs of shape \(3, 2, 2\): .*; write size:"),
    ],
)
def test_other_data_are_refused(tmp_path: Path, spec: DataSpec, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        built(TorchVision(name="resnet", weights=saved(trained("resnet"), tmp_path / "w.pth"), outputs=7), spec)
    assert "\n" not in str(caught.value)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def write_wrong(file: Path, case: str) -> None:
    net = trained("resnet")
    state = net.state_dict()
    if case == "missing tensor":
        del state["fc.bias"]
    elif case == "unknown tensor":
        state["extra"] = torch.zeros(1)
    elif case == "other classes":
        state = trained("resnet", outputs=3).state_dict()
    elif case == "not finite":
        state["fc.weight"] = torch.full((7, 16), torch.nan)
    if file.suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save({"code": Trap(file.with_name("sprung")), **state} if case == "code" else state, file)
    if case == "words":
        file.write_bytes(b"hello")
    elif case == "empty":
        file.write_bytes(b"")
    elif case == "half":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


BROKEN = {
    "missing tensor": r"missing \['fc.bias'\], unknown \[\]",
    "unknown tensor": r"missing \[\], unknown \['extra'\]",
    "other classes": r"does not fit the network: size mismatch for fc.weight.*\[3, 16\].*\[7, 16\]",
    "not finite": r"gives NaN or infinite outputs with .*w\.",
    "words": "or it is truncated",
    "empty": "or it is truncated",
    "half": "or it is truncated",
}


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("case", BROKEN)
def test_wrong_weights_are_refused_in_one_line(tmp_path: Path, case: str, ending: str) -> None:
    file = tmp_path / f"w{ending}"
    write_wrong(file, case)
    with pytest.raises(InvalidInput, match=BROKEN[case]) as caught:
        built(TorchVision(name="resnet", weights=str(file), outputs=7))
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_code_in_weights_is_not_run(tmp_path: Path) -> None:
    write_wrong(tmp_path / "w.pth", "code")
    with pytest.raises(InvalidInput, match="no state dict of"):
        built(TorchVision(name="resnet", weights=str(tmp_path / "w.pth"), outputs=7))
    assert not (tmp_path / "sprung").exists()


def test_legacy_files_are_read_and_cut_ones_refused_wherever_they_end(tmp_path: Path) -> None:
    net, file = trained("resnet"), tmp_path / "w.pth"
    torch.save(net.state_dict(), file, _use_new_zipfile_serialization=False)
    network = built(TorchVision(name="resnet", weights=str(file), outputs=7))
    torch.testing.assert_close(network.module(pixels(2)), net(imagenet(pixels(2))), rtol=1e-5, atol=1e-5)
    whole = file.read_bytes()
    for length in range(0, len(whole), 37):
        file.write_bytes(whole[:length])
        with pytest.raises(InvalidInput, match=r"w\.pth is no state dict of torch.save, or it is truncated"):
            built(TorchVision(name="resnet", weights=str(file), outputs=7))


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "w.pth")
    with pytest.raises(InvalidInput, match=r"holds no state dict \(tensors by name\)"):
        built(TorchVision(name="resnet", weights=str(tmp_path / "w.pth")))


def test_a_missing_file_says_where_it_was_looked_for() -> None:
    with pytest.raises(InvalidInput, match=r"no file .*nowhere\.pth"):
        TorchVision(name="resnet", weights="nowhere.pth").files()
