# SPDX-License-Identifier: Apache-2.0
"""Singular values of the local maps at the training points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import shorter, styles

from lipbench.api import Record

from ...reports.reading import good

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def row_spectra(records: Sequence[Record]) -> dict[str, Figure]:
    """One line for each network, its first seed, the mean over outputs.

    Args:
        records: In the order of the plan.
    """
    found: dict[str, Record] = {}
    for r in good(records, "row_redundancy", of="effective_rank"):
        found.setdefault(r.roles["network"], r)
    if not found:
        return {}
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 5.2), layout="constrained")
    panel = figure.subplots()
    look = styles(found)
    for name, r in found.items():
        s = [v for v in r.extras["spectrum"] if v > 1e-12]
        panel.plot(range(1, len(s) + 1), s, color=look[name][0], label=f"{shorter(name)}, effective rank {r.value:.1f}")
    panel.set_yscale("log")
    panel.set_xlabel("singular value")
    panel.set_ylabel("relative to the first")
    panel.legend(frameon=False)
    figure.suptitle("Singular values of the table of local maps, the mean over outputs")
    return {"row_spectra": figure}
