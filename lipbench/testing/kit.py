# SPDX-License-Identifier: Apache-2.0
"""What all checks share: a component under test, checks that give sentences, and the report that they come to."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar

from lipbench.contract.components import Component, Dataset, Kind
from lipbench.contract.context import Context
from lipbench.contract.errors import LipbenchError, did_you_mean, in_words
from lipbench.plugins import PluginOptions
from lipbench.registry import Registry, load_registry
from lipbench.signature import instantiate
from lipbench.suite.uses import Resolver
from lipbench.suite.yamltree import parse_yaml


class ConformanceError(AssertionError):
    """A component breaks the contract; the message has a line for each fault."""


class DoesNotApply(Exception):
    """A check has nothing to look at; its text says why."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one check came to."""

    check: str
    status: Literal["ok", "fault", "waived", "does not apply"]
    messages: tuple[str, ...] = ()
    """The faults, or why it was waived or does not apply."""


@dataclass(frozen=True, kw_only=True)
class Conformance:
    """What all checks of one component came to."""

    kind: Kind
    name: str
    results: tuple[Result, ...]

    def faults(self) -> list[str]:
        """A line for each fault."""
        return [f"{r.check}: {m}" for r in self.results if r.status == "fault" for m in r.messages]


REPORTS: list[Conformance] = []
"""All reports of this process; the pytest plugin sums them up."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A component under test."""

    kind: Kind
    cls: type
    params: Mapping[str, Any] = field(default_factory=dict)
    declared: Component | None = None
    """Its declaration; None where the class itself was given."""
    device: str = "cpu"

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.declared.name if self.declared else self.cls.__name__

    def make(self) -> Any:
        """A new one with the parameters under test."""
        return instantiate(self.cls, dict(self.params))

    def context(self, seed: int = 0, **more: Any) -> Context:
        """What the harness would tell it."""
        return Context(scope=f"conformance {self.name}", seed=seed, device=self.device, **more)


S = TypeVar("S", bound=Subject)
T = TypeVar("T")
Check = Callable[[S], Iterable[str]]
"""Gives a sentence for each fault; its name is what is waived, its docstring says what must hold."""


@dataclass(frozen=True, kw_only=True)
class Checks(Generic[S]):
    """The checks of a kind, in order."""

    checks: tuple[Check[S], ...]

    def run(self, subject: S, waive: Mapping[str, str]) -> Conformance:
        """Run all of them.

        Args:
            subject: What is tested.
            waive: Name of a check to the reason why this component need not pass it. A waiver that is not needed is a fault.

        Raises:
            ConformanceError: A check found a fault.
            LipbenchError: A waiver names no check.
        """
        names = [check.__name__ for check in self.checks]
        for name, reason in waive.items():
            if name not in names:
                raise LipbenchError(f"there is no check {name!r} to waive; {did_you_mean(name, names)}")
            if not reason.strip():
                raise LipbenchError(f"waive[{name!r}] must say why")
        seen: set[str] = set()
        results = tuple(_result(check, subject, waive.get(check.__name__), seen) for check in self.checks)
        report = Conformance(kind=subject.kind, name=subject.name, results=results)
        REPORTS.append(report)
        if faults := report.faults():
            raise ConformanceError(
                f"{subject.kind} {subject.name} breaks the contract:\n" + "\n".join(f"  {f}" for f in faults)
            )
        return report


def _result(check: Check[S], subject: S, waived: str | None, seen: set[str]) -> Result:
    name = check.__name__
    try:
        faults = tuple(dict.fromkeys(check(subject)))
    except DoesNotApply as reason:
        return Result(check=name, status="does not apply", messages=(str(reason),))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a component may call sys.exit
        faults = (f"raised {in_words(error)}",)
        if faults[0] in seen:  # a component that cannot even be made need not say so for each check
            return Result(check=name, status="does not apply", messages=("it fails before that, as said above",))
        seen.add(faults[0])
    if faults and waived is not None:
        return Result(check=name, status="waived", messages=(waived,))
    if waived is not None:
        return Result(check=name, status="fault", messages=("passes; remove its waiver",))
    return Result(check=name, status="fault" if faults else "ok", messages=faults)


@lru_cache(maxsize=16)
def registry_with(plugin: str | None) -> Registry:
    """The installed plugins, and one that is not installed."""
    return load_registry(PluginOptions(extra=(plugin,) if plugin else ()))


SMALLER = {0.5: "half the size", 1e-9: "one row"}
"""Shares of the batch that are tried, with their words."""


def in_batches(measure: Callable[..., T]) -> tuple[T, dict[str, T]]:
    """What a component gives with its usual batch, and with each smaller one by its words.

    Args:
        measure: Takes keywords for the context.

    Raises:
        DoesNotApply: The component asks for no batch.
    """
    asked: list[int] = []
    whole = measure(on_batch=asked.append)
    if not asked:
        raise DoesNotApply("it asks for no batch by ctx.batch()")
    return whole, {words: measure(batch_scale=scale) for scale, words in SMALLER.items()}


def find(kind: Kind, component: type | str, plugin: str | None) -> tuple[type, Component | None]:
    """The class of a component, and its declaration where it was given by name.

    Raises:
        PluginError: There is none of this name, or it cannot be imported.
    """
    if isinstance(component, type):
        return component, None
    registry = registry_with(plugin)
    entry = registry.get(kind, component)
    return registry.load(entry), entry.component


def dataset_of(data: Dataset | str | Mapping[str, Any], plugin: str | None) -> Dataset:
    """A dataset as it is, or one that is written as in a suite.

    Raises:
        SuiteError: There is none of this name, or a parameter is wrong.
    """
    if isinstance(data, Dataset):
        return data
    registry = registry_with(plugin)
    use = Resolver(registry, parse_yaml(json.dumps(data), "data")).use("dataset", data, ())
    made: Dataset = instantiate(registry.load(use.entry), dict(use.params))
    return made


@contextmanager
def global_seed(number: int) -> Iterator[None]:
    """Set the global generators that libraries draw from, and put them back afterwards."""
    import numpy as np
    import torch

    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002
    torch.manual_seed(number)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])
