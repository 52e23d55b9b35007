# SPDX-License-Identifier: Apache-2.0
"""What one network makes of one attack: embeddings of original, adversarial and merely noisy images, for all pairs to share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, InvalidInput, Network, Split

from .detector import train_detector

MAP, SVM, VAL = 0, 1, 2
"""Parts of the evaluation images: one fits the map, one trains the detector, one is looked at last."""
PARTS = 3
# Above this many numbers in an image a linear detector on pixels is no small control any more.
_MOST_PIXELS = 4096
_CHUNK = 256
_HALVINGS = 30
# Adversarial and noisy copies are made for so many numbers at a time, whatever the number of images.
_BLOCK = 2**26
PIXEL_KINDS = ("clean", "adversarial")


def partition(labels: np.ndarray, ids: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Divide images into three equal parts, stratified by class; images of one id stay together.

    Args:
        labels: (N,) classes.
        ids: (N,) what each image is called; None where all are different.
        rng: Where the shuffle is drawn from.

    Returns:
        (N,) int64: MAP, SVM or VAL.

    Raises:
        InvalidInput: A class has fewer than three images.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    grouped = ids is not None and len(np.unique(ids)) < len(ids)
    for label in np.unique(labels):
        rows = labels == label
        found = len(np.unique(ids[rows])) if grouped and ids is not None else int(rows.sum())
        if found < PARTS:
            of = "ids of test images" if grouped else "test images"
            raise InvalidInput(f"class {label} has {found} {of}, and each of the three parts needs one; use more images")
    seed = int(rng.integers(2**31))
    folds = (StratifiedGroupKFold if grouped else StratifiedKFold)(n_splits=PARTS, shuffle=True, random_state=seed)
    part = np.empty(len(labels), dtype=np.int64)
    for number, (_, rows) in enumerate(folds.split(np.zeros(len(labels)), labels, ids if grouped else None)):
        part[rows] = number
    return part


def labelled(split: Split) -> tuple[Tensor, Tensor]:
    """Images and classes of a split.

    Raises:
        InvalidInput: It has no classes.
    """
    if split.targets is None:
        raise InvalidInput("attacks need classes, and this data has none; use a dataset with labels")
    return torch.from_numpy(split.inputs), torch.from_numpy(split.targets)


def noisy(x: Tensor, adversarial: Tensor, spec: DataSpec, eps: float | None, ctx: Context) -> Tensor:
    """The control: random signs of the size of the attack, kept inside the data's range.

    Args:
        x: (N, *shape) images.
        adversarial: (N, *shape) what the attack made of them.
        spec: Range and unit.
        eps: Budget of the attack in [0,1] units; None for one that has none, where each image gets the l2 norm of its attack.
        ctx: Where the signs are drawn from.
    """
    n = x[0].numel()
    signs = torch.randint(0, 2, x.shape, generator=ctx.generator("noise control")).to(x.dtype) * 2 - 1
    if eps is not None:
        return (x + eps * spec.unit * signs).clamp(spec.low, spec.high)
    wanted = (adversarial - x).flatten(1).norm(dim=1)
    low, high = wanted / n**0.5, torch.full_like(wanted, spec.high - spec.low)
    # What is cut off at the border must be made up for elsewhere, so the size is found by halving.
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        made = (x + _sized(middle, signs)).clamp(spec.low, spec.high)
        short = (made - x).flatten(1).norm(dim=1) < wanted
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return (x + _sized(low, signs)).clamp(spec.low, spec.high)


def _sized(size: Tensor, signs: Tensor) -> Tensor:
    return size.view(-1, *[1] * (signs.dim() - 1)) * signs


def quantised(x: Tensor, levels: int | None, spec: DataSpec) -> Tensor:
    """Values moved to the nearest of `levels` + 1 equally spaced ones of the [0,1] unit; as they are for None."""
    if levels is None:
        return x
    step = spec.unit / levels
    return (torch.round((x - spec.low) / step) * step + spec.low).clamp(spec.low, spec.high)


def perturbation(x: Tensor, adversarial: Tensor, spec: DataSpec) -> dict[str, Tensor]:
    """Size of each image's perturbation in [0,1] units: l-infinity, l2, and mean square over pixels; (N,) float64 each."""
    moved = (adversarial.double() - x.double()).flatten(1) / spec.unit
    return {"linf": moved.abs().amax(1), "l2": moved.norm(dim=1), "mse": moved.square().mean(1)}


@torch.inference_mode()
def embed(network: Network, x: Tensor, device: str) -> tuple[Tensor, Tensor]:
    """Embeddings (N, d) float32 and guessed classes (N,), in one pass.

    Raises:
        InvalidInput: The embedding is no vector.
    """
    body, head = network.at("embedding").to(device), network.head().to(device)
    found, guesses = [], []
    for rows in _chunks(x):
        z = body(rows.to(device))
        if z.dim() != 2:
            raise InvalidInput(f"{type(network).__name__}: an embedding of shape {tuple(z.shape[1:])} is no vector")
        found.append(z.cpu())
        guesses.append(head(z).argmax(1).cpu())
    return torch.cat(found), torch.cat(guesses)


def blocks(x: Tensor) -> Iterator[slice]:
    """Slices of images whose copies fit into memory; the same ones on every machine."""
    size = max(1, _BLOCK // max(1, x[0].numel()))
    for start in range(0, len(x), size):
        yield slice(start, min(len(x), start + size))


class Collected:
    """Tensors by name that come block after block."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Tensor]] = {}

    def add(self, tensors: Iterable[tuple[str, Tensor]]) -> None:
        """One more block."""
        for name, tensor in tensors:
            self._parts.setdefault(name, []).append(tensor)

    def joined(self) -> dict[str, Tensor]:
        """All blocks, in order."""
        return {name: torch.cat(parts) for name, parts in self._parts.items()}


def _chunks(x: Tensor) -> Iterator[Tensor]:
    yield from x.split(_CHUNK)


def frozen(module: nn.Module) -> nn.Module:
    """The module without gradients for its parameters, which an attack does not need."""
    return module.requires_grad_(False)


def pixels(x: Tensor, adversarial: Tensor) -> dict[str, Tensor]:
    """What the controls that need no network read of some images.

    Returns:
        `zeros_clean`, `zeros_adversarial` (N,) minus the number of values that are exactly zero, so that larger means more
        adversarial; `pixels_clean`, `pixels_adversarial` (N, n), or (N, 0) where images are large.
    """
    found: dict[str, Tensor] = {}
    for kind, images in zip(PIXEL_KINDS, (x, adversarial), strict=True):
        flat = images.flatten(1)
        found[f"zeros_{kind}"] = -(flat == 0).sum(1).double()
        found[f"pixels_{kind}"] = flat if flat.shape[1] <= _MOST_PIXELS else flat[:, :0]
    return found


def pixel_control(flat: Mapping[str, Tensor], part: Tensor) -> dict[str, Tensor]:
    """A linear detector on pixels: `pixel_clean`, `pixel_adversarial`, its (V,) scores of the val images, empty for large ones.

    Args:
        flat: `clean` and `adversarial`, (N, n) each.
        part: (N,) which part an image belongs to.
    """
    if flat["clean"].shape[1] == 0:
        return {f"pixel_{kind}": torch.empty(0, dtype=torch.float64) for kind in PIXEL_KINDS}
    detector = train_detector(flat["clean"][part == SVM].double(), flat["adversarial"][part == SVM].double())
    return {f"pixel_{kind}": detector(t[part == VAL].double())[:, 0] for kind, t in flat.items()}
