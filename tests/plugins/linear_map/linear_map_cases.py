# SPDX-License-Identifier: Apache-2.0
"""Small networks on blobs, and a harness of a few lines, that the tests of the task, its views and its metrics share."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lipbench_basics.attacks import FGSM, Attack, Victim
from lipbench_linear_map.evidence import Evasion, Images, MappedEmbeddings, Prediction, Scores
from lipbench_linear_map.features import Embedding
from lipbench_linear_map.maps import OLSAffine
from lipbench_linear_map.task import LinearMapDetection
from torch import Tensor, nn

from lipbench.api import Context, Dataset, DataSpec, Metric, Network, Split, Value

CTX = Context(scope="test", seed=0)
KINDS = ("clean", "adversarial", "noise")
SIDE, CLASSES = 5, 3
SPEC = DataSpec(shape=(1, SIDE, SIDE), low=0.0, high=1.0, classes=CLASSES)


class Blobs(Dataset):
    """Noisy pictures of three patterns; pixels in [0, unit]."""

    def __init__(self, *, count: int = 90, unit: float = 1.0, ids: np.ndarray | None = None, labelled: bool = True) -> None:
        self.count, self.unit, self.ids, self.labelled = count, unit, ids, labelled

    def spec(self) -> DataSpec:
        return DataSpec(shape=SPEC.shape, low=0.0, high=self.unit, unit=self.unit, classes=CLASSES)

    def load(self, split: str, ctx: Context) -> Split:
        patterns = np.random.default_rng(0).uniform(0.2, 0.8, (CLASSES, SIDE * SIDE))
        rng = np.random.default_rng(1 if split == "train" else 2)
        labels = np.arange(self.count) % CLASSES
        pixels = np.clip(patterns[labels] + rng.normal(0, 0.2, (self.count, SIDE * SIDE)), 0, 1) * self.unit
        inputs = pixels.astype(np.float32).reshape(-1, *SPEC.shape)
        return Split(inputs=inputs, targets=labels.astype(np.int64) if self.labelled else None, ids=self.ids)


class Toy(Network):
    """Two linear layers with a bend between them, trained in a moment."""

    def __init__(self, *, width: int = 8, seed: int = 0, unit: float = 1.0) -> None:
        self.width, self.seed, self.unit = width, seed, unit
        self.build(SPEC, CTX)

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        net = _layers(self.width)
        net.load_state_dict(_weights(self.width, self.seed))
        with torch.no_grad():
            net[1].weight /= self.unit
        return net


def _layers(width: int) -> nn.Sequential:
    # Leaky, so that every image has a gradient and no unit is dead.
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, width), nn.LeakyReLU(0.2), nn.Linear(width, CLASSES))


@functools.cache
def _weights(width: int, seed: int) -> dict[str, Tensor]:
    part = Blobs().split("train", CTX)
    assert part.targets is not None
    x, y = torch.from_numpy(part.inputs), torch.from_numpy(part.targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _layers(width)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()
    return {name: tensor.detach() for name, tensor in net.state_dict().items()}


class Moved(nn.Linear):
    """Notes when it is moved and when it is run."""

    def __init__(self, events: list[str]) -> None:
        super().__init__(SIDE * SIDE, 4)
        self.events = events

    def _apply(self, fn: object, recurse: bool = True) -> Moved:
        self.events.append("to")
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.events.append("forward")
        return super().forward(x)


class Notes(Network):
    """A network that says in which order it was moved to a device and run."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.build(SPEC, CTX)

    def make(self, spec: DataSpec, ctx: Context) -> nn.Module:
        return nn.Sequential(nn.Flatten(), Moved(self.events), nn.Linear(4, CLASSES))


class Shift(Attack):
    """Adds a fixed pattern; remembers whom and what it was asked for."""

    def __init__(self, *, size: float = 0.125, budget: float | None = None) -> None:
        self.size, self.budget = size, budget
        self.asked: list[tuple[Victim, np.ndarray]] = []

    @property
    def eps(self) -> float | None:
        return self.budget

    def craft(self, victim: Victim, x: Tensor, y: Tensor, ctx: Context, ids: np.ndarray | None = None) -> Tensor:
        self.asked.append((victim, np.asarray(ids)))
        pattern = torch.linspace(-1, 1, x[0].numel()).reshape(x.shape[1:])
        return x + self.size * pattern


def roles(**changes: Any) -> dict[str, Any]:
    """What fills the roles of the task."""
    filled = {
        "source": Toy(width=8, seed=2),
        "target": Toy(width=6, seed=1),
        "surrogate": Toy(width=7, seed=3),
        "data": Blobs(),
        "attack": FGSM(eps=0.125),
        "map": OLSAffine(),
        "feature": Embedding(),
    }
    return filled | changes


