# SPDX-License-Identifier: Apache-2.0
"""A component described from its own code: the constructor's signature is the schema, `evidence` names the roles."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lipbench.contract.components import Dataset, Kind, Method, Metric, Model, Stage, Task
from lipbench.contract.errors import PluginError
from lipbench.contract.execution import in_bytes

if TYPE_CHECKING:
    from pydantic import BaseModel

BASES: dict[Kind, type] = {"task": Task, "model": Model, "dataset": Dataset, "metric": Metric, "method": Method}


def class_name(cls: type) -> str:
    """`module:Class`."""
    return f"{cls.__module__}:{cls.__qualname__}"


def parameters(cls: type) -> type[BaseModel]:
    """A pydantic model of a constructor: unknown parameters are refused.

    Raises:
        PluginError: A parameter has no annotation, or cannot be given by name.
    """
    return _parameters(cls)


@functools.cache
def _parameters(cls: Any) -> type[BaseModel]:
    from pydantic import ConfigDict, Field, create_model

    constructor: Any = next(vars(c)["__init__"] for c in cls.__mro__ if "__init__" in vars(c))
    if constructor is object.__init__:
        return create_model(cls.__name__, __config__=ConfigDict(extra="forbid"))
    hints = _hints(constructor)
    fields: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(constructor).parameters.items())[1:]:
        where = f"{class_name(cls)}: parameter {name!r}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise PluginError(f"{where} must be an ordinary named parameter, as a suite gives all parameters by name")
        if name in ("use", "as") or name.startswith("_"):
            raise PluginError(f"{where} cannot be given in a suite under this name; rename it")
        if name not in hints:
            raise PluginError(f"{where} has no type annotation; the annotation is its schema")
        fields[name] = (hints[name], Field(... if parameter.default is parameter.empty else parameter.default))
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=False, protected_namespaces=())
    return create_model(cls.__name__, __config__=config, **fields)


def _hints(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise PluginError(
            f"{function.__module__}:{function.__qualname__}: {error}; annotations must be importable when the program runs"
        ) from error


def instantiate(cls: type, given: dict[str, Any]) -> Any:
    """Make a component from resolved parameters.

    Raises:
        pydantic.ValidationError: A value does not fit the signature.
    """
    model = parameters(cls)(**given)
    return cls(**{name: getattr(model, name) for name in type(model).model_fields})


def describe(kind: Kind, cls: type) -> dict[str, Any]:
    """All that planning needs to know of a component, as JSON.

    Raises:
        PluginError: The class is not of its kind, or its signature is incomplete.
    """
    base = BASES[kind]
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        raise PluginError(f"{cls!r} is declared as a {kind} but is no subclass of lipbench.api.{base.__name__}")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise PluginError(f"{class_name(cls)} does not define {missing}")
    facts: dict[str, Any] = {
        "class": class_name(cls),
        "doc": documentation(cls),
        "schema": parameters(cls).model_json_schema(),
        "mro": [class_name(c) for c in cls.__mro__ if c is not object],
    }
    if issubclass(cls, Task):
        facts |= _task(cls)
    if issubclass(cls, Metric):
        facts["reads"] = class_name(_annotation(cls, cls.compute, "evidence"))
    if issubclass(cls, Model):
        facts |= {"fitted": cls.fitted, "picks": _picks(cls)}
    if issubclass(cls, (Model, Dataset, Method)):
        facts["attributes"] = _attributes(cls)
    return facts


def documentation(cls: type) -> str:
    """The docstring of a class, with the `Args:` of the class whose constructor it inherits."""
    own = inspect.cleandoc(cls.__doc__ or "")
    maker = next(base for base in cls.__mro__ if "__init__" in vars(base))
    _, args, described = inspect.cleandoc(maker.__doc__ or "").partition("\nArgs:")
    return f"{own}\n{args}{described}" if own and args and "\nArgs:" not in own else own


def _picks(cls: type[Model]) -> list[str]:
    """What only chooses a part of a fitted model, checked."""
    if isinstance(cls.picks, str):
        raise PluginError(f"{class_name(cls)}: picks is a tuple, such as ('member',)")
    fields = parameters(cls).model_fields
    for name in cls.picks:
        if name == "seed" and name in fields:
            raise PluginError(
                f"{class_name(cls)}: picks names seed, which is that of the job, but a parameter has this name too"
            )
        if name != "seed" and (name not in fields or fields[name].is_required()):
            raise PluginError(f"{class_name(cls)}: picks names {name!r}, which is no parameter with a default")
    return list(cls.picks)


def _attributes(cls: type) -> dict[str, Any]:
    """Class attributes that stages may ask for: plain values with public names."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found |= {k: v for k, v in vars(base).items() if not k.startswith("_") and isinstance(v, (str, bool, int))}
    return found


def _annotation(cls: type, function: Any, name: str) -> type:
    hint = _hints(function).get(name)
    if not inspect.isclass(hint):
        raise PluginError(f"{class_name(cls)}: {function.__name__} must annotate {name!r} with a class, it has {hint!r}")
    return hint


