# SPDX-License-Identifier: Apache-2.0
"""One HTML page for a whole results folder: no network, opens from disk, shows where every number comes from."""

from lipbench.leaderboard.render.html.build import render

__all__ = ["render"]
