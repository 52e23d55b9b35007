# SPDX-License-Identifier: Apache-2.0
"""Records made by hand, and the published tables, that the tests of the reports share."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lipbench.api import Direction, Record

_count = itertools.count()
NETWORKS = {"mlp64": 0.79, "tanh96": 0.84, "cnn48": 0.92, "res32": 0.90, "vit32": 0.87}
"""Label to the AUROC of its own detector."""
_WIDTHS = {"mlp64": 64, "tanh96": 96, "cnn48": 48, "res32": 32, "vit32": 32}
_DIRECTIONS: dict[str, Direction] = {
    "map_mse": "lower",
    "clean_false_alarm": "none",
    "pixel_auroc": "none",
    "perturbation": "none",
}
CIFAR = ("efficientnet_b0", "resnet18", "vgg19", "mobilenet_v2", "googlenet")
TABLE_3 = (
    (0.907, 0.942, 0.886, 0.899, 0.922),
    (0.907, 0.995, 0.939, 0.979, 0.988),
    (0.899, 0.979, 0.943, 0.974, 0.972),
    (0.904, 0.991, 0.936, 0.989, 0.983),
    (0.902, 0.987, 0.928, 0.978, 0.985),
)
TABLE_5 = {"resnet152": 0.9885, "resnet50": 0.9874, "resnet101": 0.9862, "vgg19": 0.7584, "inception_v3": 0.9635, "vit": 0.9721}


def entry(target: str, source: str, value: float, **where: str) -> dict[str, Any]:
    """One entry of a reference file, as the suite is given it."""
    base = {"data": "cifar10", "attack": "fgsm", "map": "ols", "feature": "embedding", "metric": "auroc"}
    places = {**base, "source": source, "target": target, **where}
    return {
        "quantity": f"{source} to {target}",
        "value": value,
        "unit": "",
        "where": places,
        "extra": None,
        "note": "",
        "verdict": "",
    }


def published() -> list[dict[str, Any]]:
    """The source's Table 3, its Table 5 for one attack, and an entry of another quantity."""
    table = [entry(t, s, v) for t, row in zip(CIFAR, TABLE_3, strict=True) for s, v in zip(CIFAR, row, strict=True)]
    large = [entry("resnet152", s, v, data="imagenet") for s, v in TABLE_5.items()]
    return [*large, *table, entry("vgg19", "resnet18", 0.018, metric="mse_elem")]


def published_heads(data: str = "cifar10", target: str = "resnet18") -> list[dict[str, Any]]:
    """A target of the source's Table 7 under this name, two others, a single cell, and an accuracy of another kind."""
    mean, place = "mean over sources", {"data": data, "metric": "head_accuracy"}
    large = {"data": "imagenet", "metric": "head_accuracy"}
    wide = {"note": "Table 7 ResNet-152 printed as 52.30 +- 19.21 %", "verdict": "VGG-19 alone pulls it down"}
    return [
        entry(target, target, 0.99, **place) | {"extra": "target_clean"},
        entry(target, target, 0.4409, **place) | {"note": "Table 7 ResNet-18 printed as 44.09 %"},
        entry(target, mean, 0.4055, **place) | {"note": "Table 7 ResNet-18 printed as 40.55 +- 4.83 %"},
        entry("resnet152", mean, 0.523, **large) | wide,
        entry("resnet152", "vgg19", 0.166, **large),
        entry("vgg19", mean, 0.4, **large),
    ]


