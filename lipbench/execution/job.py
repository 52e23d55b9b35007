# SPDX-License-Identifier: Apache-2.0
"""Inside a worker: make components, fit or load models, make evidence, measure, and say what came of it."""

from __future__ import annotations

import math
import random
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lipbench.contract.components import Dataset, Model
from lipbench.contract.context import Context, stable_seed
from lipbench.contract.errors import InvalidInput, NotFinite
from lipbench.contract.values import Value
from lipbench.execution.artifacts import Artifacts, Kept
from lipbench.execution.faults import fault, hint, spoils
from lipbench.execution.surroundings import Surroundings
from lipbench.execution.worker import Send
from lipbench.files import canonical
from lipbench.registry import load_factory
from lipbench.signature import instantiate, parameters

KEPT_DATASETS = 16

NOTES_S = 0.1
"""Notes of one work come no closer to each other than this."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a worker has to work with."""

    artifacts: Artifacts
    device: str
    send: Send
    kept: Kept = field(default_factory=Kept)
    """Artifacts in memory, for jobs that share a worker."""
    datasets: dict[str, Dataset] = field(default_factory=dict)
    """Those that were used last, which keep what they loaded, likewise."""
    batch_scale: float = 1.0
    batches: list[int] = field(default_factory=list)
    """What components were given that asked for a batch, since the last begin."""
    quiet_until: list[float] = field(default_factory=lambda: [0.0])

    def begin(self, cell: str | None) -> None:
        """Say what comes next; its time begins."""
        self.batches.clear()
        self.send({"say": "begin", "cell": cell})

    def make(self, use: Mapping[str, Any]) -> Any:
        """A component from its use."""
        return instantiate(load_factory(use["factory"]), dict(use["params"]))

    def role(self, use: Mapping[str, Any]) -> Any:
        """What fills a role: a new component, but for datasets."""
        return self.dataset(use) if issubclass(load_factory(use["factory"]), Dataset) else self.make(use)

    def dataset(self, use: Mapping[str, Any]) -> Dataset:
        """A dataset from its use, the same object for the same one."""
        key = canonical(use)
        found = self.datasets.pop(key, None)
        self.datasets[key] = found if found is not None else self.make(use)
        if len(self.datasets) > KEPT_DATASETS:
            del self.datasets[next(iter(self.datasets))]
        return self.datasets[key]

    def context(self, scope: str, seed: int, timeout: float) -> Context:
        """What a component is told."""
        return Context(
            scope=scope,
            seed=seed,
            device=self.device,
            deadline=time.monotonic() + timeout,
            batch_scale=self.batch_scale,
            on_batch=self.batches.append,
            log=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201  (stderr is the job's log file)
            report=self.note,
        )

    def note(self, words: str) -> None:
        """Say how far the work is; what comes too soon after the last is dropped, so that nobody floods who listens."""
        now = time.monotonic()
        if now >= self.quiet_until[0]:
            self.quiet_until[0] = now + NOTES_S
            self.send({"say": "note", "text": str(words)[:200]})


def warm_up(factory: str) -> None:
    """Load a component's class and schema, and touch the generators that are seeded before each use."""
    parameters(load_factory(factory))
    _seed_globals(factory, 0)


def do(bench: Bench, payload: Mapping[str, Any], timeout: float) -> bool:
    """Do a work and send what came of it: `begin`, `cell` and `failed` messages.

    Returns:
        True where this process should do no other work, and the cells that are left should run elsewhere.
    """
    bench.begin(None)
    start = time.perf_counter()
    try:
        if "fit" in payload:
            fit = payload["fit"]
            _fit(bench, bench.make(fit["model"]), bench.make(fit["data"]), fit, timeout)
            return False
        stages = Stages(bench, payload["steps"], timeout)
        if "step" in payload:
            stages.get(payload["step"])
            return False
        evidence = _evidence(bench, payload["job"], stages, timeout)
    except Exception as error:
        bench.send({"say": "failed", "error": fault(error), "again": hint(error, bench.batches)})
        return spoils(error)
    cost = {"evidence_seconds": time.perf_counter() - start}
    return _cells(bench, payload["job"], evidence, stages, timeout, cost)


def _cells(
    bench: Bench, job: Mapping[str, Any], evidence: Any, stages: Stages, timeout: float, shared_cost: Mapping[str, float]
) -> bool:
    if bench.batch_scale != 1.0:
        shared_cost = {**shared_cost, "batch_scale": bench.batch_scale}
    surroundings = Surroundings()
    for cell in job["cells"]:
        bench.begin(cell["id"])
        before = _versions(evidence, stages)
        answer, spoilt = _measure(bench, cell, evidence, job["seed"], timeout)
        if any(tensor._version != version for tensor, version in before):
            # The next metric must read what the task gave, not what this one left.
            answer = {"status": "failed", "error": _MUTATED, "cost": answer["cost"]}
            stages.forget()
            evidence = _evidence(bench, job, stages, timeout)
        spoilt = not surroundings.restore() or spoilt
        bench.send({"say": "cell", "cell": cell["id"], **answer, "cost": {**answer["cost"], **shared_cost}})
        if spoilt:
            return True
    return False


_LOOKED_AT = 64
"""Members of a list or tuple in which tensors are looked for."""
_DEPTH = 3
"""How deep."""


class Stages:
    """The stored stages of one job or step: loaded, or made here where one has been lost or damaged since the run began."""

    def __init__(self, bench: Bench, steps: Mapping[str, Mapping[str, Any]], timeout: float) -> None:
        self.bench, self.steps, self.timeout = bench, steps, timeout
        self.loaded: dict[str, Mapping[str, torch.Tensor]] = {}

    def get(self, step: str) -> Mapping[str, torch.Tensor]:
        """The tensors of a step."""
        if step not in self.loaded:
            found = self.bench.kept.get(step)
            if found is None:
                try:
                    found = self.bench.artifacts.load(step)
                except InvalidInput:
                    found = self._make(self.steps[step])
                self.bench.kept.put(step, found)
            self.loaded[step] = found
        return self.loaded[step]

    def forget(self) -> None:
        """Drop what is in memory, because somebody wrote to it."""
        for step in self.loaded:
            self.bench.kept.drop(step)
        self.loaded.clear()

    def _make(self, step: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        start = time.perf_counter()
        inputs = _roles(self.bench, step, self.timeout) | {p: self.get(s) for p, s in step["stages"].items()}
        task = self.bench.make(step["task"])
        _seed_globals(step["scope"], step["seed"])
        made = getattr(task, step["method"])(**inputs, ctx=self.bench.context(step["scope"], step["seed"], self.timeout))
        if not isinstance(made, Mapping) or not all(isinstance(t, torch.Tensor) for t in made.values()):
            raise InvalidInput(f"stage {step['method']} of task {step['task']['name']!r} must give tensors by name")
        facts = {k: step[k] for k in ("task", "method", "roles", "stages", "seed", "scope")}
        self.bench.artifacts.save(step["id"], made, facts | _how(self.bench, start))
        # What others will read, and not what was made: both are then the same bits in the same layout.
        return self.bench.artifacts.load(step["id"])


def _roles(bench: Bench, job: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """The components of a job or a step, models built and fitted."""
    roles = {role: bench.role(use) for role, use in job["roles"].items()}
    for role, source in job["builds"].items():
        data = bench.dataset(source)
        fit = job["fits"].get(role)
        if fit is not None:
            _fitted(bench, roles[role], data, fit, job["seed"], timeout)
        else:
            roles[role].build(data.spec(), bench.context(job["scopes"][role], job["seed"], timeout))
    return roles


def _evidence(bench: Bench, job: Mapping[str, Any], stages: Stages, timeout: float) -> Any:
    inputs = _roles(bench, job, timeout) | {name: stages.get(step) for name, step in job["stages"].items()}
    task = bench.make(job["task"])
    _seed_globals(job["scope"], job["seed"])
    evidence = task.evidence(**inputs, ctx=bench.context(job["scope"], job["seed"], timeout))
    if evidence is None:
        raise InvalidInput(f"task {job['task']['name']!r} gave no evidence: its evidence() returned None")
    for value in _parts(evidence):
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return evidence


def _parts(evidence: Any, depth: int = _DEPTH) -> list[Any]:
    """Arrays and tensors in the fields of the evidence, and in what these hold, that a metric could change in place."""
    if isinstance(evidence, (np.ndarray, torch.Tensor)):
        return [evidence]
    if isinstance(evidence, Mapping):
        inner = list(evidence.values())
    elif isinstance(evidence, (tuple, list)):
        inner = list(evidence[:_LOOKED_AT])
    else:
        # The evidence itself may be any object; what is inside is looked into where it is a dataclass as well.
        plain = depth == _DEPTH or (is_dataclass(evidence) and not isinstance(evidence, type))
        inner = list(vars(evidence).values()) if plain and hasattr(evidence, "__dict__") else []
    return [part for value in inner for part in _parts(value, depth - 1)] if depth else []


def _versions(evidence: Any, stages: Stages) -> list[tuple[torch.Tensor, int]]:
    """The tensors and how often each was written to; torch counts, but not for tensors made in inference mode.

    What a metric adds, such as something measured that others may share, is no change.
    """
    tensors = [*_parts(evidence), *(t for step in stages.loaded.values() for t in step.values())]
    return [(v, v._version) for v in tensors if isinstance(v, torch.Tensor) and not v.is_inference()]


_MUTATED = {
    "class": "invalid",
    "message": "the metric changed its evidence in place, which others read too; copy before writing",
}


def _seed_globals(scope: str, seed: int) -> None:
    """For library code that draws from global generators; our own components use the context."""
    number = stable_seed("global", scope, seed)
    random.seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002  (the legacy generator is what such libraries use)
    # Not torch.manual_seed, which asks every kind of device first and takes 0.2 ms.
    torch.default_generator.manual_seed(number % 2**63)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number % 2**63)


def _fitted(bench: Bench, model: Model, data: Dataset, fit: Mapping[str, Any], seed: int, timeout: float) -> None:
    """Load the model for a job of this seed; fit it here where the artifact has been lost or damaged since the run began."""

    def load() -> None:
        state = bench.kept.get(fit["id"]) or bench.artifacts.load(fit["id"])
        bench.kept.put(fit["id"], state)
        # A model may keep what it is given, and change it.
        model.load_state({name: tensor.clone() for name, tensor in state.items()})

    model.build(data.spec(), bench.context(fit["scope"], seed, timeout))
    try:
        load()
    except (InvalidInput, KeyError, RuntimeError):
        bench.kept.drop(fit["id"])
        _fit(bench, bench.make(fit["model"]), data, fit, timeout)
        load()


def _fit(bench: Bench, model: Model, data: Dataset, fit: Mapping[str, Any], timeout: float) -> None:
    start = time.perf_counter()
    _seed_globals(fit["scope"], fit["seed"])
    checkpoint = bench.artifacts.checkpoint(fit["id"])
    ctx = replace(bench.context(fit["scope"], fit["seed"], timeout), checkpoint=checkpoint)
    model.build(data.spec(), ctx)
    model.fit(data, ctx)
    state = model.state()
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise NotFinite(f"fitting gave NaN or an infinite value in {name!r}; lower the learning rate or check the data")
    facts = {k: fit[k] for k in ("model", "data", "seed", "scope")}
    bench.artifacts.save(fit["id"], state, facts | _how(bench, start))
    checkpoint.drop()


def _how(bench: Bench, start: float) -> dict[str, float]:
    """What an artifact says of its making."""
    scale = {} if bench.batch_scale == 1.0 else {"batch_scale": bench.batch_scale}
    return {"seconds": round(time.perf_counter() - start, 3), **scale}


def _measure(bench: Bench, cell: Mapping[str, Any], evidence: Any, seed: int, timeout: float) -> tuple[dict[str, Any], bool]:
    """The answer of a metric, and whether its fault spoils this process."""
    start = time.perf_counter()
    _reset_peak()
    spoilt = False
    try:
        metric = bench.make(cell["metric"])
        _seed_globals(cell["scope"], seed)
        value = metric.compute(evidence, bench.context(cell["scope"], seed, timeout))
        answer = _answer(value)
    except Exception as error:
        answer = {"status": "failed", "error": fault(error), "again": hint(error, bench.batches)}
        spoilt = spoils(error)
        forwards = backwards = 0
    else:
        forwards, backwards = value.forwards, value.backwards
    cost = {"seconds": time.perf_counter() - start, "forwards": forwards, "backwards": backwards, "peak_bytes": _peak()}
    return {**answer, "cost": cost}, spoilt


def _answer(value: Value) -> dict[str, Any]:
    if not isinstance(value, Value):
        raise InvalidInput(f"compute must return lipbench.api.Value, it returned {type(value).__name__}")
    if not math.isfinite(value.value):
        raise NotFinite(f"the value is {value.value}")
    return {
        "status": "ok",
        "value": float(value.value),
        "unit": value.unit,
        "direction": value.direction,
        "interval": None if value.interval is None else asdict(value.interval),
        "group": value.group,
        "unranked": value.unranked,
        "extras": dict(value.extras),
    }


def _reset_peak() -> None:
    """Start the kernel's high-water mark of memory again, where it lets us (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak() -> int:
    """Largest resident memory since the last reset, in bytes; since the start of the process where it cannot be reset."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
