# SPDX-License-Identifier: Apache-2.0
"""The task `lipschitz`: a network, a region of its input space, and pairs of points to start from."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Network, NotApplicable, Task

from .pairsource import NoisePairs, Pairs, RowPairs
from .probe import Probe

Norm = Literal["l2", "l1", "linf"]
ORDER: dict[str, float] = {"l2": 2.0, "l1": 1.0, "linf": math.inf}


@dataclass(frozen=True, kw_only=True)
class NetworkOnRegion:
    """What every Lipschitz estimator reads."""

    probe: Probe
    """The network in the precision of the search; `probe.at(torch.float64)` is the reference."""
    spec: DataSpec
    """Shape, range and unit of the inputs."""
    norm: Norm
    """The norm on inputs and on outputs."""
    radius: float | None
    """None: the region is the whole box of the data's range. A number: balls of this radius (in `norm`, raw unit), cut by
    the box, around `points`."""
    points: Tensor
    """(N, *shape) float32: data points, the centres of balls and the places where local estimators look."""
    pairs: Pairs
    """Where searches start, in the precision of the search."""
    noise: dict[torch.dtype | str, float] = field(default_factory=dict)
    """Noise floors that an estimator has measured, by precision or name: the same for all estimators of this evidence."""

    @property
    def low(self) -> float:
        """Lower end of the box, the same for each coordinate."""
        return self.spec.low

    @property
    def high(self) -> float:
        """Upper end of the box."""
        return self.spec.high

    @property
    def region(self) -> str:
        """`box`, or `ball(r)`: where lower bounds were searched and local bounds hold."""
        return "box" if self.radius is None else f"ball({self.radius:g})"


class Lipschitz(Task):
    """How far can a network's output move when its input moves a little?

    The Lipschitz constant on a region X is K = sup ||f(x) - f(y)||_p / ||x - y||_p over x != y in X. Metrics of this task
    estimate K from below, from above, exactly or statistically.

    Args:
        norm: Norm on inputs and outputs: l2, l1 or linf.
        dtype: Precision in which the network is searched; certified values are always recomputed in float64.
        layer: Output that is measured: `logits`, or `embedding`.
        pairs: Where the pairs come from: `rows` two different inputs of the test split; `blends` each end a random convex
            combination of two such inputs; `noise` independent integers uniform on the data's range (real numbers where the
            range is not that of 8-bit images).
        count: Number of pairs.
        points: Number of test inputs for estimators that look at single points.
        radius: Radius of balls around the points, for local estimators; null for the whole range of the data.
    """

    fits: ClassVar[Mapping[str, str]] = {"network": "data"}

    def __init__(
        self,
        *,
        norm: Norm = "l2",
        dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32",
        layer: str = "logits",
        pairs: Literal["rows", "blends", "noise"] = "rows",
        count: Annotated[int, Field(ge=1)] = 32,
        points: Annotated[int, Field(ge=1)] = 32,
        radius: Annotated[float, Field(gt=0)] | None = None,
    ) -> None:
        self.norm, self.layer, self.pairs, self.radius = norm, layer, pairs, radius
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.count, self.points = count, points

    def evidence(self, network: Network, data: Dataset, ctx: Context) -> NetworkOnRegion:
        """The network in the precision of the search, with pairs and points drawn by the seed."""
        spec = data.spec()
        probe = Probe(network.at(self.layer), spec.shape, self.dtype, ctx.device)
        rows = torch.from_numpy(data.split("test", ctx).inputs)
        order = torch.randperm(len(rows), generator=ctx.generator("points"))
        return NetworkOnRegion(
            probe=probe,
            spec=spec,
            norm=self.norm,
            radius=self.radius,
            points=rows[order[: self.points]],
            pairs=self._pairs(rows, spec, ctx),
        )

    def _pairs(self, rows: Tensor, spec: DataSpec, ctx: Context) -> Pairs:
        if self.pairs == "noise":
            blocks = functools.partial(_block_generator, ctx)
            return NoisePairs(count=self.count, generator=blocks, spec=spec, dtype=self.dtype)
        if len(rows) < 2:
            raise InvalidInput(f"pairs need at least 2 different test inputs, the data has {len(rows)}")
        g = ctx.generator("pairs")
        ends = self._two_rows(len(rows), g)
        if self.pairs == "rows":
            return RowPairs(rows=rows, ends=ends, spec=spec, dtype=self.dtype)
        other = self._two_rows(len(rows), g)
        mix = torch.rand((2, self.count), generator=g)
        return RowPairs(rows=rows, ends=ends, spec=spec, dtype=self.dtype, other=other, mix=mix)

    def _two_rows(self, n: int, g: torch.Generator) -> Tensor:
        """(count, 2) indices of two different rows each; pairs may repeat where there are few rows."""
        first = torch.randint(n, (self.count,), generator=g)
        step = torch.randint(1, n, (self.count,), generator=g)
        return torch.stack([first, (first + step) % n], 1)


def _block_generator(ctx: Context, number: int) -> torch.Generator:
    return ctx.generator(f"pairs {number}")


def need_l2(evidence: NetworkOnRegion, who: str) -> None:
    """Refuse any norm but l2.

    Raises:
        NotApplicable: The task runs in another norm.
    """
    if evidence.norm != "l2":
        raise NotApplicable(f"{who} is defined for norm: l2, the task has norm: {evidence.norm}")
