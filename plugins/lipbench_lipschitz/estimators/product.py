# SPDX-License-Identifier: Apache-2.0
"""Upper bounds from layer norms: AutoLip, and its Frobenius and absolute-value relatives."""

from __future__ import annotations

import math
from typing import Literal

from lipbench.api import Context, NotApplicable, Value

from ..chain import dense_chain, layers, perturbation
from ..graph import Factor, frobenius_norm, network_bound, operator_norm
from ..operator_norms import check_finite, gamma, matrix_norm
from ..result import Estimator, bound
from ..task import NetworkOnRegion

SHOWN = 200  # operations listed in the extras


class SpectralProduct(Estimator):
    """Upper bound on the global constant: the product of the layers' constants.

    K <= prod ||W_l|| prod Lip(sigma_l) along a path; the constants of two branches add in a residual sum and combine by the
    norm in a concatenation. Convolutions count as operators, with padding and stride, not as reshaped kernels; every norm
    is verified or raised by its rounding margin.

    Args:
        norms: `spectral` operator norms in the task's norm (AutoLip); `frobenius` Frobenius norms instead (l2 only, never
            better); `abs` the norm of |W_L| ... |W_1| (plain chains only, better for few or aligned signs).

    Cost: no forwards, no backwards; one decomposition a layer.

    Source: Virmaux and Scaman, "Lipschitz regularity of deep neural networks", NeurIPS 2018, algorithm 1 (AutoLip).
    """

    def __init__(self, *, norms: Literal["spectral", "frobenius", "abs"] = "spectral") -> None:
        self.norms = norms

    def estimate(self, evidence: NetworkOnRegion, ctx: Context) -> Value:
        """The product, with every factor in the extras."""
        if self.norms == "abs":
            value, factors = _absolute(evidence)
        else:
            if self.norms == "frobenius" and evidence.norm != "l2":
                raise NotApplicable(
                    f"norms: frobenius bounds the l2 constant, the task has norm: {evidence.norm}; use norms: spectral"
                )
            measure = operator_norm if self.norms == "spectral" else frobenius_norm
            value, factors = network_bound(evidence.probe.source, evidence.probe.shape, evidence.norm, measure)
        listed = [[f.name, f.norm] for f in factors if f.norm != 1.0]
        return bound(
            evidence,
            check_finite(value, "the product bound"),
            kind="upper",
            scope="global",
            certified=True,
            norms=self.norms,
            factors=listed[:SHOWN],
            factors_left_out=max(0, len(listed) - SHOWN),
        )


def _absolute(evidence: NetworkOnRegion) -> tuple[float, tuple[Factor, ...]]:
    """||  |W_L| ... |W_1|  || prod Lip(sigma_l): the Jacobian's entries are at most those of the product of |W_l|."""
    dense, activations = layers(dense_chain(evidence.probe.source, evidence.probe.shape))
    norm = evidence.norm
    product = dense[0].weight.abs()
    for d in dense[1:]:
        product = d.weight.abs() @ product
    terms = sum(d.weight.shape[1] + 2 for d in dense)
    # an error of Frobenius norm e moves an l1 or linf norm by at most sqrt(n) e
    errors = [d.rounding * (1.0 if norm == "l2" else math.sqrt(max(d.weight.shape))) for d in dense]
    slack = perturbation([matrix_norm(d.weight.abs(), norm) for d in dense], errors) if any(errors) else 0.0
    top = matrix_norm(product, norm) * (1 + gamma(terms)) + slack
    slopes = math.prod(a.lipschitz for a in activations)
    listed = tuple(Factor(name=a.name, norm=a.lipschitz, total=a.lipschitz) for a in activations)
    return top * slopes * (1 + gamma(len(dense) + 2)), (Factor(name="|W_L| .. |W_1|", norm=top, total=top), *listed)