def record(metric: str, value: float, target: str = "cnn48", source: str = "mlp64", /, **changes: Any) -> Record:
    """A value as a metric of the task reports it; keywords change fields, `params` of the metric, `task`, `attack`, `map`."""
    task: dict[str, Any] = {
        "crafted_on": "own", "map_fit": "both", "map_rows": None, "negatives": "mapped", "quantise": None, "C": 1.0,
    }  # fmt: skip
    task |= changes.pop("task", {})
    attack = {"use": "fgsm", "eps": 0.125, "eps_space": "pixel"} | changes.pop("attack", {})
    use = attack.pop("use")
    map_, data, feature = changes.pop("map", "ols"), changes.pop("data", "digits"), changes.pop("feature", "embedding")
    roles = {
        "source": source,
        "target": target,
        "surrogate": "mlp64",
        "data": data,
        "attack": use,
        "map": map_,
        "feature": feature,
    }
    if attack["eps"] not in (None, 0.125):
        roles["attack"] = f"{use}(eps={attack['eps']})"
    params: dict[str, Any] = {"task": task, "metric": changes.pop("params", {}), "attack": attack, "map": {}, "data": {}}
    made = Record(
        cell=f"cell{next(_count)}",
        suite="linear_map",
        task="linear_map_detection",
        roles=roles,
        params=params,
        seed=0,
        metric=f"label of {metric}",
        uses={"task": "linear_map_detection", "metric": metric, "attack": use, "map": map_, "data": data, "feature": feature},
        code={},
        data={},
        status="ok",
        value=value,
        direction=_DIRECTIONS.get(metric, "higher"),
    )
    return dataclasses.replace(made, **changes)


def auroc(value: float, target: str = "cnn48", source: str = "mlp64", /, **changes: Any) -> Record:
    """The main metric, with its extras."""
    columns = _WIDTHS.get(source, 64)
    facts = {"native": target == source, "rows": 800, "columns": columns, "histograms": histograms(value)}
    return record("auroc", value, target, source, **{"extras": facts | changes.pop("extras", {}), **changes})


def histograms(value: float) -> dict[str, Any]:
    """Of normal scores as far apart as the AUROC says."""
    apart = 3 * (value - 0.5) + 0.1
    edges = [round(-4 + i / 3, 6) for i in range(25)]
    found: dict[str, Any] = {"edges": edges}
    for kind, centre in (("clean", -apart), ("noise", 0.2 * apart), ("adversarial", apart)):
        bumps = [math.exp(-((x + 1 / 6 - centre) ** 2) / 2) for x in edges[:-1]]
        found[kind] = [round(b / sum(bumps), 6) for b in bumps]
    return {"mapped": found, "native": found}


def failed(metric: str, target: str = "cnn48", source: str = "mlp64", /, **changes: Any) -> Record:
    """A cell without a value."""
    fault = {"class": "oom", "message": "MemoryError: no\nroom"}
    return record(metric, 0.0, target, source, **{"status": "failed", "value": None, "error": fault, **changes})


def worth(target: str, source: str, seed: int = 0, loss: float = 0.0) -> float:
    """A plausible AUROC: mostly the source's, a little of the target's."""
    own = NETWORKS[source]
    if target == source:
        return own + 0.002 * seed
    # Any fixed spread does; it hangs on the names, not on a process' hash seed.
    spread = 0.012 * math.sin(sum(map(ord, target + source)) + 5 * seed)
    return own - 0.06 + 0.35 * (NETWORKS[target] - 0.86) + spread - loss


def pairs(networks: Iterable[str] = tuple(NETWORKS)) -> list[tuple[str, str]]:
    """All ordered pairs, the diagonal too, the source in the outer loop as plans have it."""
    names = list(networks)
    return [(target, source) for source in names for target in names]


def matrix(seeds: Sequence[int] = (0,), loss: float = 0.0, **changes: Any) -> list[Record]:
    """The main metric on all pairs."""
    return [auroc(worth(t, s, seed, loss), t, s, seed=seed, **changes) for seed in seeds for t, s in pairs()]


