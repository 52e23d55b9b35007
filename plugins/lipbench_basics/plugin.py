# SPDX-License-Identifier: Apache-2.0
"""What this plugin has: datasets and networks that several suites share."""

from __future__ import annotations

from collections.abc import Iterable

from lipbench.api import Component, hookimpl

_HERE = "lipbench_basics"

_DATASETS = {
    "digits": ("digits:Digits", "1,797 handwritten digits of 8x8 pixels, shipped with scikit-learn"),
    "two_moons": ("moons:TwoMoons", "two interleaved half circles in the plane"),
    "uniform_noise": ("noise:UniformNoise", "independent uniform numbers or integers of any shape"),
    "natural_images": ("photographs:NaturalImages", "random crops of colour photographs that come with installed packages"),
    "mnist": ("idx:Mnist", "handwritten digits, from local files"),
    "fashion_mnist": ("idx:FashionMnist", "articles of clothing, from local files"),
    "kmnist": ("idx:Kmnist", "cursive Japanese characters, from local files"),
    "image_folder": ("folder:ImageFolder", "the images of any folder, class subfolders optional"),
    "npz": ("npz:Npz", "arrays of any .npz file"),
}
_NETWORKS = {
    "mlp": ("mlp:MLP", "fully connected network, trained as a classifier or left at random weights", ("trainable",)),
    "cnn": ("cnn:CNN", "small convolutional network, trained as a classifier or left at random weights", ("trainable",)),
    "efficientnet_lite0": ("efficientnet:EfficientNetLite0", "EfficientNet-Lite0 with ImageNet weights", ("pretrained",)),
    "exported": ("exported:Exported", "your own network as a torch.export file (.pt2), read without running code of it", ()),
    "imported": ("imported:Imported", "your own network: a function of an importable module and a safetensors file", ()),
}


@hookimpl
def lipbench_components() -> Iterable[Component]:
    """The shared datasets and networks."""
    for name, (place, summary) in _DATASETS.items():
        yield Component(kind="dataset", name=name, factory=f"{_HERE}.datasets.{place}", summary=summary)
    for name, (place, summary, tags) in _NETWORKS.items():
        yield Component(kind="model", name=name, factory=f"{_HERE}.networks.{place}", summary=summary, tags=tags)
