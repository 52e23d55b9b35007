# SPDX-License-Identifier: Apache-2.0
"""The task `linear_map_detection`: one detector in a canonical embedding space, other networks mapped into it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from lipbench_basics.attacks import PGD, AdaptivePGD, Attack, RandomSign, Victim
from lipbench_basics.attacks.budget import EpsSpace
from lipbench_basics.attacks.gradient import SignAttack
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Network, NotApplicable, Stage, Task

from .detector import train_detector
from .evidence import Evasion, Images, MappedEmbeddings, Prediction, Scores
from .features import Embedding, Feature
from .maps import Affine, LinearMap
from .solvers import factorise
from .views import (
    MAP,
    PIXEL_KINDS,
    SVM,
    VAL,
    Collected,
    blocks,
    embed,
    frozen,
    labelled,
    noisy,
    partition,
    perturbation,
    pixel_control,
    pixels,
    quantised,
)

Tensors = Mapping[str, Tensor]
Craft = Callable[[slice, Context], Tensor]
"""Makes the adversarial copies of a block of images."""
_KINDS = ("clean", "adversarial", "noise")


def _views(network: str, other: str) -> tuple[Stage, ...]:
    """The views of a network, its images crafted on itself, on the other network or on the surrogate."""

    def crafted(victim: str, **only: tuple[object, ...]) -> Stage:
        inputs = {"network": network, "victim": victim, "data": "data", "attack": "attack"}
        own = {"attack.own": (victim != "surrogate",)}
        return Stage(method="views", inputs=inputs, params=("quantise",), only=own | only)

    return crafted(network, crafted_on=("own", network)), crafted(other, crafted_on=(other,)), crafted("surrogate")


def _factor(method: str, kind: str, **more: str) -> Stage:
    """Maps with the same factorisation of the source's rows share it."""
    inputs = {"views": "source_views", "feature": "feature", **more}
    return Stage(method=method, inputs=inputs, params=("map_fit", "map_rows"), only={"map.factor": (kind,)})


