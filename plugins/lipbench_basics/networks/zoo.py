# SPDX-License-Identifier: Apache-2.0
"""Image classifiers of torchvision and timm with weights from a local file."""

from __future__ import annotations

import difflib
import importlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput, Network, NotApplicable

from .exported import find_weights
from .layers import initial_weights
from .statedict import load_into

Three = tuple[float, float, float]
_MEAN: Three = (0.485, 0.456, 0.406)
_STD: Three = (0.229, 0.224, 0.225)
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")]


class Normalise(nn.Module):
    """x -> scale * x + shift for each channel, from raw pixels to what the network was trained on."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], unit: float) -> None:
        super().__init__()
        deviation = torch.tensor(std, dtype=torch.float64)
        self.register_buffer("scale", (1 / (unit * deviation)).float()[:, None, None])
        self.register_buffer("shift", (-torch.tensor(mean, dtype=torch.float64) / deviation).float()[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to the same shape."""
        return x * self.scale + self.shift


class Resize(nn.Module):
    """Bilinear interpolation to squares of a given size, with a wider filter where images get smaller."""

    def __init__(self, size: int, shrinks: bool) -> None:
        super().__init__()
        self.size, self.shrinks = size, shrinks

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C, size, size)."""
        size = (self.size, self.size)
        return nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=self.shrinks)


class Pretrained(Network):
    """What the two loaders share: units, size, weights, and the cut between embedding and head."""

    package: str

    def __init__(
        self,
        *,
        name: str,
        weights: str,
        embed: Literal["penultimate", "flatten"],
        outputs: int,
        size: int | None,
        mean: Three | None,
        std: Three | None,
    ) -> None:
        self.name, self.weights, self.embed, self.outputs, self.size = name, weights, embed, outputs, size
        self.mean, self.std = mean, std

    @abstractmethod
    def architecture(self, package: Any) -> nn.Module:
        """The network of this name without trained weights."""

    def preset(self, net: nn.Module) -> tuple[Three, Three, int | None]:
        """Mean and standard deviation in [0, 1] units, and size of the images, that the network was trained with."""
        return _MEAN, _STD, None

    def files(self) -> Sequence[Path]:
        """The weights."""
        return [find_weights(self.weights)]

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Units, then size, then the network as a body and a head; nothing is drawn that the weights do not replace.

        Raises:
            InvalidInput: The package is missing, it has no such network, the weights do not fit, or the data are no RGB
                images of the right size.
        """
        if len(spec.shape) != 3 or spec.shape[0] != 3 or spec.low != 0 or spec.high != spec.unit:
            raise InvalidInput(
                f"{self.package} {self.name} needs RGB images (3, h, w) from 0 to one unit ({spec.unit:g}), the data has shape "
                f"{spec.shape} and is in [{spec.low:g}, {spec.high:g}]"
            )
        file = find_weights(self.weights)
        with initial_weights(ctx):
            net = self.architecture(self._imported())
        load_into(net, file, unused=("AuxLogits.", "aux1.", "aux2."))
        mean, std, size = self.preset(net)
        size = self.size or size
        units: list[nn.Module] = [Normalise(self.mean or mean, self.std or std, spec.unit)]
        if size is not None and spec.shape[1:] != (size, size):
            units.append(Resize(size, shrinks=max(spec.shape[1:]) > size))
        before = nn.Sequential(*units)
        return nn.Sequential(before, *self._cut(net.float().eval(), before, spec))

    def _imported(self) -> Any:
        # By name, and not before a network is made: neither package is needed to list or to run anything else.
        try:
            return importlib.import_module(self.package)
        except ImportError as error:
            raise InvalidInput(
                f"{self.package} {self.name} needs the package {error.name or self.package}: pip install {self.package}"
            ) from error
        except RuntimeError as error:  # its compiled operators are not those of this torch
            reason = (str(error).splitlines() or [""])[0]
            raise InvalidInput(f"{self.package} cannot be imported: {reason}; install the one that fits this torch") from error

    @torch.inference_mode()
    def _cut(self, net: nn.Module, before: nn.Module, spec: DataSpec) -> tuple[nn.Module, nn.Module]:
        """Body and head; the place of the head in the body is taken by the identity.

        Two grey images show which layers are called and whether the last linear one gives the result.
        """
        for layer in net.modules():
            if hasattr(layer, "inplace"):
                # A head that overwrites its input would change the embeddings that it is given.
                layer.inplace = False  # type: ignore[assignment]
        calls: list[tuple[str, Any, Any]] = []
        tops = {name for name, _ in net.named_children()}
        hooks = [
            layer.register_forward_hook(lambda _layer, args, result, name=name: calls.append((name, args[0], result)))
            for name, layer in net.named_modules()
            if name and (isinstance(layer, nn.Linear) or name in tops)
        ]
        who = f"{self.package} {self.name}"
        try:
            result = net(before(torch.full((2, *spec.shape), spec.unit / 2)))
        # What a network says about a wrong size of image is its own affair: torch's errors, or an assertion.
        except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InvalidInput(f"{who} does not take inputs of shape {spec.shape}: {reason}; write size:") from error
        finally:
            for hook in hooks:
                hook.remove()
        if isinstance(result, Tensor) and not result.isfinite().all():
            raise InvalidInput(f"{who} gives NaN or infinite outputs with {self.weights}; the weights are damaged")
        last = next((call for call in reversed(calls) if isinstance(net.get_submodule(call[0]), nn.Linear)), None)
        if last is None or not isinstance(result, Tensor) or not torch.equal(result, last[2]):
            raise InvalidInput(f"{who} does not end in a linear layer, so it has no embedding; use another network")
        name = last[0] if self.embed == "penultimate" else last[0].partition(".")[0]
        inputs = next(call[1] for call in reversed(calls) if call[0] == name)
        if inputs.ndim != 2:
            shape = tuple(inputs.shape[1:])
            raise InvalidInput(f"{who}: what enters {name!r} is no flat row, its shape is {shape}; write embed: penultimate")
        return _split(net, name)

    def at(self, layer: str) -> nn.Module:
        """The network up to `logits`, or up to `embedding`, as `embed` says."""
        if layer == "logits":
            return self.module
        if layer != "embedding":
            raise NotApplicable(f"{self.package} {self.name} has no layer {layer!r}; write layer: logits or embedding")
        return nn.Sequential(*list(self.module.children())[:-1]).eval()

    def head(self) -> nn.Module:
        """The last linear layer, or with `embed: flatten` the whole classifier."""
        last: nn.Module = list(self.module.children())[-1]
        return last


