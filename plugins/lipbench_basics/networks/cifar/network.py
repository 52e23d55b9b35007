# SPDX-License-Identifier: Apache-2.0
"""The component that makes and trains one of the five networks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from lipbench.api import Context, Dataset, DataSpec, InvalidInput

from ..classifier import Classifier
from ..exported import find_weights
from ..layers import initial_weights, outputs_of, rescale
from .googlenet import googlenet
from .mbconv import efficientnet_b0
from .mobilenet import mobilenet_v2
from .resnet import resnet18
from .training import Recipe, train
from .vgg import vgg19
from .weights import load_weights

_FAMILIES: dict[str, Callable[[int, float], tuple[list[nn.Module], int]]] = {
    "efficientnet_b0": efficientnet_b0,
    "resnet18": resnet18,
    "vgg19": vgg19,
    "mobilenet_v2": mobilenet_v2,
    "googlenet": googlenet,
}
_SMALLEST = 32


class CifarNetwork(Classifier):
    """One of five classifiers of CIFAR-10 in its common adaptation to 32x32 pixels; random weights, trained, or from a file.

    The parts of the network are `scale` (the data's range to [-0.5, 0.5]), `body` (to the pooled channels, which are
    `layer: embedding`) and `head` (one linear layer). Width of the embedding, parameters with 10 classes and multiply-adds
    (million) of one forward of a 3x32x32 image:

    - `efficientnet_b0` 320, 3,598,598, 30: Tan & Le 2019, without the head of 1280 channels;
    - `resnet18` 512, 11,173,962, 555: He et al. 2016;
    - `vgg19` 512, 20,040,522, 398: Simonyan & Zisserman 2015, with batch normalisation;
    - `mobilenet_v2` 1280, 2,296,922, 91: Sandler et al. 2018, with projected shortcuts;
    - `googlenet` 1024, 6,166,250, 1522: Szegedy et al. 2015, with batch normalisation.

    Trained by SGD with momentum 0.9 on the cross entropy, the learning rate falling along a half cosine, on images that are
    padded by 4 pixels of the smallest value, cropped at random and mirrored at random (He et al. 2016, section 4.2).
    One epoch costs a forward and a backward for each training image; 200 epochs are a matter for a GPU.

    Args:
        name: Which network.
        width: Multiplies every number of channels, the embedding too; 1 for the networks of the papers.
        outputs: Number of outputs; null for one a class.
        weights: A state dict of this network (`.safetensors`, `.pth` or `.pt`; keys `body....` and `head....`), absolute,
            from the working directory, or from the data folder; with it nothing is trained. Null to train.
        epochs: Passes over the training split; 0 keeps the random initial weights and needs no labels.
        lr: Learning rate of the first epoch.
        batch_size: Images in one step.
        weight_decay: Of every parameter.
        augment: Whether training images are shifted and mirrored.
    """

    def __init__(
        self,
        *,
        name: Literal["efficientnet_b0", "resnet18", "vgg19", "mobilenet_v2", "googlenet"] = "resnet18",
        width: Annotated[float, Field(gt=0, le=8, allow_inf_nan=False)] = 1.0,
        outputs: Annotated[int, Field(ge=1)] | None = None,
        weights: str | None = None,
        epochs: Annotated[int, Field(ge=0)] = 200,
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1,
        batch_size: Annotated[int, Field(ge=1)] = 128,
        weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5e-4,
        augment: bool = True,
    ) -> None:
        super().__init__(epochs=epochs, lr=lr, batch_size=batch_size)
        self.name, self.width, self.outputs, self.weights = name, width, outputs, weights
        self.weight_decay, self.augment = weight_decay, augment

    def files(self) -> Sequence[Path]:
        """The weights, where given."""
        return [] if self.weights is None else [find_weights(self.weights)]

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        """Layers with torch's default initial weights, or with those of the file.

        Raises:
            InvalidInput: The data are no images or too small, the number of outputs is unknown, or the weights do not fit.
        """
        if len(spec.shape) != 3 or min(spec.shape[1:]) < _SMALLEST:
            need = f"images (channels, height, width) of at least {_SMALLEST}x{_SMALLEST} pixels"
            raise InvalidInput(f"cifar_network needs {need}, the data has shape {spec.shape}; write network: {{use: cnn}}")
        outputs = outputs_of(spec, self.outputs, "cifar_network")
        with initial_weights(ctx):
            layers, embedding = _FAMILIES[self.name](spec.shape[0], self.width)
            head = nn.Linear(embedding, outputs)
        parts: list[tuple[str, nn.Module]] = [
            ("scale", rescale(spec, "centred")),
            ("body", nn.Sequential(*layers)),
            ("head", head),
        ]
        module = nn.Sequential(OrderedDict(parts))
        if self.weights is not None:
            # The change of units follows the data that is measured, not the data that the weights were trained on.
            load_weights(module, find_weights(self.weights), own="scale")
        return module

    def fit(self, data: Dataset, ctx: Context) -> None:
        """Train, unless there are weights or no epochs; the log gets the accuracy on both splits.

        Raises:
            InvalidInput: No labels, or labels beyond the outputs.
            NotFinite: The loss diverges.
        """
        if self.epochs == 0 or self.weights is not None:
            return
        # Both splits before the training, so that wrong data fail at once and not after hours.
        (x, y), test = self._labelled(data, "train", ctx), self._labelled(data, "test", ctx)
        module = self.module.to(ctx.device)
        recipe = Recipe(
            epochs=self.epochs,
            lr=self.lr,
            batch_size=self.batch_size,
            weight_decay=self.weight_decay,
            augment=self.augment,
        )
        train(module, x.to(ctx.device), y.to(ctx.device), recipe=recipe, fill=data.spec().low, ctx=ctx)
        ctx.log(f"accuracy {self._accuracy(module, x, y):.4f} on train, {self._accuracy(module, *test):.4f} on test")
        self.module = module.eval().cpu()
