# SPDX-License-Identifier: Apache-2.0
"""How steep a network is: gradients from below, the product of its layers from above; and its kernels."""

from __future__ import annotations

import copy
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.func import jacrev, vmap

from lipbench.api import Context, Metric, NotApplicable, Value

from ..layers import product_bound
from ..task import NetworkOnClasses
from ..training import kernels


class GradientNorm(Metric):
    """The largest l2 norm of the Jacobian over rows of the test split and random points of the data's range.

    A lower bound on the constant. Extras: quantiles over the test rows.

    Args:
        points: Most test rows, and as many random points.
    """

    def __init__(self, *, points: Annotated[int, Field(ge=1)] = 500) -> None:
        self.points = points

    def compute(self, evidence: NetworkOnClasses, ctx: Context) -> Value:
        """A network that is 1-Lipschitz has at most 1 everywhere; not ranked."""
        rows = evidence.test.x[: self.points].double()
        spec = evidence.spec
        draw = torch.rand(rows.shape, generator=ctx.generator("points"), dtype=torch.float64)
        module = copy.deepcopy(evidence.module).double()
        norms = jacobian_norms(module, rows, evidence.test.f.shape[1])
        others = jacobian_norms(module, spec.low + (spec.high - spec.low) * draw, evidence.test.f.shape[1])
        at = torch.tensor([0, 0.05, 0.5, 0.95, 1], dtype=torch.float64)
        return Value(
            value=float(torch.cat([norms, others]).max()),
            direction="none",
            unit="output / input",
            extras={"quantiles": [float(f"{q:.6g}") for q in norms.quantile(at).tolist()], "random": float(others.max())},
        )


def jacobian_norms(module: torch.nn.Module, x: Tensor, outputs: int) -> Tensor:
    """(B,) spectral norms of the Jacobians at x (B, *shape); one gradient where there is one output.

    Args:
        module: (B, *shape) -> (B, m).
        x: Points.
        outputs: m.
    """
    if outputs == 1:
        x = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(module(x).sum(), x)
        return gradient.flatten(1).norm(dim=1)
    size = max(1, 2**22 // (outputs * x[0].numel()))
    jacobian = vmap(jacrev(lambda row: module(row[None])[0]))
    norms = []
    for part in x.split(size):
        J = jacobian(part).flatten(2)
        gram = J @ J.mT if J.shape[1] < J.shape[2] else J.mT @ J
        norms.append(torch.linalg.eigvalsh(gram)[:, -1].clamp_min(0).sqrt())
    return torch.cat(norms)


class ProductBound(Metric):
    """Upper bound on the l2 constant of the exported network: the product of its layers' constants, in float64.

    Linear layers and convolutions count with their exact norms, as operators with padding, not with what their constraint
    claims. Extras: the factors that are not 1.
    """

    def compute(self, evidence: NetworkOnClasses, ctx: Context) -> Value:
        """At most 1 where the constraint holds; not ranked."""
        value, factors = product_bound(evidence.module, evidence.spec.shape)
        return Value(value=value, direction="none", unit="output / input", extras={"factors": [list(f) for f in factors]})


class Orthogonality(Metric):
    """The largest distance from 1 of a singular value of a constrained kernel, apart from the last layer's factor.

    Extras: for each layer the extreme singular values of the raw and of the constrained kernel, at the end and over training.
    """

    def compute(self, evidence: NetworkOnClasses, ctx: Context) -> Value:
        """Lower is better."""
        network = evidence.trained()
        layers = []
        for raw, used in kernels(network.constrained):
            values = [torch.linalg.svdvals(W.double()) for W in (raw, used)]
            layers.append([float(f"{end:.7g}") for v in values for end in (v[0], v[-1])])
        if not layers:
            raise NotApplicable("the network has no kernels")
        worst = max(max(abs(top - 1), abs(low - 1)) for _, _, top, low in layers)
        curves = {
            name: [[float(f"{v:.5g}") for v in row] for row in network.curves[name].tolist()]
            for name in ("raw_max", "raw_min", "bound_max", "bound_min")
            if name in network.curves
        }
        steps = network.curves["step"].tolist() if network.curves else []
        return Value(value=worst, direction="lower", unit="1", extras={"layers": layers, "step": steps, **curves})


class ExportDifference(Metric):
    """The largest difference between the constrained and the exported network over both splits, in float32."""

    def compute(self, evidence: NetworkOnClasses, ctx: Context) -> Value:
        """Lower is better; 1e-6 is rounding."""
        constrained = evidence.trained().constrained.eval()
        with torch.no_grad():
            gaps = [
                float((constrained(x) - f).abs().max())
                for part in (evidence.train, evidence.test)
                for x, f in zip(part.x.split(1024), part.f.split(1024), strict=True)
            ]
        return Value(value=max(gaps), direction="lower", unit="output")
