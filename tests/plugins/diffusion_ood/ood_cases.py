# SPDX-License-Identifier: Apache-2.0
"""Gaussian images with their exact model, and a harness of a few lines, that the tests of the task and its metrics share."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lipbench_basics.datasets.gaussfield import GaussField
from lipbench_diffusion_ood.base import Backbone, Denoiser, Detector, Scored, Tensors
from lipbench_diffusion_ood.detectors.lmd import LiftMapDetect
from lipbench_diffusion_ood.evidence import OODScores
from lipbench_diffusion_ood.lifts import Inpaint
from lipbench_diffusion_ood.models.exact import GaussianExact
from lipbench_diffusion_ood.task import OODDetection
from torch import Tensor

from lipbench.api import Context, Dataset, DataSpec, Split, Stage

CTX = Context(scope="test", seed=0)
SIDE = 4
COUNT = 12
ATTEMPTS, STEPS = 4, 3


@functools.cache
def field_images(kind: Any = "field", scale: float = 1.0, side: int = SIDE, count: int = COUNT) -> GaussField:
    """One object for the same parameters, so that `Lab` knows it again."""
    return GaussField(kind=kind, size=side, scale=scale, train=40, test=count)


@functools.cache
def exact(side: int = SIDE) -> GaussianExact:
    """The exact denoiser of the field, by its formula."""
    found, data = GaussianExact(field=True), field_images(side=side)
    found.build(data.spec(), CTX)
    found.fit(data, CTX)
    return found


class Given(Dataset):
    """The images that it is given, in the range that it is given."""

    def __init__(self, inputs: np.ndarray, high: float = 1.0) -> None:
        self.inputs, self.high = inputs.astype(np.float32), high

    def spec(self) -> DataSpec:
        return DataSpec(shape=self.inputs.shape[1:], low=0.0, high=self.high, unit=self.high)

    def load(self, split: str, ctx: Context) -> Split:
        return Split(inputs=self.inputs)


class CountedInpaint(Inpaint):
    """Remembers which images it was asked to reconstruct."""

    def __init__(self, *, attempts: int = ATTEMPTS, steps: int = STEPS, resamplings: int = 1) -> None:
        super().__init__(cells=2, attempts=attempts, steps=steps, resamplings=resamplings)
        self.asked: list[Tensor] = []

    def reconstruct(self, denoiser: Denoiser, x: Tensor, ctx: Context) -> Tensor:
        self.asked.append(x)
        return super().reconstruct(denoiser, x, ctx)


class Spy(Detector):
    """Scores an image by its first pixel, and remembers all that it was given."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.train: list[Tensor] = []
        self.given: list[tuple[Tensor, Tensors, Tensors]] = []

    def calibrate(self, train: Tensor, backbone: Backbone | None, ctx: Context) -> Tensors:
        self.train.append(train)
        return {"mean": train.double().mean()}

    def score(self, x: Tensor, backbone: Backbone | None, calibrated: Tensors, lifted: Tensors, ctx: Context) -> Scored:
        self.given.append((x, calibrated, lifted))
        return Scored(scores=self.factor * x[:, 0, 0, 0].double(), evaluations=2)


def roles(**changes: Any) -> dict[str, Any]:
    """What fills the roles of the task."""
    filled = {
        "backbone": exact(),
        "lift": Inpaint(cells=2, attempts=ATTEMPTS, steps=STEPS),
        "detector": LiftMapDetect(distance="mse"),
        "in_dist": field_images(),
        "out_dist": field_images(scale=1.5),
    }
    return filled | changes


def chosen(choices: Stage | tuple[Stage, ...], filled: Mapping[str, Any]) -> Stage | None:
    """The first stage whose conditions hold, as in a plan."""

    def holds(stage: Stage) -> bool:
        said = {key: getattr(type(filled[key.split(".")[0]]), key.split(".")[1]) for key in stage.only}
        return all(said[key] in allowed for key, allowed in stage.only.items())

    return next((s for s in ((choices,) if isinstance(choices, Stage) else choices) if holds(s)), None)


@dataclass
class Lab:
    """Runs the task and its stages as the harness does: a stage once for the same inputs, with no parameter that it hides."""

    ctx: Context = CTX
    kept: dict[Any, Tensors] = field(default_factory=dict)
    held: list[Any] = field(default_factory=list)
    """Keeps inputs alive, so that no id is given twice."""
    made: dict[str, Tensors] = field(default_factory=dict)
    """Stages of the last evidence by name."""

    def evidence(self, params: Mapping[str, Any] | None = None, **changes: Any) -> OODScores:
        """Evidence of the task with these parameters; keywords change roles."""
        filled = roles(**changes)
        self.made = self.stages(filled, params or {})
        return OODDetection(**(params or {})).evidence(**filled, **self.made, ctx=self.ctx)

    def stages(self, filled: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Tensors]:
        task, found = OODDetection(**params), dict[str, Tensors]()
        for name, choices in OODDetection.stages.items():
            stage = chosen(choices, filled)
            if stage is None:
                continue
            inputs = {p: found[role] if role in found else filled[role] for p, role in stage.inputs.items()}
            known = {k: getattr(task, k) for k in stage.params}
            key = (stage.method, *((p, id(i)) for p, i in inputs.items()), *known.items())
            if key not in self.kept:
                self.held.append(inputs)
                self.kept[key] = getattr(OODDetection(**known), stage.method)(**inputs, ctx=self.ctx)
            found[name] = self.kept[key]
        return found


def evidence(**changes: Any) -> OODScores:
    """Evidence made by hand, of 3 in-domain and 4 foreign images of 6x6 pixels in grey; keywords change its fields."""
    draw = torch.Generator().manual_seed(0)

    def images(*shape: int) -> Tensor:
        return torch.rand(shape, generator=draw)

    filled: dict[str, Any] = {
        "inside": torch.randn(60, generator=draw, dtype=torch.float64),
        "outside": torch.randn(50, generator=draw, dtype=torch.float64) + 1,
        "inside_labels": torch.arange(60) % 3,
        "outside_labels": torch.arange(50) % 2,
        "inside_traits": torch.rand(60, 2, generator=draw, dtype=torch.float64),
        "outside_traits": torch.rand(50, 2, generator=draw, dtype=torch.float64),
        "evaluations": 200.0,
        "seconds": 0.25,
        "inside_images": images(3, 1, 6, 6),
        "outside_images": images(4, 1, 6, 6),
        "inside_lifted": images(3, 1, 6, 6),
        "outside_lifted": images(4, 1, 6, 6),
        "inside_error": 0.25,
        "outside_error": 0.5,
        "inside_mapped": images(5, 3, 1, 6, 6),
        "outside_mapped": images(5, 4, 1, 6, 6),
    }
    return OODScores(**(filled | changes))
