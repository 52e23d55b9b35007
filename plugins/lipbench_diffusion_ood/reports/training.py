# SPDX-License-Identifier: Apache-2.0
"""What the diffusion models learned: loss curves, and images that they draw."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipbench_basics.figures import COLOURS, shorter

from lipbench.api import Record

from .reading import measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODELS = 8
WINDOW = 20
"""Steps of training behind one point of a loss curve."""


def training(records: Sequence[Record]) -> dict[str, Figure]:
    """On the left the loss of each model, on the right in-domain images beside samples; the first eight models.

    Args:
        records: In the order of the plan.
    """
    found: dict[tuple[str, str], Record] = {}
    for r in records:
        if r.uses.get("metric") == "denoising_loss" and measured(r):
            found.setdefault((r.roles.get("in_dist", ""), r.roles.get("backbone", "")), r)
    models = list(found.items())[:MODELS]
    if not models:
        return {}
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    figure = Figure(figsize=(10.5, max(3.2, 0.75 * len(models) + 0.9)), layout="constrained")
    grid = figure.add_gridspec(len(models), 2, width_ratios=[1, 1.5])
    curves = figure.add_subplot(grid[:, 0])
    backbones = {backbone for _, backbone in found}
    for k, ((inside, backbone), r) in enumerate(models):
        name = shorter(inside if len(backbones) == 1 else f"{inside}, {backbone}", 34)
        curve = r.extras["loss_curve"]
        steps = [WINDOW * (i + 1) for i in range(len(curve))]
        curves.plot(steps, curve, color=COLOURS[k % len(COLOURS)], linewidth=1.2, label=f"{name}: {r.value:.3f}")
        panel = figure.add_subplot(grid[k, 1])
        sheet = imread(io.BytesIO(base64.b64decode(r.extras["sheet"])), format="png")
        panel.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        panel.set_title(name, fontsize="small")
        panel.set_axis_off()
    curves.set_yscale("log")
    curves.set_xlabel("step", fontsize="small")
    curves.set_ylabel("mean squared error of the noise", fontsize="small")
    curves.tick_params(labelsize="small")
    curves.grid(alpha=0.25, linewidth=0.5)
    curves.legend(fontsize="small", frameon=False)
    figure.suptitle("Training of the diffusion models; left in-domain test images, right samples of the model")
    return {"training": figure}
