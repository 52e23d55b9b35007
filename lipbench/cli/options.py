# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lipbench.contract.errors import LipbenchError, PluginError, UsageError
from lipbench.plugins import PluginInfo, PluginOptions, load_plugins

if TYPE_CHECKING:
    from lipbench.execution.artifacts import Artifacts
    from lipbench.registry import Registry

F = TypeVar("F", bound=Callable[..., Any])


def plugin_options(function: F) -> F:
    """`--plugin`, `-p no:NAME` and `--no-plugins`."""
    for add in (
        click.option("--no-plugins", is_flag=True, help="Load no installed plugin, only those named by --plugin."),
        click.option("-p", "blocked", multiple=True, metavar="no:NAME", help="Block an installed plugin."),
        click.option(
            "--plugin",
            "plugins",
            multiple=True,
            metavar="FILE|MODULE",
            help="Load a plugin that is not installed. It is code and it runs.",
        ),
    ):
        function = add(function)
    return function


def suite_options(function: F) -> F:
    """Suite files, `--profile`, `--set` and `--select`."""
    for add in (
        click.option("--select", multiple=True, metavar="ROLE=NAME", help="Only matching cells; also metric=, seed=, block=."),
        click.option("--set", "settings", multiple=True, metavar="KEY.PATH=VALUE", help="Change a value of the suite."),
        click.option("--profile", metavar="NAME", help="A profile of the suite, such as quick or paper."),
        click.argument("suites", nargs=-1, required=True, type=click.Path(path_type=Path)),
    ):
        function = add(function)
    return function


def place_options(function: F) -> F:
    """`--device`, `--executor` and `--address`: where jobs run."""
    for add in (
        click.option("--address", metavar="ADDRESS", help="Where the executor finds its machines, if it asks for that."),
        click.option(
            "--executor",
            default="local",
            show_default=True,
            metavar="NAME",
            help="What runs jobs; see `lipbench list executors`.",
        ),
        click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N|mps", help="Where jobs run."),
    ):
        function = add(function)
    return function


def workers_option(function: F) -> F:
    """`--workers`."""
    return click.option(
        "--workers",
        type=click.IntRange(1, 1024),
        help="Works at once, whatever they ask for; default: as many as keep the cores or GPUs busy.",
    )(function)


def results_option(function: F) -> F:
    """`--results`."""
    return click.option(
        "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder of records."
    )(function)


def artifacts_option(function: F) -> F:
    """`--artifacts`."""
    return click.option(
        "--artifacts",
        metavar="DIR|URL",
        help="Where fits and shared steps are, also a URL of fsspec; default: artifacts in --results.",
    )(function)


def read_plugin_options(plugins: tuple[str, ...], blocked: tuple[str, ...], no_plugins: bool) -> PluginOptions:
    """Plugin options from the command line.

    Raises:
        UsageError: `-p` without `no:`.
    """
    for item in blocked:
        if not item.startswith("no:"):
            raise UsageError(f"-p {item}: write -p no:NAME to block a plugin")
    places = tuple(str(Path(p).resolve()) if p.endswith(".py") else p for p in plugins)
    return PluginOptions(extra=places, blocked=tuple(b[3:] for b in blocked), autoload=not no_plugins)


def open_plugins(**chosen: Any) -> list[PluginInfo]:
    """Load the plugins that the command line allows, and name on stderr what `--plugin` named but declares nothing.

    Raises:
        UsageError: See `read_plugin_options` and `load_plugins`.
        PluginError: One that was asked for by `--plugin` is broken.
    """
    options = read_plugin_options(**chosen)
    found = load_plugins(options)
    for info in found:
        if info.distribution in options.extra and not info.declares:
            click.echo(f"--plugin {info.distribution}: it declares nothing; a suite can name its functions", err=True)
    return found


def open_registry(**chosen: Any) -> Registry:
    """The registry of `open_plugins`."""
    from lipbench.registry import Registry

    return Registry(open_plugins(**chosen))


def read_place_options(registry: Registry, executor: str, device: str, address: str | None) -> str:
    """The class of device that a run would be on.

    Raises:
        UsageError: There is no such executor, device or address.
        PluginError: The executor cannot be loaded.
    """
    try:
        return registry.load_executor(executor).device_class(device, address)
    except (PluginError, UsageError):
        raise
    except LipbenchError as error:
        raise UsageError(str(error)) from error


def read_artifacts_option(artifacts: str | None, results: Path) -> Artifacts:
    """Fits and shared steps that are there.

    Raises:
        UsageError: `--artifacts` is no folder, or a URL that cannot be used.
    """
    from lipbench.execution.mirror import artifacts_at
    from lipbench.execution.runner import ARTIFACTS

    place = Path(artifacts) if artifacts is not None and "://" not in artifacts else None
    if place is not None and place.exists() and not place.is_dir():
        raise UsageError(f"--artifacts {artifacts}: this is a file; name a folder")
    try:
        return artifacts_at(artifacts or results / ARTIFACTS)
    except LipbenchError as error:
        raise UsageError(f"--artifacts {error}") from error
