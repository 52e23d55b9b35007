# SPDX-License-Identifier: Apache-2.0
"""The task `ood_detection`: which images come from elsewhere, without labels and without an image from there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Dataset, NotApplicable, NotFinite, Stage, Task

from .base import Backbone, Denoiser, DensityDetector, Detector, Lift, Tensors
from .compression import compressed_bits
from .evidence import OODScores
from .noise import RowNoise
from .samplers import denoise, noise_blocks, plan, time_grid

_KEPT = 8
"""Images that are shown: their reconstructions, and as many samples of the model."""
_SAMPLE_STEPS = 100


def _lifted(images: str) -> Stage:
    inputs = {"backbone": "backbone", "lift": "lift", "images": images, "in_dist": "in_dist"}
    return Stage(method="lifted", inputs=inputs, params=("images",))


def _scored(images: str, lifted: str) -> Stage:
    inputs = {"backbone": "backbone", "detector": "detector", "images": images, "in_dist": "in_dist"}
    return Stage(method="scored", inputs=inputs | {"lifted": lifted, "calibrated": "calibrated"}, params=("images",))


_CALIBRATED = {"backbone": "backbone", "detector": "detector", "in_dist": "in_dist"}


class OODDetection(Task):
    """Which images are not of the kind that a model was trained on?

    A backbone is fitted on the training images of the in-domain set, without labels. A detector scores test images of that
    set and of another one; metrics ask how well the scores tell them apart. Where a detector reads reconstructions, a lift
    takes the images off the manifold and the backbone maps them back; reconstructions are stored and serve every detector,
    distance and number of attempts.

    Args:
        images: Test images of each set, the first ones; null for all.

    Source: Z. Liu, J. P. Zhou, K. Q. Weinberger, Leveraging diffusion models for unsupervised out-of-distribution detection on
    image manifold, Front. Artif. Intell. 7:1255566, 2024, Algorithm 1.
    """

    fits: ClassVar[Mapping[str, str]] = {"backbone": "in_dist"}
    shared: ClassVar[bool] = True
    stages: ClassVar[Mapping[str, Stage | tuple[Stage, ...]]] = {
        "in_lifted": _lifted("in_dist"),
        "out_lifted": _lifted("out_dist"),
        "drawn": Stage(
            method="drawn", inputs={"backbone": "backbone", "in_dist": "in_dist"}, only={"lift.makes": ("reconstructions",)}
        ),
        "calibrated": (
            # Other detectors learn the same whatever the lift, and learn it once.
            Stage(method="calibrate_densities", inputs=_CALIBRATED | {"lift": "lift"}, only={"detector.needs": ("densities",)}),
            Stage(method="calibrate", inputs=_CALIBRATED),
        ),
        "in_scores": _scored("in_dist", "in_lifted"),
        "out_scores": _scored("out_dist", "out_lifted"),
    }

    def __init__(self, *, images: Annotated[int, Field(ge=2)] | None = None) -> None:
        self.images = images

    def lifted(self, backbone: Backbone, lift: Lift, images: Dataset, in_dist: Dataset, ctx: Context) -> Tensors:
        """What becomes of the test images; the seconds that it took."""
        _same_shape(in_dist, images)
        _check(lift, backbone)
        x = self._test(images, ctx)
        start = time.perf_counter()
        made = lift.lifted(backbone, x, ctx)
        seconds = (time.perf_counter() - start) / len(x) if made else 0.0
        return {**made, "seconds": torch.tensor(seconds, dtype=torch.float64)}

    def drawn(self, backbone: Backbone, in_dist: Dataset, ctx: Context) -> Tensors:
        """A few images that a diffusion model draws from nothing, and the loss curve of its training, for people to look at."""
        if not isinstance(backbone, Denoiser):
            return {}
        steps = plan(backbone.schedule, time_grid(backbone.schedule, _SAMPLE_STEPS))
        shape, draws = in_dist.spec().shape, [ctx.generator(f"sample {i}") for i in range(_KEPT)]
        noise = RowNoise(draws, shape, 1 + noise_blocks(steps), ctx.device)
        samples = denoise(backbone, noise() * steps[0].start.noise, steps, noise)
        return {"samples": samples.add(1).div(2).clamp(0, 1).cpu(), "loss_curve": backbone.loss_curve.float()}

    def calibrate(self, backbone: Backbone, detector: Detector, in_dist: Dataset, ctx: Context) -> Tensors:
        """What the detector learns from in-domain training images beside the backbone."""
        _check(detector, backbone)
        return detector.calibrate(unit(in_dist, "train", ctx), backbone, ctx)

    def calibrate_densities(
        self, backbone: Backbone, lift: Lift, detector: DensityDetector, in_dist: Dataset, ctx: Context
    ) -> Tensors:
        """The same for a detector that reads densities."""
        _check(detector, backbone)
        _suits(lift, detector)
        return detector.calibrate_densities(unit(in_dist, "train", ctx), backbone, lift, ctx)

    def scored(
        self,
        backbone: Backbone,
        detector: Detector,
        images: Dataset,
        in_dist: Dataset,
        lifted: Tensors,
        calibrated: Tensors,
        ctx: Context,
    ) -> Tensors:
        """Scores of the test images."""
        _same_shape(in_dist, images)
        _check(detector, backbone)
        if detector.needs != "nothing" and _KEYS[detector.needs] not in lifted:
            raise NotApplicable(_lacking(detector))
        x = self._test(images, ctx)
        start = time.perf_counter()
        found = detector.score(x, backbone, calibrated, lifted if detector.needs != "nothing" else {}, ctx)
        seconds = (time.perf_counter() - start) / len(x)
        if not bool(found.scores.isfinite().all()):
            row = int((~found.scores.isfinite()).nonzero()[0])
            raise NotFinite(f"{type(detector).__name__} gave {float(found.scores[row])} for image {row}")
        cost = [found.evaluations, seconds]
        # Whoever reads the table must know that other images were compared than these.
        enlarged = {"enlarged_to": found.extras["enlarged_to"].max()} if "enlarged_to" in found.extras else {}
        return {"scores": found.scores.double(), "cost": torch.tensor(cost, dtype=torch.float64), **enlarged}

    def evidence(
        self,
        backbone: Backbone,
        lift: Lift,
        detector: Detector,
        in_dist: Dataset,
        out_dist: Dataset,
        in_lifted: Tensors,
        out_lifted: Tensors,
        calibrated: Tensors,
        in_scores: Tensors,
        out_scores: Tensors,
        ctx: Context,
        drawn: Tensors | None = None,
    ) -> OODScores:
        """Put the scores of both sets side by side."""
        cost = (in_scores["cost"] + out_scores["cost"]) / 2
        used = detector.share(in_lifted)
        lifting = {
            name: sum(float(lifted.get(name, 0.0)) for lifted in (in_lifted, out_lifted)) / 2
            for name in ("evaluations", "seconds")
        }
        whole, labels = zip(*(self._labelled(data, ctx) for data in (in_dist, out_dist)), strict=True)
        x, y = (images[:_KEPT] for images in whole)
        traits = [torch.stack([images.double().mean((1, 2, 3)), compressed_bits(images, "zlib")], 1) for images in whole]
        return OODScores(
            inside=in_scores["scores"],
            outside=out_scores["scores"],
            # Rounded, since a share such as 3/11 of 55 evaluations is a whole number only without rounding errors.
            evaluations=float(cost[0]) + round(used * lifting["evaluations"], 6),
            seconds=float(cost[1]) + used * lifting["seconds"],
            inside_labels=labels[0],
            outside_labels=labels[1],
            inside_traits=traits[0],
            outside_traits=traits[1],
            inside_images=x,
            outside_images=y,
            inside_error=_error(in_lifted, whole[0]),
            outside_error=_error(out_lifted, whole[1]),
            inside_mapped=_some(in_lifted),
            outside_mapped=_some(out_lifted),
            inside_lifted=lift.shown(backbone, x, ctx),
            outside_lifted=lift.shown(backbone, y, ctx),
            samples=(drawn or {}).get("samples"),
            loss_curve=(drawn or {}).get("loss_curve"),
            enlarged_to=int(in_scores["enlarged_to"]) if "enlarged_to" in in_scores else None,
        )

    def _test(self, data: Dataset, ctx: Context) -> Tensor:
        return self._labelled(data, ctx)[0]

    def _labelled(self, data: Dataset, ctx: Context) -> tuple[Tensor, Tensor | None]:
        images, labels = labelled(data, "test", ctx)
        return images[: self.images], None if labels is None else labels[: self.images]


def unit(data: Dataset, split: str, ctx: Context) -> Tensor:
    """Images of a split (n, C, L, L) float32, moved to [0, 1].

    Raises:
        NotApplicable: They are no images, or no squares.
    """
    return labelled(data, split, ctx)[0]


def labelled(data: Dataset, split: str, ctx: Context) -> tuple[Tensor, Tensor | None]:
    """The same with their classes (n,) int64, where there are any.

    Raises:
        NotApplicable: They are no images, or no squares.
    """
    spec = data.spec()
    if len(spec.shape) != 3 or spec.shape[1] != spec.shape[2]:
        raise NotApplicable(f"images are (channels, size, size); {type(data).__name__} has rows of shape {spec.shape}")
    part = data.split(split, ctx)
    images = (torch.from_numpy(part.inputs) - spec.low) / (spec.high - spec.low)
    return images, None if part.targets is None else torch.from_numpy(part.targets)


def _same_shape(in_dist: Dataset, images: Dataset) -> None:
    """Refuse images that what was fitted in-domain cannot read, before anything does.

    Raises:
        NotApplicable: With both shapes.
    """
    fitted, found = in_dist.spec().shape, images.spec().shape
    if found != fitted:
        raise NotApplicable(f"images of shape {found} cannot be scored by a model of {fitted}; choose equal sizes")


def _some(lifted: Tensors) -> Tensor | None:
    found = lifted.get("reconstructions")
    return None if found is None else found[:, :_KEPT]


def _error(lifted: Tensors, x: Tensor) -> float:
    found = lifted.get("reconstructions")
    return 0.0 if found is None else float((found.double() - x.double()).square().mean())


_KEYS = {"reconstructions": "reconstructions", "densities": "nats"}
_LIFTS = {"reconstructions": "reconstructions; fill the role lift with inpaint, denoise_from or fill_in",
          "densities": "log densities; fill the role lift with probability_flow"}  # fmt: skip


def _suits(lift: Lift, detector: Detector) -> None:
    """Refuse a lift that does not make what the detector needs.

    Raises:
        NotApplicable: With lifts that do.
    """
    if detector.needs not in ("nothing", lift.makes):
        raise NotApplicable(_lacking(detector))


def _lacking(detector: Detector) -> str:
    return f"{type(detector).__name__} reads {_LIFTS[detector.needs]}"


def _check(who: Lift | Detector, backbone: Backbone) -> None:
    """Refuse a backbone that a lift or a detector cannot read.

    Raises:
        NotApplicable: With the class that it needs.
    """
    if who.reads is not None and not isinstance(backbone, who.reads):
        raise NotApplicable(
            f"{type(who).__name__} reads a {who.reads.__name__}, the backbone is a {type(backbone).__name__}; "
            f"choose another backbone in this block{', or write lift: no_lift' if isinstance(who, Lift) else ''}"
        )
