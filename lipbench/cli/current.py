# SPDX-License-Identifier: Apache-2.0
"""`lipbench leaderboard --update FILE` and `--check`: tables in other files that say what the records say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lipbench.contract.errors import StoreError
from lipbench.files import write_atomic

if TYPE_CHECKING:
    from lipbench.leaderboard.page import Board
    from lipbench.plugins import PluginInfo


def keep_current(
    results: Path, folders: Mapping[str, Path], files: Sequence[Path], plugins: Sequence[PluginInfo], *, check: bool
) -> int:
    """Update files or, where `check` is set, only say what is stale; the number of stale places and of faults.

    Without files, it is the saved `leaderboard.md` of each suite that is checked, with the form of all that stands beside it.
    """
    from lipbench.leaderboard.board import make_board

    @cache
    def board_of(suite: str) -> Board:
        return make_board(folders[suite], plugins)

    stale = _saved(folders, board_of) if not files else 0
    for file in files:
        stale += _fill(file, results, folders, board_of, check)
    return stale


def _fill(file: Path, results: Path, folders: Mapping[str, Path], board_of: Callable[[str], Board], check: bool) -> int:
    from lipbench.leaderboard.embed import fill

    real = file.resolve()  # a link stays one
    try:
        raw = real.read_bytes()
        before = raw.decode()
    except OSError as error:
        raise StoreError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StoreError(f"{file} is no UTF-8 (byte {error.start}); save it as UTF-8") from error
    after, stale = fill(before, str(file), list(folders), board_of)
    if check:
        for slot in stale:
            click.echo(f"stale: {file}:{slot.line}: {slot.words or 'all suites'}", err=True)
        if stale:
            click.echo(f"`lipbench leaderboard {results} --update {file}` writes it anew", err=True)
        return len(stale)
    if stale:
        write_atomic(real, after.encode("utf-8", "backslashreplace"), real.stat().st_mode & 0o7777)
    click.echo(
        f"{file}: {', '.join(f'line {slot.line}' for slot in stale) + ' written anew' if stale else 'nothing to change'}"
    )
    return 0


def _saved(folders: Mapping[str, Path], board_of: Callable[[str], Board]) -> int:
    from lipbench.results.form import form_faults

    wrong = 0
    for suite, folder in folders.items():
        faults = list(form_faults(folder))
        if not faults and _differs(folder / "leaderboard.md", board_of(suite)):
            faults.append(
                f"stale: {folder / 'leaderboard.md'}: it does not say what the records say; `lipbench run` writes it anew"
            )
        for fault in faults:
            click.echo(fault, err=True)
        wrong += len(faults)
        click.echo(f"{suite}: {'ok' if not faults else f'{len(faults)} faults'}")
    return wrong


def _differs(saved: Path, board: Board) -> bool:
    from lipbench.leaderboard.board import render

    return not saved.is_file() or saved.read_bytes() != render([board], "md").encode("utf-8", "backslashreplace")