@dataclass
class Lab:
    """Runs a task and its stages as the harness does: a stage once for the same inputs, with no parameter that it hides."""

    ctx: Context = CTX
    kept: dict[Any, Mapping[str, Tensor]] = field(default_factory=dict)
    made: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Stages of the last evidence by name."""

    def evidence(self, params: Mapping[str, Any] | None = None, **changes: Any) -> MappedEmbeddings:
        """Evidence of the task with these parameters; keywords change roles."""
        filled = roles(**changes)
        self.made = self.stages(filled, params or {})
        return LinearMapDetection(**(params or {})).evidence(**filled, **self.made, ctx=self.ctx)

    def stages(self, filled: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Mapping[str, Tensor]]:
        task = LinearMapDetection(**params)
        found: dict[str, Mapping[str, Tensor]] = {}
        for name, choices in LinearMapDetection.stages.items():
            several = choices if isinstance(choices, tuple) else (choices,)
            stage = next((s for s in several if all(said(task, filled, k) in v for k, v in s.only.items())), None)
            if stage is None:
                continue
            inputs = {p: found[role] if role in found else filled[role] for p, role in stage.inputs.items()}
            known = {k: getattr(task, k) for k in stage.params}
            key = (stage.method, *(id(i) for i in inputs.values()), *sorted(known.items(), key=str))
            if key not in self.kept:
                self.kept[key] = getattr(LinearMapDetection(**known), stage.method)(**inputs, ctx=self.ctx)
            found[name] = self.kept[key]
        return found


def said(task: LinearMapDetection, filled: Mapping[str, Any], key: str) -> Any:
    """A parameter of the task, or a class attribute of a role's component."""
    role, dot, attribute = key.partition(".")
    return getattr(type(filled[role]), attribute) if dot else getattr(task, key)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scores(seed: int, shift: float, count: int = 40) -> Scores:
    """Scores of one detector: originals, and adversarial images `shift` above them."""
    clean = normal(count, seed=seed)
    return Scores(
        clean=clean,
        adversarial=0.6 * clean + shift + normal(count, seed=seed + 100),
        noise=0.8 * clean + shift / 3 + normal(count, seed=seed + 200),
    )


def images(seed: int, count: int = 40) -> Images:
    """Labels, guesses and sizes."""
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.integers(0, CLASSES, count))
    sizes = torch.from_numpy(rng.uniform(0.01, 0.2, (3, count)))
    return Images(
        labels=labels,
        guess_clean=torch.where(torch.from_numpy(rng.random(count)) < 0.9, labels, (labels + 1) % CLASSES),
        guess_adversarial=torch.where(torch.from_numpy(rng.random(count)) < 0.4, labels, (labels + 1) % CLASSES),
        linf=sizes[0],
        l2=sizes[1],
        mse=sizes[2],
        pixel=(normal(count, seed=seed + 7), normal(count, seed=seed + 8) + 1),
        zeros=(-torch.from_numpy(rng.integers(0, 9, count)).double(), -torch.from_numpy(rng.integers(0, 3, count)).double()),
    )


def prediction(count: int = 40, width: int = 5, noise: float = 0.5) -> Prediction:
    """Mapped features beside true ones, and a last layer."""
    clean, adversarial = normal(count, width, seed=21), normal(count, width, seed=22) + 0.3
    head = nn.Linear(width, CLASSES).double().requires_grad_(False)
    with torch.no_grad():
        head.weight.copy_(normal(CLASSES, width, seed=25))
        head.bias.copy_(normal(CLASSES, seed=26))
    return Prediction(
        clean=clean + noise * normal(count, width, seed=23),
        adversarial=adversarial + noise * normal(count, width, seed=24),
        true_clean=clean,
        true_adversarial=adversarial,
        head=head,
    )


def no_attack(weight: float, steps: int) -> Evasion:
    raise AssertionError("no metric asked for an adaptive attack")


def evidence(**changes: Any) -> MappedEmbeddings:
    """Evidence made by hand; keywords change its fields."""
    mapped = changes.get("mapped", scores(1, 1.0))
    filled: dict[str, Any] = {
        "native": False,
        "mapped": mapped,
        "native_target": scores(2, 1.5),
        "native_source": scores(3, 1.2),
        "direct": scores(4, 1.1),
        "source": images(5),
        "target": images(6),
        "negatives": mapped.clean,
        "rows": 60,
        "columns": 8,
        "live": 7,
        "prediction": prediction(),
        "evade": no_attack,
    }
    return MappedEmbeddings(**(filled | changes))


GIVEN = evidence()


def compute(metric: Metric, given: MappedEmbeddings = GIVEN, ctx: Context = CTX) -> Value:
    return metric.compute(given, ctx)
