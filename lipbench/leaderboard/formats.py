# SPDX-License-Identifier: Apache-2.0
"""Writes leaderboards in a format that a plugin declares; ours are declared in the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lipbench.contract.errors import PluginError, in_words
from lipbench.leaderboard.page import Board
from lipbench.plugins import PluginInfo, PluginOptions, declared, load_plugins
from lipbench.registry import load_factory

Renderer = Callable[[Sequence[Board]], str]


def find_format(name: str, plugins: Sequence[PluginInfo] = ()) -> Renderer:
    """The renderer of a format, which says by which plugin it came where it fails.

    Args:
        name: As in `lipbench list formats`.
        plugins: Whose formats there are; none for those of lipbench itself.

    Raises:
        UsageError: There is no such format.
        PluginError: Two plugins claim it, or it cannot be imported.
    """
    known = plugins or load_plugins(PluginOptions(autoload=False))
    made, plugin = declared("format", name, [(f, p) for p in known for f in p.formats])
    who = f"format {name!r} of plugin {plugin.name!r} ({plugin.distribution})"
    try:
        function = load_factory(made.factory)
    except Exception as error:
        raise PluginError(f"{who} cannot be loaded: {in_words(error)}") from error

    def render(boards: Sequence[Board]) -> str:
        if plugin.distribution == "lipbench":
            return str(function(boards))
        try:
            text = function(boards)
        except Exception as error:
            raise PluginError(f"{who} failed: {in_words(error)}") from error
        if not isinstance(text, str):
            raise PluginError(f"{who} gave a {type(text).__name__}; {made.factory} must return a str")
        return text

    return render