def _split(net: nn.Module, name: str) -> tuple[nn.Module, nn.Module]:
    """Take a layer out of a network."""
    place, _, last = name.rpartition(".")
    head = net.get_submodule(name)
    setattr(net.get_submodule(place), last, nn.Identity())
    return net, head


def _unknown(who: str, name: str, known: Iterable[str]) -> InvalidInput:
    close = difflib.get_close_matches(name, list(known), n=1)
    return InvalidInput(f"{who} has no image classifier {name!r}{f'; did you mean {close[0]!r}?' if close else ''}")


class TorchVision(Pretrained):
    """A classifier of torchvision, such as `resnet152`, `vgg19` or `inception_v3`, with trained weights from a file.

    Nothing is downloaded. Inputs are raw RGB pixels; they are normalised inside the network. Auxiliary heads are left out.
    Making it costs one forward of two images, which finds the last linear layer and checks that nothing follows it.

    Args:
        name: Name of the network in `torchvision.models.list_models(torchvision.models)`.
        weights: Its state dict, a .safetensors file or a .pth file of torch.save (read as data, not as code), absolute, from
            the working directory, or from the data folder.
        embed: What `layer: embedding` is: `penultimate` the input of the last linear layer, `flatten` the input of the whole
            classifier, such as the flattened 25,088 = 512x7x7 numbers of the last convolutions of vgg19.
        outputs: Number of outputs that the weights have.
        size: Height and width to which images of another size are interpolated; null for 299 where `name` is `inception_v3`,
            else for the images as they are.
        mean: Mean of each channel in [0, 1] units; null for that of ImageNet, (0.485, 0.456, 0.406).
        std: Standard deviation of each channel; null for that of ImageNet, (0.229, 0.224, 0.225).

    Source: torchvision.models, BSD 3-Clause.
    """

    package = "torchvision"

    def __init__(
        self,
        *,
        name: Name,
        weights: str,
        embed: Literal["penultimate", "flatten"] = "penultimate",
        outputs: Annotated[int, Field(ge=1)] = 1000,
        size: Annotated[int, Field(ge=1)] | None = None,
        mean: Three | None = None,
        std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None,
    ) -> None:
        super().__init__(name=name, weights=weights, embed=embed, outputs=outputs, size=size, mean=mean, std=std)

    def architecture(self, package: Any) -> nn.Module:
        """The network from torchvision's list of classifiers; other networks of it may download weights."""
        models = package.models
        known = models.list_models(module=models)
        if self.name not in known:
            raise _unknown("torchvision", self.name, known)
        # The published weights of these two expect normalised pixels and map them to (x - 0.5) / 0.5 themselves.
        aux = self.name in ("inception_v3", "googlenet")
        extra = {"aux_logits": False, "transform_input": True, "init_weights": False} if aux else {}
        net: nn.Module = models.get_model(self.name, weights=None, num_classes=self.outputs, **extra)
        return net

    def preset(self, net: nn.Module) -> tuple[Three, Three, int | None]:
        """ImageNet; only Inception v3 was trained on other sizes than it is commonly fed with."""
        return _MEAN, _STD, 299 if self.name == "inception_v3" else None