def controls(seeds: Sequence[int] = (0,), **changes: Any) -> Iterator[Record]:
    """All other metrics on all pairs."""
    for seed, (t, s) in itertools.product(seeds, pairs()):
        same: Mapping[str, Any] = {"seed": seed, **changes}
        mapped, own = worth(t, s, seed), worth(s, s, seed)
        yield record("native_auroc", own, t, s, params={"of": "source"}, **same)
        yield record("native_auroc", worth(t, t, seed), t, s, params={"of": "target"}, **same)
        yield record("transfer_gap", mapped - own, t, s, **same)
        yield record("direct_auroc", own - 0.003, t, s, **same)
        yield record("clean_false_alarm", 0.5 if t == s else 0.56, t, s, **same)
        yield record("auroc_vs_noise", 0.63, t, s, extras={"noise_vs_clean": 0.71}, **same)
        yield record("auroc_success_only", mapped + 0.02, t, s, **same)
        yield record("pixel_auroc", 0.97, t, s, params={"by": "svm"}, **same)
        yield record("adaptive_auroc", 0.12, t, s, params={"weight": 1.0, "steps": 40}, **same)
        yield record("adaptive_robust_accuracy", 0.81, t, s, params={"weight": 1.0, "steps": 40}, **same)
        largest = {"largest": 0.125, "adversarial_accuracy": 0.42}
        yield record("perturbation", 0.12, t, s, params={"norm": "linf"}, extras=largest, **same)
        yield record("r2", 0.64, t, s, **same)
        width = _WIDTHS[t]
        yield record("map_mse", 0.25, t, s, params={"per": "element"}, extras={"width": width}, **same)
        yield record("map_mse", 0.25 * width, t, s, params={"per": "vector"}, extras={"width": width}, **same)


def heads(seeds: Sequence[int] = (0,), **changes: Any) -> list[Record]:
    """Accuracies of the last layers of three networks: of a target, those through the map are what the other two see."""
    own = {"mlp64": 0.3, "cnn48": 0.25, "vit32": 0.4}
    seen = {"mlp64": 0.3, "cnn48": 0.4, "vit32": 0.5}
    made = []
    for seed, (t, s) in itertools.product(seeds, pairs(own)):
        extras = {"target_adversarial": own[t], "source_adversarial": own[s]}
        made.append(record("head_accuracy", seen[s] + 0.02 * seed, t, s, extras=extras, seed=seed, **changes))
    return made


def sweep(source: str = "mlp64", target: str = "cnn48", seeds: Sequence[int] = (0,), columns: int = 512) -> Iterator[Record]:
    """One pair with more and more rows, with and without regularisation."""
    for seed, rows, name in itertools.product(seeds, (200, 350, 480, 512, 560, 700, 800), ("ols_affine", "ridge_cv")):
        near = 1 / (1 + (abs(rows - columns) / 40)) if name == "ols_affine" else 0.05
        same: Mapping[str, Any] = {"seed": seed, "map": name, "task": {"map_rows": rows}}
        extras = {"rows": rows, "columns": columns}
        yield auroc(0.92 - 0.3 * near + 0.003 * seed, target, source, extras=extras, **same)
        yield record("map_mse", 0.6 + 18 * near**2 + 0.01 * seed, target, source, params={"per": "element"}, **same)


def budgets(seeds: Sequence[int] = (0,)) -> Iterator[Record]:
    """Two networks, attacked with several budgets."""
    for eps, map_ in itertools.product((0.03, 0.0625, 0.25), ("ols", "ridge_cv")):
        for seed, (t, s) in itertools.product(seeds, pairs(["mlp64", "cnn48"])):
            value = 0.5 + (worth(t, s, seed) - 0.5) * math.tanh(8 * eps) + (0.01 if map_ == "ridge_cv" else 0)
            yield auroc(value, t, s, seed=seed, map=map_, attack={"eps": eps})
            yield record("auroc_vs_noise", 0.5 + 0.3 * (value - 0.5), t, s, seed=seed, map=map_, attack={"eps": eps})


def nulls(seeds: Sequence[int] = (0,)) -> Iterator[Record]:
    """Maps that carry nothing."""
    for name, seed, (t, s) in itertools.product(("random", "shuffled"), seeds, pairs()):
        if t != s:
            turn = math.sin(7 * sum(map(ord, name + t + s)) + seed)
            yield auroc(0.5 + 0.07 * turn, t, s, seed=seed, map=name)
