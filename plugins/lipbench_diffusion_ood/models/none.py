# SPDX-License-Identifier: Apache-2.0
"""No backbone, for detectors that learn from the images alone."""

from __future__ import annotations

from typing import ClassVar

from lipbench.api import Context, DataSpec

from ..base import Backbone


class NoBackbone(Backbone):
    """Nothing is fitted; detectors calibrate themselves on in-domain training images."""

    fitted: ClassVar[bool] = False

    def build(self, spec: DataSpec, ctx: Context) -> None:
        """There is nothing to build."""
