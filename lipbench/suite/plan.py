# SPDX-License-Identifier: Apache-2.0
"""From a checked suite to jobs and cells with content-hash ids. Imports no component that is already described."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from lipbench.contract.errors import AbsentData, PluginError, SuiteError, did_you_mean
from lipbench.files import canonical
from lipbench.fingerprint import digest
from lipbench.registry import Registry
from lipbench.suite.data import data_fingerprint
from lipbench.suite.jobs import Cell, Fit, Job, Plan, cell_id, device_key, job_id
from lipbench.suite.limits import limits_of
from lipbench.suite.load import FORMAT, Suite
from lipbench.suite.shown import check_leaderboard
from lipbench.suite.stages import Point, Step, steps_of
from lipbench.suite.uses import Resolver, Use, check, defaults

Path = tuple[str | int, ...]


def make_plan(
    suite: Suite,
    registry: Registry,
    device: str = "cpu",
    select: Sequence[str] = (),
    absent: list[str] | None = None,
) -> Plan:
    """Expand a suite.

    Args:
        suite: The suite as it will run.
        registry: Components.
        device: `cpu`, `cuda` or `mps`.
        select: `ROLE=PATTERN` each: only jobs and metrics whose label, name or value matches one of that role's patterns.
        absent: Where given, it takes the complaints about files that are missing, and the rest is checked all the same; such
            a plan cannot run.

    Raises:
        SuiteError: Anything wrong with a component, parameter, role, metric or selection, at its line.
        PluginError: A required plugin is missing.
    """
    for wanted in suite.spec.requires_plugins:
        if wanted not in {p.name for p in registry.plugins if p.status == "ok"}:
            raise suite.tree.error(
                f"plugin {wanted!r} is required, but it is not installed, blocked or broken", ["requires_plugins"]
            )
    planner = _Planner(suite, registry, device, _parse_select(select), absent)
    limits = limits_of(suite, planner.facts)
    planner.device = device_key(device, limits.threads)
    jobs = _merged(planner.jobs())
    roles = {*planner.facts["roles"], *planner.facts["schema"].get("properties", {})}
    check_leaderboard(suite, roles, planner.metrics)
    planner.check_select()
    if not jobs:
        raise suite.tree.error("nothing is left to run: every combination is excluded or deselected")
    _no_twins(jobs, suite)
    return Plan(suite=suite, jobs=tuple(jobs), fits=planner.fits, steps=planner.steps, device=device, limits=limits)


def _merged(jobs: Iterable[Job]) -> list[Job]:
    """One job a point, where several blocks measure the same one with different metrics."""
    found: dict[str, Job] = {}
    for job in jobs:
        before = found.get(job.id)
        found[job.id] = job if before is None else _joined(before, job)
    return list(found.values())


def _joined(one: Job, other: Job) -> Job:
    return replace(one, cells=one.cells + other.cells, blocks=tuple(dict.fromkeys(one.blocks + other.blocks)))


def _no_twins(jobs: Sequence[Job], suite: Suite) -> None:
    seen: set[str] = set()
    for job in jobs:
        for cell in job.cells:
            if cell.id in seen:
                raise suite.tree.error(f"the cell {job.title()}, {cell.metric.label} appears twice; remove one from the matrix")
            seen.add(cell.id)


def _parse_select(select: Sequence[str]) -> dict[str, list[str]]:
    wanted: dict[str, list[str]] = {}
    for item in select:
        role, equals, pattern = item.partition("=")
        if not equals:
            raise SuiteError("write it as ROLE=NAME, such as network=mlp or metric=line_*", f"--select {item}")
        wanted.setdefault(role, []).append(pattern)
    return wanted


class _Planner:
    """Walks blocks and combinations; one per plan."""

    def __init__(
        self, suite: Suite, registry: Registry, device: str, select: Mapping[str, list[str]], absent: list[str] | None
    ) -> None:
        self.suite, self.registry, self.device, self.select, self.absent = suite, registry, device, select, absent
        self.resolver = Resolver(registry, suite.tree)
        self.fits: dict[str, Fit] = {}
        self.steps: dict[str, Step] = {}
        self.seen: dict[str, set[str]] = {}
        self.matched: set[str] = set()
        self.metrics: dict[str, None] = {}
        """Labels of all metrics, of selected jobs or not."""
        self._data: dict[str, str] = {}
        self.task = self.resolver.use("task", suite.spec.task, ("task",))
        self.facts = registry.describe(self.task.entry)

    def jobs(self) -> Iterator[Job]:
        spec = self.suite.spec
        if spec.matrix is not None:
            yield from self.block((), "", spec.matrix, spec.metrics, spec.seeds, spec.exclude, ("metrics",))
        for name, block in (spec.blocks or {}).items():
            at: Path = ("blocks", name)
            metrics, place = (spec.metrics, ("metrics",)) if block.metrics is None else (block.metrics, (*at, "metrics"))
            seeds = spec.seeds if block.seeds is None else block.seeds
            yield from self.block(at, name, block.matrix, metrics, seeds, [*spec.exclude, *block.exclude], place)

    def block(
        self,
        at: Path,
        name: str,
        matrix: Mapping[str, Any],
        metrics: Sequence[Any],
        seeds: Any,
        exclude: Sequence[Any],
        place: Path,
    ) -> Iterator[Job]:
        axes = self.axes(matrix, (*at, "matrix"))
        if not metrics:
            raise self.suite.tree.error("there is no metric; list at least one under `metrics:`", place)
        measured = [self.metric(raw, (*place, i)) for i, raw in enumerate(metrics)]
        self.metrics |= dict.fromkeys(m.label for m in measured)
        self.check_exclude(exclude, axes)
        chosen = [m for m in measured if self.selected("metric", m)]
        for combination in itertools.product(*axes.values()):
            point = dict(zip(axes, combination, strict=True))
            if any(all(_matches(point[k], v) for k, v in rule.items()) for rule in exclude if set(rule) <= set(point)):
                continue
            wanted = [self.selected(key, value) for key, value in point.items()]
            for seed in range(seeds) if isinstance(seeds, int) else seeds:
                if all([*wanted, self.selected("seed", seed), self.selected("block", name)]) and chosen:
                    yield self.job(point, seed, chosen, (name,) if name else ())

    def axes(self, matrix: Mapping[str, Any], at: Path) -> dict[str, list[Any]]:
        roles: Mapping[str, str] = self.facts["roles"]
        tree = self.suite.tree
        options = self.facts["schema"].get("properties", {})
        for key in matrix:
            if key not in roles and key not in options:
                raise tree.error(
                    f"task {self.task.name!r} has no role or parameter {key!r}; {did_you_mean(key, [*roles, *options])}",
                    (*at, key),
                )
        for role in roles:
            if role not in matrix:
                raise tree.error(f"role {role!r} of task {self.task.name!r} is missing from the matrix", at)
        axes: dict[str, list[Any]] = {}
        for key in sorted(matrix, key=lambda k: (k not in roles, list(roles).index(k) if k in roles else 0)):
            raw = matrix[key] if isinstance(matrix[key], list) else [matrix[key]]
            if not raw:
                raise tree.error(f"{key}: the list is empty, so nothing would run; name at least one", (*at, key))
            where = [(*at, key, i) if isinstance(matrix[key], list) else (*at, key) for i in range(len(raw))]
            axes[key] = [
                self.role(key, v, w) if key in roles else self.option(key, v, w) for v, w in zip(raw, where, strict=True)
            ]
        return axes

    def role(self, role: str, raw: Any, at: Path) -> Use:
        use = self.resolver.use(self.facts["role_kinds"][role], raw, at)
        needed, has = self.facts["roles"][role], self.registry.describe(use.entry)["mro"]
        if needed not in has:
            raise self.suite.tree.error(
                f"{use.kind} {use.name!r} cannot fill role {role!r}: it needs a {_short(needed)}, this is a {_short(has[0])}",
                at,
            )
        return use

    def option(self, key: str, value: Any, at: Path) -> Any:
        schema = self.facts["schema"]
        one = {"properties": {key: schema["properties"][key]}, "$defs": schema.get("$defs", {})}
        check(one, {key: value}, f"task {self.task.name!r}", self.suite.tree, at[:-1] if at[-1] == key else at[:-2])
        return value

    def metric(self, raw: Any, at: Path) -> Use:
        use = self.resolver.use("metric", raw, at)
        reads = self.registry.describe(use.entry)["reads"]
        if reads not in self.facts["gives_mro"]:
            raise self.suite.tree.error(
                f"metric {use.name!r} reads {_short(reads)}, but task {self.task.name!r} gives {_short(self.facts['gives'])}",
                at,
            )
        return use

    def check_exclude(self, exclude: Sequence[Mapping[str, Any]], axes: Mapping[str, Any]) -> None:
        known = {*self.facts["roles"], *self.facts["schema"].get("properties", {})}
        for i, rule in enumerate(exclude):
            for key in rule:
                if key not in known:
                    raise self.suite.tree.error(
                        f"exclude: there is no role {key!r}; {did_you_mean(key, known)}", ("exclude", i, key)
                    )

    def selected(self, key: str, value: Any) -> bool:
        words = _words(value)
        self.seen.setdefault(key, set()).update(words[:1])
        patterns = self.select.get(key)
        fits = patterns is None or any(fnmatchcase(w, p) for w in words for p in patterns)
        if fits:
            self.matched.add(key)
        return fits

    def check_select(self) -> None:
        for role in self.select:
            if role not in self.seen:
                raise SuiteError(f"there is no role {role!r}; {did_you_mean(role, self.seen)}", "--select")
            if role not in self.matched:
                pattern = self.select[role][-1]
                raise SuiteError(f"nothing matches; {did_you_mean(pattern, self.seen[role])}", f"--select {role}={pattern}")

    def job(self, point: Mapping[str, Any], seed: int, metrics: Sequence[Use], blocks: tuple[str, ...]) -> Job:
        roles = {k: v for k, v in point.items() if isinstance(v, Use)}
        varying = {k: v for k, v in point.items() if not isinstance(v, Use)}
        task = self.with_params(varying)
        data = {role: read for role, use in roles.items() if (read := self.data(use))}
        builds, fits = self.built(roles, data, seed)
        contents = {r: [u.name, u.params, u.code, data.get(r, "")] for r, u in roles.items()}
        job = job_id(self.device, seed, [task.name, task.params, task.code], contents)
        attributes = {role: self.registry.describe(use.entry)["attributes"] for role, use in roles.items()}
        point_ = Point(
            device=self.device, seed=seed, task=task, roles=roles, data=data, builds=builds, fits=fits, attributes=attributes
        )
        stages, steps = steps_of(self.facts, point_)
        self.steps |= steps
        cells = tuple(Cell(id=cell_id(job, m.name, m.params, m.code), metric=m) for m in metrics)
        return Job(
            id=job, task=task, roles=roles, data=data, fits=fits, builds=builds, stages=stages, seed=seed, cells=cells,
            shared=self.facts["shared"], varying=varying, blocks=blocks,
        )  # fmt: skip

    def with_params(self, varying: Mapping[str, Any]) -> Use:
        if not varying:
            return self.task
        base = self.suite.spec.task
        raw = {"use": base} if isinstance(base, str) else dict(base)
        return self.resolver.use("task", {**raw, **varying}, ("task",))

    def data(self, use: Use) -> str:
        key = use.code + use.identity
        if key not in self._data:
            place = self.resolver.places.get((use.kind, use.label, use.identity), ())
            try:
                self._data[key] = data_fingerprint(self.registry, use, self.suite.tree, place)
            except AbsentData as error:
                if self.absent is None:
                    raise
                self.absent.append(str(error))
                self._data[key] = ""
        return self._data[key]

    def built(self, roles: Mapping[str, Use], data: Mapping[str, str], seed: int) -> tuple[dict[str, str], dict[str, str]]:
        """Which dataset each model is built for, and the fits that this job waits for."""
        builds: dict[str, str] = {}
        fits: dict[str, str] = {}
        for role, use in roles.items():
            if use.kind != "model":
                continue
            source = self.facts["fits"].get(role)
            if source is None:
                raise PluginError(
                    f"task {self.task.name!r}: `fits` does not say which dataset role model role {role!r} is built for"
                )
            builds[role] = source
            facts = self.registry.describe(use.entry)
            if facts["fitted"]:
                other = roles[source]
                model, fit_seed = _whole(use, facts, seed)
                sides = [[u.identity, u.code, data.get(r, "")] for r, u in ((role, model), (source, other))]
                fit_id = digest(canonical([FORMAT, self.device, fit_seed, *sides]))
                self.fits.setdefault(fit_id, Fit(id=fit_id, model=model, data=other, seed=fit_seed))
                fits[role] = fit_id
        return builds, fits


def _whole(use: Use, facts: Mapping[str, Any], seed: int) -> tuple[Use, int]:
    """A model as it is fitted, and with which seed: without what only picks a part of what was fitted."""
    picks = facts["picks"]
    if not picks:
        return use, seed
    usual = {name: value for name, value in defaults(facts["schema"]).items() if name in picks}
    return replace(use, label=use.name, params={**use.params, **usual}), 0 if "seed" in picks else seed


def _short(name: str) -> str:
    return name.rpartition(":")[2]


def _words(value: Any) -> list[str]:
    if isinstance(value, Use):
        return [value.label, value.name]
    return [value if isinstance(value, str) else canonical(value)]


def _matches(value: Any, rule: Any) -> bool:
    rules: Iterable[Any] = rule if isinstance(rule, list) else [rule]
    return any(r == value or (isinstance(r, str) and r in _words(value)) for r in rules)