class LinearMapDetection(Task):
    """Does a detector of adversarial images work for a network that it was not trained on, through a linear map?

    The test images are divided into three parts, stratified by class, an image and its adversarial copy always together. A
    linear detector is trained on the target's features of the part `svm`; a linear map from the source's features to the
    target's is fitted on the part `map`; the mapped features of the part `val` are scored by the target's detector. Where
    source and target are the same network nothing is mapped: the diagonal is native. Features are kept for all pairs to
    share.

    Args:
        crafted_on: Whose adversarial images: each network's `own`, or for both networks those of the `source` or the `target`.
            Attacks that transfer are crafted on the surrogate whatever this says.
        map_fit: What the map is fitted on: `both` originals and adversarial images, or one of them.
        map_rows: Most rows that the map is fitted on; null for all of the part.
        negatives: What mapped adversarial images are told from: `mapped` originals, or the target's `native` ones.
        quantise: Round adversarial and noisy images to this many steps of the [0,1] range, such as 255; null leaves them.
        C: Inverse regularisation of the linear detector.

    Source: H. Jamil, Y. Liu, N. Blanchard, M. Kirby, C. Peterson, Leveraging linear mapping for model-agnostic adversarial
    defense, Front. Comput. Sci. 5:1274832, 2023, Algorithm 1; the detector follows M. Gorbett and N. Blanchard, WACV 2022.
    """

    fits: ClassVar[Mapping[str, str]] = {"source": "data", "target": "data", "surrogate": "data"}
    shared: ClassVar[bool] = True
    stages: ClassVar[Mapping[str, Stage | tuple[Stage, ...]]] = {
        "source_views": _views("source", "target"),
        "target_views": _views("target", "source"),
        "source_detector": Stage(method="detector", inputs={"views": "source_views", "feature": "feature"}, params=("C",)),
        "target_detector": Stage(method="detector", inputs={"views": "target_views", "feature": "feature"}, params=("C",)),
        "factor": (
            _factor("centred", "centred"),
            _factor("standardised", "standardised"),
            _factor("own_factor", "own", map="map"),
        ),
    }

    def __init__(
        self,
        *,
        crafted_on: Literal["own", "source", "target"] = "own",
        map_fit: Literal["both", "adversarial", "clean"] = "both",
        map_rows: Annotated[int, Field(ge=2)] | None = None,
        negatives: Literal["mapped", "native"] = "mapped",
        quantise: Annotated[int, Field(ge=1)] | None = None,
        C: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
    ) -> None:
        self.crafted_on, self.map_fit, self.map_rows = crafted_on, map_fit, map_rows
        self.negatives, self.quantise, self.C = negatives, quantise, C

    def views(self, network: Network, victim: Network, data: Dataset, attack: Attack, ctx: Context) -> Tensors:
        """Embeddings of all test images, of their adversarial copies and of copies with noise, in one network.

        Costs three passes over the test images, and the attack's.
        """
        split, spec = data.split("test", ctx), data.spec()
        x, y = labelled(split)
        rng = ctx.rng("parts")
        part = torch.from_numpy(partition(y.numpy(), split.ids, rng))
        order = torch.from_numpy(rng.permutation(len(x)))
        ids = np.arange(len(x)) if split.ids is None else split.ids
        attacked = _victim(victim, spec, ctx.device)
        craft = _evader(attack, victim, attacked, x, y, part, ctx) if attack.adaptive else _crafter(attack, attacked, x, y, ids)
        found = Collected()
        for rows in blocks(x):
            here = replace(ctx, scope=f"{ctx.scope} rows {rows.start}")
            crafted = craft(rows, here)
            noise = quantised(noisy(x[rows], crafted, spec, attack.eps, here), self.quantise, spec)
            crafted = quantised(crafted, self.quantise, spec)
            for name, images in zip(_KINDS, (x[rows], crafted, noise), strict=True):
                found.add(zip((name, f"guess_{name}"), embed(network, images, ctx.device), strict=True))
            found.add(perturbation(x[rows], crafted, spec).items())
            found.add(pixels(x[rows], crafted).items())
            ctx.report(f"{rows.stop} of {len(x)} images")
        whole = found.joined()
        control = pixel_control({kind: whole.pop(f"pixels_{kind}") for kind in PIXEL_KINDS}, part)
        zeros = {f"zeros_{kind}": whole[f"zeros_{kind}"][part == VAL] for kind in PIXEL_KINDS}
        return {"labels": y, "part": part, "order": order} | whole | zeros | control

    def detector(self, views: Tensors, feature: Feature, ctx: Context) -> Tensors:
        """The detector of the svm part and the one of the map part, with what both say of the val images."""
        found: dict[str, Tensor] = {}
        val = {kind: feature(views[kind][views["part"] == VAL].double()) for kind in _KINDS}
        for name, part in (("svm", SVM), ("map", MAP)):
            rows = views["part"] == part
            clean, adversarial = (feature(views[kind][rows].double()) for kind in ("clean", "adversarial"))
            detector = train_detector(clean, adversarial, C=self.C, log=ctx.log)
            found |= {f"{name}_weight": detector.weight, f"{name}_bias": detector.bias}
            found |= {f"{name}_{kind}": detector(val[kind])[:, 0] for kind in _KINDS}
        return found

    def centred(self, views: Tensors, feature: Feature, ctx: Context) -> Tensors:
        """The factorisation of the source's centred rows, once for all targets and all maps of least squares."""
        return factorise(self._fit_rows(views, feature))

    def standardised(self, views: Tensors, feature: Feature, ctx: Context) -> Tensors:
        """The singular value decomposition of the source's standardised rows, for ridge."""
        return factorise(self._fit_rows(views, feature), standardise=True, spectrum=True)

    def own_factor(self, views: Tensors, feature: Feature, map: LinearMap, ctx: Context) -> Tensors:
        """What any other map needs of the source's rows alone."""
        return map.factorise(self._fit_rows(views, feature))

    def evidence(
        self,
        source: Network,
        target: Network,
        surrogate: Network,
        data: Dataset,
        attack: Attack,
        map: LinearMap,
        feature: Feature,
        source_views: Tensors,
        target_views: Tensors,
        source_detector: Tensors,
        target_detector: Tensors,
        ctx: Context,
        factor: Tensors | None = None,
    ) -> MappedEmbeddings:
        """Fit the map of this pair and score the val images."""
        native = source_views is target_views
        detector = Affine(weight=target_detector["svm_weight"], bias=target_detector["svm_bias"])
        xs = self._fit_rows(source_views, feature)
        scores_only = map.predicts == "score"
        if native:
            mapping = _nothing(
                detector.weight if scores_only else torch.eye(xs.shape[1], dtype=torch.float64), detector, scores_only
            )
        else:
            yt = self._fit_rows(target_views, feature)
            mapping = map.fit(xs, factor or {}, detector(yt.double()) if scores_only else yt, ctx)
        score = mapping if scores_only else mapping.then(detector)
        val = source_views["part"] == VAL
        features = {kind: feature(source_views[kind][val].double()) for kind in _KINDS}
        own = _scores(target_detector, "svm")
        seen = own if native else Scores(**{kind: score(features[kind])[:, 0] for kind in _KINDS})
        prediction = None
        if not scores_only:
            truth = {kind: feature(target_views[kind][val].double()) for kind in ("clean", "adversarial")}
            prediction = Prediction(
                clean=mapping(features["clean"]),
                adversarial=mapping(features["adversarial"]),
                true_clean=truth["clean"],
                true_adversarial=truth["adversarial"],
                head=functools.partial(_head, target) if isinstance(feature, Embedding) else None,
            )
        return MappedEmbeddings(
            native=native,
            mapped=seen,
            native_target=own,
            native_source=_scores(source_detector, "svm"),
            direct=_scores(source_detector, "map"),
            source=_images(source_views),
            target=_images(target_views),
            negatives=seen.clean if self.negatives == "mapped" else own.clean,
            rows=len(xs),
            columns=xs.shape[1],
            live=int((xs != xs[0]).any(0).sum()),
            prediction=prediction,
            evade=functools.partial(_evade, source, data, attack, source_views, feature, score, ctx),
        )

    def _fit_rows(self, views: Tensors, feature: Feature) -> Tensor:
        """(n, d') float64 features of the map part, originals above adversarial copies; the same images for all networks."""
        kinds = {"both": ("clean", "adversarial"), "clean": ("clean",), "adversarial": ("adversarial",)}[self.map_fit]
        images = views["order"][views["part"][views["order"]] == MAP]
        if self.map_rows is not None:
            if self.map_rows > len(images) * len(kinds):
                most = len(images) * len(kinds)
                raise InvalidInput(f"map_rows: {self.map_rows} is more than the {most} rows of this part; write at most {most}")
            images = images[: max(1, self.map_rows // len(kinds))]
        # Maps widen blocks of rows as they need them; features of an embedding are computed in float64.
        rows = torch.cat([views[kind][images] for kind in kinds])
        return rows if isinstance(feature, Embedding) else feature(rows.double())


def _victim(network: Network, spec: DataSpec, device: str) -> Victim:
    return Victim(embed=frozen(network.at("embedding").to(device)), head=frozen(network.head().to(device)), spec=spec)


def _crafter(attack: Attack, victim: Victim, x: Tensor, y: Tensor, ids: np.ndarray) -> Craft:
    """An attack of a block of the images."""

    def craft(rows: slice, ctx: Context) -> Tensor:
        return attack.craft(victim, x[rows], y[rows], ctx, ids[rows])

    return craft


def _evader(attack: Attack, network: Network, victim: Victim, x: Tensor, y: Tensor, part: Tensor, ctx: Context) -> Craft:
    """An adaptive attack: its detector is trained on the plain attack, which map and svm images get; val images evade it."""
    eps, space = _budget(attack)
    plain = PGD(eps=eps, eps_space=space)
    svm = part == SVM
    crafted = plain.craft(victim, x[svm], y[svm], ctx)
    clean, attacked = (embed(network, images, ctx.device)[0].double() for images in (x[svm], crafted))
    detector = train_detector(clean, attacked)
    aware = Victim(embed=victim.embed, head=victim.head, spec=victim.spec, detector=_in_precision(detector))

    def craft(rows: slice, here: Context) -> Tensor:
        found = plain.craft(victim, x[rows], y[rows], here)
        val = part[rows] == VAL
        if bool(val.any()):
            found[val] = attack.craft(aware, x[rows][val], y[rows][val], here)
        return found

    return craft


def _in_precision(detector: Affine, feature: Feature | None = None) -> functools.partial[Tensor]:
    return functools.partial(_score, detector, feature)


def _score(detector: Affine, feature: Feature | None, z: Tensor) -> Tensor:
    """Score of embeddings in whatever precision and on whatever device they come, differentiable."""
    wide = z.double()
    seen = wide if feature is None else feature(wide)
    return (seen @ detector.weight.to(z.device) + detector.bias.to(z.device))[:, 0].to(z.dtype)


def _evade(
    source: Network, data: Dataset, attack: Attack, views: Tensors, feature: Feature, score: Affine, ctx: Context,
    weight: float, steps: int,
) -> Evasion:  # fmt: skip
    """Attack the source and the mapped detector together; the map and the detector are one linear score of its features."""
    eps, space = _budget(attack)
    spec = data.spec()
    x, y = labelled(data.split("test", ctx))
    val = views["part"] == VAL
    plain = _victim(source, spec, ctx.device)
    aware = Victim(embed=plain.embed, head=plain.head, spec=spec, detector=_in_precision(score, feature))
    found = AdaptivePGD(eps=eps, eps_space=space, weight=weight, steps=steps).craft(aware, x[val], y[val], ctx)
    z, guesses = embed(source, found, ctx.device)
    rows = int(val.sum())
    return Evasion(
        scores=score(feature(z.double()))[:, 0], guesses=guesses, forwards=rows * (steps + 1), backwards=rows * steps
    )


def _budget(attack: Attack) -> tuple[float, EpsSpace]:
    """Size of the attack that the detector knows, in the space where it is stated.

    Raises:
        NotApplicable: It has none.
    """
    if isinstance(attack, (SignAttack, RandomSign)):
        return attack.budget, attack.eps_space
    if attack.eps is None:
        who = type(attack).__name__
        raise NotApplicable(f"an adaptive attack needs a budget, and {who} has none; leave the adaptive metrics out here")
    return attack.eps, "pixel"


def _nothing(weight: Tensor, detector: Affine, scores_only: bool) -> Affine:
    """The map of a network to itself."""
    bias = detector.bias if scores_only else torch.zeros(weight.shape[1], dtype=weight.dtype)
    return Affine(weight=weight, bias=bias)


def _scores(stage: Tensors, name: str) -> Scores:
    return Scores(**{kind: stage[f"{name}_{kind}"] for kind in _KINDS})


def _images(views: Tensors) -> Images:
    val = views["part"] == VAL
    if not bool(val.any()):
        raise InvalidInput("there is no image to look at; use more test images")
    one = {name: views[name][val] for name in ("labels", "guess_clean", "guess_adversarial", "linf", "l2", "mse")}
    return Images(
        **one,
        pixel=(views["pixel_clean"], views["pixel_adversarial"]),
        zeros=(views["zeros_clean"], views["zeros_adversarial"]),
    )


@torch.inference_mode()
def _head(network: Network, z: Tensor) -> Tensor:
    head = network.head()
    weights = next(head.parameters())
    found: Tensor = head(z.to(weights.device, weights.dtype)).cpu()
    return found
