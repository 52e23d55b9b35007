# SPDX-License-Identifier: Apache-2.0
"""The methods that come with lipbench and take plain rows keep the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lipbench.testing import check_method

ROWS = {
    "x": torch.randn(12, 3, generator=torch.Generator().manual_seed(0)),
    "y": torch.randn(12, 3, generator=torch.Generator().manual_seed(1)),
}
DOUBLE = {name: rows.double() for name, rows in ROWS.items()}


def mapped(method: Any, given: dict[str, torch.Tensor], ctx: Any) -> Any:
    return method.fit(given["x"], method.factorise(given["x"]), given["y"], ctx)(given["x"])


def featured(method: Any, given: dict[str, torch.Tensor], ctx: Any) -> Any:
    return method(given["x"])


def between(method: Any, given: dict[str, torch.Tensor], ctx: Any) -> Any:
    return method.between(given["x"], given["y"], ctx)


def picked(method: Any, given: dict[str, torch.Tensor], ctx: Any) -> Any:
    p, q = method.pick(ctx.rng("pair"))
    return [p.mean, p.cov, q.mean, q.cov, p.draw(4, ctx.rng("rows"))]


CALLS: dict[str, tuple[Callable[..., Any], dict[str, torch.Tensor]]] = {
    **dict.fromkeys(("ols_affine", "l21", "procrustes", "random", "shuffled", "identity"), (mapped, DOUBLE)),
    **dict.fromkeys(("embedding", "mfs", "pfs", "pfs_cossin"), (featured, ROWS)),
    **dict.fromkeys(
        (
            "energy", "frechet", "gaussian_w2", "gram_loss", "mean_covariance", "mean_difference", "mmd",
        ),
        (between, DOUBLE),
    ),
    **dict.fromkeys(("equal_gram", "marron", "random_gaussians"), (picked, {})),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_method(name: str) -> None:
    call, inputs = CALLS[name]
    check_method(name, call=call, inputs=lambda: {k: v.clone() for k, v in inputs.items()})
