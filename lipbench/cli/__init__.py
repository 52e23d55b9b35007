# SPDX-License-Identifier: Apache-2.0
"""The command line: one file per command, imported when the command is used, so that `--help` stays fast."""

from __future__ import annotations

import importlib
import inspect
import io
import os
import sys
from typing import Any

import click

from lipbench import __version__
from lipbench.contract.errors import LipbenchError, SuiteError

COMMANDS = {
    "run": "Compute what is missing of one or more suites and print their leaderboards.",
    "plan": "Show what a run would compute, and what it has already.",
    "validate": "Check suites and their profiles; the first fault of each with its line.",
    "leaderboard": "Print the leaderboards of a results folder.",
    "compare": "Compare two folders of results: what got better or worse by more than noise.",
    "merge": "Join the results of several machines.",
    "list": "List tasks, models, datasets, metrics, methods, executors, formats or plugins.",
    "show": "Show a component: what it does, its parameters, its source.",
    "explain": "Say why a cell would run again: the difference between two keys.",
    "schema": "Print the JSON schema of suite files for the active plugins.",
    "new-plugin": "Make a package for components of your own, with a suite and tests.",
    "doctor": "Show devices, versions, plugins with their errors, and find the usual troubles.",
}
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


class _Pipe(io.FileIO):
    """Standard output or standard error. Where its reader goes away, as `head` does, the rest goes nowhere and the command goes on."""

    def write(self, data: Any) -> int:
        """See `io.FileIO`."""
        try:
            return super().write(data) or 0
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if not isinstance(error, BrokenPipeError):
                raise  # once: at the exit Python would try what is left again, with a traceback and an exit code of its own
            return super().write(data) or 0


def _outlive_readers() -> None:
    """A run must not end, nor a failure be taken for success, because nobody reads on."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and stream is getattr(sys, f"__{name}__"):
            stream.flush()
            pipe = io.BufferedWriter(_Pipe(stream.fileno(), "w", closefd=False))
            lines = stream.line_buffering
            setattr(sys, name, io.TextIOWrapper(pipe, encoding=stream.encoding, errors=stream.errors, line_buffering=lines))


class _Lazy(click.Group):
    """Knows its commands by name and summary; imports one only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"lipbench.cli.{cmd_name.replace('-', '_')}_").command
        command.name = cmd_name  # each file calls it `command`
        command.help = COMMANDS[cmd_name] + (f"\n\n{inspect.cleandoc(command.help)}" if command.help else "")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from lipbench.contract.errors import did_you_mean

            raise click.UsageError(f"there is no command {args[0]!r}; {did_you_mean(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="lipbench")
def cli() -> None:
    """lipbench: benchmark suites for the geometry of learning.

    Exit codes: 0 all is well, 1 a cell failed or a check did not hold, 2 wrong usage or a wrong suite, 130 interrupted.
    """


def main() -> None:
    """Run the command line; an error that the user can mend is one line without a traceback."""
    _outlive_readers()
    try:
        cli.main(prog_name="lipbench", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except LipbenchError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_USAGE if isinstance(error, SuiteError) else EXIT_FAILED)
    except OSError as error:
        click.echo(f"error: {error.filename or 'input or output'}: {error.strerror or error}", err=True)
        sys.exit(EXIT_FAILED)