def _task(cls: type[Task]) -> dict[str, Any]:
    function = getattr(cls, "evidence", None)
    if not inspect.isfunction(function):
        raise PluginError(f"{class_name(cls)} must define evidence(self, ROLE: TYPE, ..., ctx: Context) -> EVIDENCE")
    names = list(inspect.signature(function).parameters)[1:]
    if "ctx" not in names:
        raise PluginError(f"{class_name(cls)}: evidence must take ctx: Context")
    for name in cls.stages:
        if name not in names:
            raise PluginError(f"{class_name(cls)}: evidence does not take stage {name!r}; add it as a parameter")
    roles = {name: class_name(_annotation(cls, function, name)) for name in names if name not in ("ctx", *cls.stages)}
    for role, kinds in ((n, _annotation(cls, function, n)) for n in roles):
        if not issubclass(kinds, (Model, Dataset, Method)):
            raise PluginError(f"{class_name(cls)}: role {role!r} must be a Model, a Dataset or a Method, not {kinds.__name__}")
    for role, data in cls.fits.items():
        if role not in roles or data not in roles:
            raise PluginError(f"{class_name(cls)}: fits names {role!r} -> {data!r}, but the roles are {', '.join(roles)}")
    gives = _annotation(cls, function, "return")
    return {
        "roles": roles,
        "role_kinds": {n: _kind_of(_annotation(cls, function, n)) for n in roles},
        "fits": dict(cls.fits),
        "shared": cls.shared,
        **_limits(cls),
        "stages": _stages(cls, roles),
        "optional": [
            name for name in cls.stages if inspect.signature(function).parameters[name].default is not inspect.Parameter.empty
        ],
        "gives": class_name(gives),
        "gives_mro": [class_name(c) for c in gives.__mro__ if c is not object],
    }


def _limits(cls: type[Task]) -> dict[str, Any]:
    """What jobs of a task ask for, checked."""
    who = class_name(cls)
    if not (isinstance(cls.cpus, int) and cls.cpus >= 1):
        raise PluginError(f"{who}: cpus is {cls.cpus!r}; write a whole number from 1")
    if not (isinstance(cls.gpus, (int, float)) and 0 < cls.gpus <= 1):
        raise PluginError(f"{who}: gpus is {cls.gpus!r}; write a share above 0 and at most 1")
    if cls.timeout is not None and not (isinstance(cls.timeout, (int, float)) and cls.timeout > 0):
        raise PluginError(f"{who}: timeout is {cls.timeout!r}; write seconds above 0, or None")
    try:
        memory = in_bytes(cls.memory) if cls.memory else 0
    except (TypeError, ValueError) as error:
        raise PluginError(f"{who}: memory is {cls.memory!r}: {error}") from error
    return {"cpus": cls.cpus, "gpus": float(cls.gpus), "memory": memory, "timeout": cls.timeout}


def _stages(cls: type[Task], roles: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """The stages of a task as JSON, each checked against the method that it names and what it may read."""
    known: dict[str, list[dict[str, Any]]] = {}
    for name, choices in cls.stages.items():
        listed = tuple(choices) if isinstance(choices, (tuple, list)) else (choices,)
        who = f"{class_name(cls)}: stage {name!r}"
        if not listed or not all(isinstance(stage, Stage) for stage in listed):
            raise PluginError(f"{who} must be a Stage, or a tuple of some")
        known[name] = [_stage(cls, who, stage, roles, known) for stage in listed]
    return known


def _stage(cls: type[Task], who: str, stage: Stage, roles: Mapping[str, str], known: Mapping[str, Any]) -> dict[str, Any]:
    function = getattr(cls, stage.method, None)
    if not inspect.isfunction(function):
        raise PluginError(f"{who} names method {stage.method!r}, which does not exist")
    takes = set(inspect.signature(function).parameters) - {"self"}
    if takes != {*stage.inputs, "ctx"}:
        listing = ", ".join(sorted({*stage.inputs, "ctx"}))
        raise PluginError(f"{who}: {stage.method} must take {listing}; it takes {', '.join(sorted(takes))}")
    for source in stage.inputs.values():
        if source not in roles and source not in known:
            raise PluginError(f"{who} reads {source!r}, which is neither a role nor a stage declared before it")
    options = parameters(cls).model_fields
    for option in {*stage.params, *(o for o in stage.only if o.partition(".")[0] not in roles)}:
        if option not in options:
            raise PluginError(f"{who} reads parameter {option!r}, which the task does not have")
    needed = [o for o, f in options.items() if f.is_required() and o not in stage.params]
    if needed:
        raise PluginError(f"{who}: parameter {needed[0]!r} has no default, so the stage must name it in params")
    return {
        "method": stage.method,
        "inputs": dict(stage.inputs),
        "params": sorted(stage.params),
        "only": {k: list(v) for k, v in stage.only.items()},
    }


def _kind_of(cls: type) -> Kind:
    return next(kind for kind, base in BASES.items() if issubclass(cls, base))