class Timm(Pretrained):
    """A classifier of timm, such as `vit_base_patch16_224`, with trained weights from a file.

    Nothing is downloaded. Inputs are raw RGB pixels; they are normalised inside the network. Making it costs one forward of
    two images, which finds the last linear layer and checks that nothing follows it.

    Args:
        name: Name of the network in `timm.list_models()`, with or without the tag of its training; the tag decides the
            default of `mean` and `std`.
        weights: Its state dict, a .safetensors file or a .pth file of torch.save (read as data, not as code), absolute, from
            the working directory, or from the data folder.
        embed: What `layer: embedding` is: `penultimate` the input of the last linear layer, `flatten` the input of the child
            of the network that holds it, where that is a flat row.
        outputs: Number of outputs that the weights have.
        size: Height and width to which images of another size are interpolated; null for the size that timm names.
        mean: Mean of each channel in [0, 1] units; null for what timm names, else that of ImageNet.
        std: Standard deviation of each channel; null for what timm names, else that of ImageNet.

    Source: R. Wightman, PyTorch Image Models, Apache-2.0.
    """

    package = "timm"

    def __init__(
        self,
        *,
        name: Name,
        weights: str,
        embed: Literal["penultimate", "flatten"] = "penultimate",
        outputs: Annotated[int, Field(ge=1)] = 1000,
        size: Annotated[int, Field(ge=1)] | None = None,
        mean: Three | None = None,
        std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None,
    ) -> None:
        super().__init__(name=name, weights=weights, embed=embed, outputs=outputs, size=size, mean=mean, std=std)

    def architecture(self, package: Any) -> nn.Module:
        """The network by its name."""
        if not package.is_model(self.name):
            raise _unknown("timm", self.name, package.list_models())
        try:
            net: nn.Module = package.create_model(self.name, pretrained=False, num_classes=self.outputs)
        except RuntimeError as error:  # an unknown tag behind a known name
            raise InvalidInput(f"timm has no network {self.name!r}: {str(error).splitlines()[0]}") from error
        return net

    def preset(self, net: nn.Module) -> tuple[Three, Three, int | None]:
        """What timm says about the weights of this name."""
        named: Any = getattr(net, "pretrained_cfg", None)
        facts = named if isinstance(named, Mapping) else {}
        size = facts.get("input_size")
        return facts.get("mean") or _MEAN, facts.get("std") or _STD, int(size[-1]) if size else None
