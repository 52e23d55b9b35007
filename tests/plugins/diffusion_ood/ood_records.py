# SPDX-License-Identifier: Apache-2.0
"""Records made by hand that the tests of the reports share."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lipbench.api import Record

_count = itertools.count()
PAIRS = (("digits", "geo"), ("digits", "shapes"), ("digits", "digits mirror"), ("geo", "digits"), ("geo", "shapes"))
OTHERS = {
    "likelihood": (0.30, 20.0),
    "input_complexity": (0.74, 20.0),
    "ae_mse": (0.42, 1.0),
    "mahalanobis": (0.88, 1.0),
    "mean_intensity": (0.61, 0.0),
    "pixel knn": (0.90, 0.0),
}
"""Label to typical AUROC and evaluations."""


def record(metric: str, value: float, pair: tuple[str, str] = PAIRS[0], /, **changes: Any) -> Record:
    """A value as a metric of the task reports it; keywords change fields, or parameters of `detector`, `lift` and `task`."""
    detector = {"use": "lmd", "distance": "perc_unet", "aggregate": "median", "attempts": None} | changes.pop("detector", {})
    lift = {"use": "inpaint", "cells": 4, "sampler": "ancestral", "steps": 20, "attempts": 10} | changes.pop("lift", {})
    uses = {"detector": detector.pop("use"), "lift": lift.pop("use"), "backbone": "diffusion_unet"}
    labels = {"detector": detector.pop("as", uses["detector"]), "lift": lift.pop("as", "checkerboard 4"), "backbone": "unet"}
    sets = dict(zip(("in_dist", "out_dist"), pair, strict=True))
    made = Record(
        cell=f"cell{next(_count)}",
        suite="diffusion_ood",
        task="ood_detection",
        roles={**labels, **sets},
        params={
            "task": {"images": 200, **changes.pop("task", {})},
            "metric": {},
            "backbone": {},
            "lift": lift,
            "detector": detector,
            **{role: {"of": label} for role, label in sets.items()},
        },
        seed=0,
        metric=f"label of {metric}",
        uses={"task": "ood_detection", "metric": metric, **uses, "in_dist": "ood_tiny", "out_dist": "ood_tiny"},
        code={},
        data={},
        status="ok",
        value=value,
        direction="higher",
    )
    return dataclasses.replace(made, **changes)


def auroc(value: float, pair: tuple[str, str] = PAIRS[0], /, **changes: Any) -> Record:
    """The main metric, with its interval and extras."""
    edges = [-4 + 0.4 * i for i in range(21)]
    apart = 2.5 * (value - 0.5)
    bumps = [[math.exp(-((x + 0.2 - centre) ** 2) / 2) / 6.3 for x in edges[:-1]] for centre in (-apart, apart)]
    histogram = {"edges": edges, "inside": bumps[0], "outside": bumps[1]}
    extras = {"histogram": histogram, "evaluations": changes.pop("evaluations", 200.0)}
    interval = {"low": max(0.0, value - 0.03), "high": min(1.0, value + 0.03), "level": 0.95, "method": "DeLong"}
    return record("ood_auroc", value, pair, **{"extras": extras, "interval": interval, **changes})


def baseline(label: str, value: float, pair: tuple[str, str] = PAIRS[0], /, **changes: Any) -> Record:
    """The main metric of a detector that reads no reconstructions."""
    use = {"pixel knn": "knn"}.get(label, label)
    source = {"source": "pixels" if use == "knn" else "backbone"} if use in ("knn", "mahalanobis") else {}
    own = {"use": use, "as": label, "distance": None, "aggregate": None, **source}
    none = {"use": "no_lift", "as": "no_lift", "cells": None, "sampler": None, "steps": None, "attempts": None}
    return auroc(value, pair, detector=own, lift=none, evaluations=OTHERS.get(label, (0, 1.0))[1], **changes)


def suite(seeds: Sequence[int] = (0,)) -> Iterator[Record]:
    """Two distances of LMD and all others on all pairs, attempts, samplers and sheets."""
    for seed, (i, pair) in itertools.product(seeds, enumerate(PAIRS)):
        turn = 0.03 * math.sin(5 * i) + 0.004 * seed
        yield auroc(0.93 + turn, pair, detector={"as": "lmd"}, seed=seed, evaluations=211.0)
        yield auroc(0.85 + 2 * turn, pair, detector={"as": "lmd mse", "distance": "mse"}, seed=seed)
        for label, (value, _) in OTHERS.items():
            yield baseline(label, value + 2.5 * turn * math.cos(3 * i + value), pair, seed=seed)
    for seed, pair in itertools.product(seeds, PAIRS[:2]):
        for r, (distance, base) in itertools.product((1, 2, 5), (("perc_unet", 0.9), ("mse", 0.8))):
            how = {"as": f"lmd(attempts={r}, distance={distance})", "attempts": r, "distance": distance}
            yield auroc(base - 0.1 / r, pair, detector=how, evaluations=21.0 * r, seed=seed)
        for n, (sampler, loss) in itertools.product((5, 50, 250), (("ancestral", 0.4), ("ddim", 0.2))):
            how = {"sampler": sampler, "steps": n, "as": f"{sampler} {n}"}
            yield auroc(0.95 - loss / n, pair, lift=how, evaluations=10.0 * n + 11, seed=seed)
    for pair in PAIRS:
        yield record("reconstructions", 0.01, pair, extras={"sheet": sheet(), "outside": 0.05})


def sheet(rows: int = 4, side: int = 8) -> str:
    """A PNG as the metric writes it: eight tiles, a white column, eight tiles."""
    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 200, (rows * side, 16 * side + 2), dtype=np.uint8)
    picture[:, 8 * side : 8 * side + 2] = 255
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="PNG")
    return base64.b64encode(out.getvalue()).decode()
