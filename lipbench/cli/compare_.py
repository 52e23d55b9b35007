# SPDX-License-Identifier: Apache-2.0
"""`lipbench compare`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from lipbench.leaderboard.compare import Comparison


@click.command()
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--suite", "wanted", multiple=True, metavar="NAME", help="Only these suites.")
@click.option(
    "--fail-on",
    type=click.Choice(["regression", "any", "never"]),
    default="regression",
    show_default=True,
    help="What makes the exit code 1: worse and failed values, anything that is not the same, or nothing.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Chance of any false alarm where the code is the same and only the seeds differ.",
)
@click.option("--format", "form", type=click.Choice(["text", "markdown", "json", "junit"]), default="text", show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write there instead of printing."
)
def command(
    base: Path,
    new: Path,
    wanted: tuple[str, ...],
    fail_on: Literal["regression", "any", "never"],
    alpha: float,
    form: str,
    output: Path | None,
) -> None:
    """BASE and NEW are folders that `lipbench run --results` wrote to; BASE may be empty.

    Cells with the same id must have the same value, bit for bit. Where ids differ, because code, versions or seeds do, the
    same roles, parameters and metric are compared over their seeds. With GITHUB_ACTIONS and GITHUB_STEP_SUMMARY set, regressions
    become annotations and the Markdown goes to the step summary.
    """
    from lipbench.files import write_atomic
    from lipbench.leaderboard.compare import compare
    from lipbench.results.folders import suite_folders

    bases = suite_folders(base, may_be_empty=True)
    news = suite_folders(new, wanted)
    if wanted:
        bases = {name: folder for name, folder in bases.items() if name in wanted}
    comparison = compare(bases, news, alpha)
    text = _renderer(form)(comparison)
    if output is not None:
        write_atomic(output, text.encode("utf-8", "backslashreplace"))
    else:
        click.echo(_harmless(text), nl=False)
    _tell_github(comparison)
    sys.exit(1 if comparison.fails(fail_on) else 0)


def _renderer(form: str) -> Callable[[Comparison], str]:
    from lipbench.leaderboard import compare_ci, compare_render

    return {
        "text": compare_render.render_text,
        "markdown": compare_render.render_markdown,
        "json": compare_render.render_json,
        "junit": compare_ci.render_junit,
    }[form]


def _harmless(text: str) -> str:
    """What GitHub would take for commands of the older kind anywhere in a line; no line of ours begins as those of the newer."""
    return text.replace("##[", "## [") if os.environ.get("GITHUB_ACTIONS") == "true" else text


def _tell_github(comparison: Comparison) -> None:
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from lipbench.leaderboard.compare_ci import error_commands

        for line in error_commands(comparison):
            click.echo(_harmless(line), err=True)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        from lipbench.leaderboard.compare_render import render_markdown

        with Path(summary).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(render_markdown(comparison))
