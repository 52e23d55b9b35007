# SPDX-License-Identifier: Apache-2.0
"""Checks what a suite says of its leaderboard against what it measures."""

from __future__ import annotations

from collections.abc import Collection

from lipbench.contract.errors import did_you_mean
from lipbench.suite.load import Suite
from lipbench.suite.references import load_references


def check_leaderboard(suite: Suite, roles: Collection[str], metrics: Collection[str]) -> None:
    """Rows and ranks name roles or task parameters, columns and thresholds metrics, blocks blocks; a reference file is right.

    Args:
        suite: The suite.
        roles: Roles and parameters of its task.
        metrics: Labels of the metrics of all blocks.

    Raises:
        SuiteError: With the line of the fault.
    """
    spec, tree = suite.spec, suite.tree
    rank = spec.leaderboard.rank
    if spec.leaderboard.rank_by and rank in ("row", "none"):
        raise tree.error(
            f"rank_by: with `rank: {rank}` no rows compete; write `rank: column`, or the roles whose fillings compete",
            ("leaderboard", "rank_by"),
        )
    for name, said, known, words in (
        ("rows", spec.leaderboard.rows, roles, "there is no role or parameter"),
        ("rank", rank if isinstance(rank, list) else (), roles, "there is no role or parameter"),
        ("rank_by", spec.leaderboard.rank_by, metrics, "no block measures"),
        ("blocks", spec.leaderboard.blocks, spec.blocks or {}, "there is no block"),
        ("columns", spec.leaderboard.columns, metrics, "no block measures"),
    ):
        for i, key in enumerate(said or ()):
            if key not in known:
                hint = did_you_mean(key, known) if known else "the suite has none; leave this out"
                raise tree.error(f"{name}: {words} {key!r}; {hint}", ("leaderboard", name, i))
    for label in spec.leaderboard.compare.metrics:
        if label not in metrics:
            raise tree.error(
                f"compare: no block measures {label!r}; {did_you_mean(label, metrics)}",
                ("leaderboard", "compare", "metrics", label),
            )
    if spec.reference is not None:
        file = suite.file.parent / spec.reference
        if not file.is_file():
            raise tree.error(f"reference: there is no file {file}", ("reference",))
        load_references(file)
