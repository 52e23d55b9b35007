# SPDX-License-Identifier: Apache-2.0
"""What this plugin has: datasets, networks and attacks that several suites share."""

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
    "cifar10": ("cifar:Cifar10", "small photographs of ten classes, from local files"),
    "cifar100": ("cifar:Cifar100", "small photographs of a hundred classes, from local files"),
    "svhn": ("svhn:Svhn", "house numbers, from local files"),
    "ood_tiny": ("tiny:OodTiny", "digits, letters and shapes of 8x8 or 16x16 pixels, and what keeps their histogram"),
    "glyphs": ("glyphs:Glyphs", "letters and digits of many alphabets, drawn with the fonts of matplotlib"),
    "gaussfield": ("gaussfield:GaussField", "a Gaussian random field, whose exact diffusion model is known"),
    "texture_patches": ("textures:TexturePatches", "patches of textures and photographs that scikit-image ships"),
    "image_folder": ("folder:ImageFolder", "the images of any folder, class subfolders optional"),
    "npz": ("npz:Npz", "arrays of any .npz file"),
}
_NETWORKS = {
    "mlp": ("mlp:MLP", "fully connected network, trained as a classifier or left at random weights", ("trainable",)),
    "cnn": ("cnn:CNN", "small convolutional network, trained as a classifier or left at random weights", ("trainable",)),
    "efficientnet_lite0": ("efficientnet:EfficientNetLite0", "EfficientNet-Lite0 with ImageNet weights", ("pretrained",)),
    "exported": ("exported:Exported", "your own network as a torch.export file (.pt2), read without running code of it", ()),
    "convnet": ("convnet:ConvNet", "convolutions, a mean or flattening, and dense layers, in any widths", ("trainable",)),
    "resnet": ("resnet:ResNet", "small residual network with batch normalisation", ("trainable",)),
    "vit": ("vit:ViT", "small vision transformer", ("trainable",)),
    "cifar_network": (
        "cifar.network:CifarNetwork",
        "EfficientNet-B0, ResNet-18, VGG-19, MobileNet-V2 or GoogLeNet for 32x32 images",
        ("trainable",),
    ),
    "torchvision": ("zoo:TorchVision", "a classifier of torchvision with weights from a local file", ("pretrained",)),
    "timm": ("zoo:Timm", "a classifier of timm with weights from a local file", ("pretrained",)),
    "imported": (
        "imported:Imported",
        "your own network: a function of a module that --plugin names, and a safetensors file",
        (),
    ),
}

_ATTACKS = {
    "fgsm": ("gradient:FGSM", "one step along the sign of the gradient"),
    "pgd": ("gradient:PGD", "projected gradient ascent in the l-infinity ball"),
    "cw_l2": ("carlini_wagner:CarliniWagnerL2", "the smallest l2 perturbation that errs, by Carlini and Wagner"),
    "transfer": ("gradient:Transfer", "momentum iterative FGSM on a surrogate: the same images for all networks"),
    "random_sign": ("control:RandomSign", "control: random signs, no attack at all"),
    "adaptive_pgd": ("adaptive:AdaptivePGD", "projected gradient ascent on the classifier and a detector together"),
    "precomputed": ("precomputed:Precomputed", "adversarial images made elsewhere, from local files"),
}


@hookimpl
def lipbench_components() -> Iterable[Component]:
    """The shared datasets, networks and attacks."""
    for name, (place, summary) in _DATASETS.items():
        yield Component(kind="dataset", name=name, factory=f"{_HERE}.datasets.{place}", summary=summary)
    for name, (place, summary, tags) in _NETWORKS.items():
        yield Component(kind="model", name=name, factory=f"{_HERE}.networks.{place}", summary=summary, tags=tags)
    for name, (place, summary) in _ATTACKS.items():
        yield Component(kind="method", name=name, factory=f"{_HERE}.attacks.{place}", summary=summary, tags=("attack",))
