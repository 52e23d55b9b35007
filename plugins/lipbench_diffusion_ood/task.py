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

from .base import Backbone, Denoiser, Detector, Lift, Tensors
from .evidence import OODScores

_KEPT = 8
"""Images whose reconstructions are shown."""


def _lifted(images: str) -> Stage:
    inputs = {"backbone": "backbone", "lift": "lift", "images": images, "in_dist": "in_dist"}
    return Stage(method="lifted", inputs=inputs, params=("images",))


def _scored(images: str, lifted: str) -> Stage:
    inputs = {"backbone": "backbone", "detector": "detector", "images": images, "in_dist": "in_dist"}
    return Stage(method="scored", inputs=inputs | {"lifted": lifted, "calibrated": "calibrated"}, params=("images",))


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
        "calibrated": Stage(method="calibrate", inputs={"backbone": "backbone", "detector": "detector", "in_dist": "in_dist"}),
        "in_scores": _scored("in_dist", "in_lifted"),
        "out_scores": _scored("out_dist", "out_lifted"),
    }

    def __init__(self, *, images: Annotated[int, Field(ge=2)] | None = None) -> None:
        self.images = images

    def lifted(self, backbone: Backbone, lift: Lift, images: Dataset, in_dist: Dataset, ctx: Context) -> Tensors:
        """Reconstructions of the test images; nothing where the lift makes none."""
        _same_shape(in_dist, images)
        if lift.evaluations == 0:
            return {"seconds": torch.zeros((), dtype=torch.float64)}
        x = self._test(images, ctx)
        start = time.perf_counter()
        found = lift.reconstruct(_denoiser(backbone, lift), x, ctx)
        seconds = torch.tensor((time.perf_counter() - start) / len(x), dtype=torch.float64)
        return {"reconstructions": found, "seconds": seconds}

    def calibrate(self, backbone: Backbone, detector: Detector, in_dist: Dataset, ctx: Context) -> Tensors:
        """What the detector learns from in-domain training images beside the backbone."""
        _check(detector, backbone)
        return detector.calibrate(unit(in_dist, "train", ctx), backbone, ctx)

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
        reconstructions = lifted.get("reconstructions")
        if detector.lifts and reconstructions is None:
            raise NotApplicable(f"{type(detector).__name__} reads reconstructions; fill the role lift with one that makes some")
        x = self._test(images, ctx)
        start = time.perf_counter()
        found = detector.score(x, backbone, calibrated, reconstructions if detector.lifts else None, ctx)
        seconds = (time.perf_counter() - start) / len(x)
        if not bool(found.scores.isfinite().all()):
            row = int((~found.scores.isfinite()).nonzero()[0])
            raise NotFinite(f"{type(detector).__name__} gave {float(found.scores[row])} for image {row}")
        cost = [found.evaluations, seconds]
        return {"scores": found.scores.double(), "cost": torch.tensor(cost, dtype=torch.float64)}

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
    ) -> OODScores:
        """Put the scores of both sets side by side."""
        cost = (in_scores["cost"] + out_scores["cost"]) / 2
        lifting = float(in_lifted["seconds"] + out_lifted["seconds"]) / 2
        used = detector.share(in_lifted.get("reconstructions"))
        x, y = (self._test(data, ctx)[:_KEPT] for data in (in_dist, out_dist))
        return OODScores(
            inside=in_scores["scores"],
            outside=out_scores["scores"],
            # Rounded, since a share such as 3/11 of 55 evaluations is a whole number only without rounding errors.
            evaluations=float(cost[0]) + round(used * lift.evaluations, 6),
            seconds=float(cost[1]) + used * lifting,
            inside_images=x,
            outside_images=y,
            inside_mapped=_some(in_lifted),
            outside_mapped=_some(out_lifted),
            inside_lifted=_shown(lift, backbone, x, ctx),
            outside_lifted=_shown(lift, backbone, y, ctx),
        )

    def _test(self, data: Dataset, ctx: Context) -> Tensor:
        return unit(data, "test", ctx)[: self.images]


def unit(data: Dataset, split: str, ctx: Context) -> Tensor:
    """Images of a split (n, C, L, L) float32, moved to [0, 1].

    Raises:
        NotApplicable: They are no images, or no squares.
    """
    spec = data.spec()
    if len(spec.shape) != 3 or spec.shape[1] != spec.shape[2]:
        raise NotApplicable(f"images are (channels, size, size); {type(data).__name__} has rows of shape {spec.shape}")
    x = torch.from_numpy(data.split(split, ctx).inputs)
    return (x - spec.low) / (spec.high - spec.low)


def _shown(lift: Lift, backbone: Backbone, x: Tensor, ctx: Context) -> Tensor:
    return x if lift.evaluations == 0 else lift.shown(_denoiser(backbone, lift), x, ctx)


def _denoiser(backbone: Backbone, lift: Lift) -> Denoiser:
    """The diffusion model that a lift needs.

    Raises:
        NotApplicable: The backbone is none.
    """
    if not isinstance(backbone, Denoiser):
        who, what = type(lift).__name__, type(backbone).__name__
        raise NotApplicable(f"{who} maps images back by a diffusion model, the backbone is a {what}; write lift: no_lift here")
    return backbone


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


def _check(detector: Detector, backbone: Backbone) -> None:
    """Refuse a detector that cannot read this backbone.

    Raises:
        NotApplicable: With the class that it needs.
    """
    if detector.reads is not None and not isinstance(backbone, detector.reads):
        raise NotApplicable(
            f"{type(detector).__name__} reads a {detector.reads.__name__}, the backbone is a {type(backbone).__name__}; "
            "choose another backbone in this block"
        )
