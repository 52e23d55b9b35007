# SPDX-License-Identifier: Apache-2.0
"""Least squares with an intercept for many targets of the same source rows: factorise once, then one product a target.

`factorise` centres the rows, Z = x - mean, and takes one of two routes, by size alone:

- `svd`, while min(n, p) <= 4096 and n p <= 2^27: Householder QR where the rows certainly have full column rank, else the
  singular value decomposition with the cut-off of numpy's `lstsq`, eps max(n, p) times the largest singular value. All
  digits that the data allow.
- `gram`, above: Z^T Z, or Z Z^T where p > n, added up in blocks of 64 MiB, so that no second copy of the rows is made; then
  Cholesky where its condition allows it, else eigenvalues above eps max(n, p) times the largest. Squaring costs digits:
  directions whose singular value is below about 2e-6 of the largest (n = 33,000) cannot be told from zero and get no
  weight. One step of refinement with float64 residuals gives back most digits of the others: with condition number c the
  relative error of a weight is near eps c + (eps c^2)^2, not eps c^2, so like that of the first route up to c = 1e6.

Work: 2 n p m flops for QR, about ten times that for singular values, n p m + m^3 / 3 for the Gram route with
m = min(n, p); then 2 (n + p) m q for each target, three products of 2 n p q for the Gram route. Memory: `memory_bytes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from lipbench.api import InvalidInput

from .rows import BLOCK_BYTES, Rows, means, spans

Route = Literal["svd", "gram"]
Factor = Mapping[str, Tensor]
_EPS = torch.finfo(torch.float64).eps
_MOST_SIDE, _MOST_CELLS = 4096, 2**27
_MARGIN = 100.0
"""How far above the cut-off an estimated smallest singular value must lie for the rank to be certain."""


def route_of(n: int, p: int) -> Route:
    """How `factorise` treats n rows of p columns."""
    return "svd" if min(n, p) <= _MOST_SIDE and n * p <= _MOST_CELLS else "gram"


def memory_bytes(n: int, p: int, q: int, *, collinear: bool = False, route: Route | None = None) -> int:
    """Peak bytes that a fit of n rows from p to q columns needs beside the rows themselves.

    With m = min(n, p), the Gram route holds 8 * max(2 m^2, m^2 + n q + 3 p q) (where p > n: m^2 + 3 n q + 2 p q) and two
    blocks of 64 MiB; the `svd` route 8 * (3 n p + 4 m^2 + n q + 2 p q).

    Args:
        n: Pairs of rows.
        p: Columns of the source.
        q: Columns of the target.
        collinear: Count the eigenvalues that the Gram route falls back to where Cholesky is refused: 4 m^2, not 2 m^2.
        route: Overrides the choice by size, as in `factorise`.
    """
    m = min(n, p)
    if (route or route_of(n, p)) == "svd":
        return 8 * (3 * n * p + 4 * m * m + n * q + 2 * p * q)
    targets = n * q + 3 * p * q if n >= p else 3 * n * q + 2 * p * q
    blocks = 2 * min(BLOCK_BYTES, 8 * n * p)
    return max(8 * (4 if collinear else 2) * m * m, 8 * (m * m + targets) + blocks)


def factorise(
    x: Tensor, *, weights: Tensor | None = None, standardise: bool = False, spectrum: bool = False, route: Route | None = None
) -> dict[str, Tensor]:
    """Factorise the centred rows; what comes out goes into `solve` with the same rows.

    Args:
        x: (n, p), float32 or float64.
        weights: (n,) positive weights of the rows; None for equal ones.
        standardise: Divide each column by its standard deviation (of the population, as scikit-learn does).
        spectrum: Singular values are needed, so neither QR nor Cholesky will do.
        route: Overrides the choice by size.

    Returns:
        `mean` (p,), `live` (k,) the columns that are not constant, `size` () a norm of the matrix, `scale` (k,) where
        standardised, and one of: `basis` (k, n) and `triangle` (k, k), transposes of Q and R; `u` (n, r), `s` (r,) and `v` (k, r), of which the Gram
        route leaves out the longer of u and v; `cholesky_columns` (k, k); `cholesky_rows` (n, n).

    Raises:
        NotFinite: The rows hold NaN or an infinite value.
    """
    mean = means(x, weights)
    live = (x.amax(0) > x.amin(0)).nonzero()[:, 0]
    known: dict[str, Tensor] = {"mean": mean, "live": live}
    if standardise:
        known["scale"] = _deviations(Rows(x=x, live=live, mean=mean[live]))
    rows = rows_of(x, known, weights)
    if (route or route_of(*x.shape)) == "svd" or not len(live):
        return known | _orthogonal(rows.block(), spectrum)
    return known | _normal(rows, spectrum)


def rows_of(x: Tensor, factor: Factor, weights: Tensor | None = None) -> Rows:
    """The matrix that `factor` is the factorisation of."""
    live = factor["live"]
    root = None if weights is None else weights.sqrt()
    return Rows(x=x, live=live, mean=factor["mean"][live], scale=factor.get("scale"), root=root)


def solve(x: Tensor, factor: Factor, y: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The affine map of least squared error from x to y, of all such maps that with the smallest weight.

    Args:
        x: (n, p), the rows that were factorised.
        factor: From `factorise`, not standardised.
        y: (n, q).
        weights: (n,) as in `factorise`.

    Returns:
        The weight (p, q) and the bias (q,): the weighted mean of x goes to that of y.

    Raises:
        InvalidInput: The factorisation belongs to rows of another width.
        NotFinite: The targets hold NaN or an infinite value.
    """
    if len(factor["mean"]) != x.shape[1]:
        raise InvalidInput(f"the factorisation is of {len(factor['mean'])} columns, the source rows have {x.shape[1]}")
    rows, centre = rows_of(x, factor, weights), means(y, weights)
    centred = y.double() - centre
    if rows.root is not None:
        centred *= rows.root[:, None]
    weight = spread(coefficients(rows, factor, centred), factor)
    return weight, centre - factor["mean"] @ weight


def spread(weight: Tensor, factor: Factor) -> Tensor:
    """(k, q) for the live columns -> (p, q) for all; constant columns get the smallest weight there is, 0."""
    p, live = len(factor["mean"]), factor["live"]
    if len(live) == p:
        return weight
    return torch.zeros((p, weight.shape[1]), dtype=weight.dtype).index_copy_(0, live, weight)


def coefficients(rows: Rows, factor: Factor, targets: Tensor) -> Tensor:
    """`Z^+ targets`, (k, q), for centred targets (n, q)."""
    if "triangle" in factor:
        return torch.linalg.solve_triangular(factor["triangle"].T, factor["basis"] @ targets, upper=True)
    if "u" in factor and "v" in factor:
        return factor["v"] @ ((factor["u"].T @ targets) / factor["s"][:, None])
    if "cholesky_columns" in factor or "v" in factor:
        weight = inverse_gram(rows, factor, rows.moment(targets))
        return weight.add_(inverse_gram(rows, factor, rows.moment(targets, minus=weight)))
    weight = rows.moment(_inverse_dual(rows, factor, targets))
    return weight.add_(rows.moment(_inverse_dual(rows, factor, targets - rows.times(weight))))


def inverse_gram(rows: Rows, factor: Factor, moment: Tensor) -> Tensor:
    """`(Z^T Z)^+ moment`, (k, q)."""
    lower = factor.get("triangle", factor.get("cholesky_columns"))
    if lower is not None:
        return _after_both_triangles(lower, moment)
    if "v" in factor:
        return factor["v"] @ ((factor["v"].T @ moment) / factor["s"][:, None] ** 2)
    return rows.moment(_inverse_dual(rows, factor, _inverse_dual(rows, factor, rows.times(moment))))


def projected(rows: Rows, factor: Factor, vectors: Tensor) -> Tensor:
    """The part of vectors (k, q) within the space that the rows span."""
    if "triangle" in factor or "cholesky_columns" in factor:
        return vectors
    if "v" in factor:
        return factor["v"] @ (factor["v"].T @ vectors)
    return rows.moment(_inverse_dual(rows, factor, rows.times(vectors)))


def through_origin(x: Tensor, factor: Factor, weight: Tensor, target_mean: Tensor) -> Tensor:
    """The map of least squared error *without* a bias, from the one with a bias: a correction of rank one.

    With Z = x - 1 m^T, t = target_mean - m W for the affine weight W, and the part of the mean m outside the span of the
    centred rows called o: the solution of smallest weight is W + o t / |o|^2 where o is not zero, else
    W + g t / (1 + m^T g) with g = n (Z^T Z)^+ m. So maps with and without a bias share one factorisation.

    Returns:
        (p, q), what `numpy.linalg.lstsq(x, y)` gives.
    """
    n, mean, live = len(x), factor["mean"], factor["live"]
    rows = rows_of(x, factor)
    gap = (target_mean - mean @ weight)[None, :]
    inside = mean[live][:, None]
    outside = mean.clone()
    outside[live] -= projected(rows, factor, inside)[:, 0]
    cut = _cut(x.shape[0], x.shape[1], squared=not (factor.keys() & {"u", "triangle"}))
    size = (factor["size"] ** 2 + n * mean.square().sum()).sqrt()
    if float(n**0.5 * outside.norm()) > cut * float(size):
        return weight + outside[:, None] @ gap / outside.square().sum()
    g = n * inverse_gram(rows, factor, inside)
    return weight + spread(g, factor) @ gap / (1 + (inside * g).sum())


def _cut(n: int, p: int, *, squared: bool) -> float:
    """Singular values below this share of the largest count as zero; `squared` where they are roots of eigenvalues."""
    return float((_EPS * max(n, p)) ** (0.5 if squared else 1.0))


def _deviations(rows: Rows) -> Tensor:
    """Standard deviations (k,) of the live columns, n in the denominator."""
    n, k = rows.shape
    squares = torch.zeros(k, dtype=torch.float64)
    for part in spans(n, k):
        squares += rows.block(part).square_().sum(0)
    return (squares / n).sqrt_()


def _null_direction(rows: Rows) -> Tensor:
    """The unit vector (n,) that all columns of the matrix are orthogonal to, because they were centred."""
    ones = torch.ones(len(rows.x), dtype=torch.float64) if rows.root is None else rows.root
    return ones / ones.norm()


def _inverse_dual(rows: Rows, factor: Factor, targets: Tensor) -> Tensor:
    """`(Z Z^T)^+ targets`, (n, q), for centred targets."""
    if "cholesky_rows" in factor:
        return _after_both_triangles(factor["cholesky_rows"], targets)
    return factor["u"] @ ((factor["u"].T @ targets) / factor["s"][:, None] ** 2)


def _after_both_triangles(lower: Tensor, right: Tensor) -> Tensor:
    """`(L L^T)^-1 right`; unlike `torch.cholesky_solve` without a copy of L."""
    half = torch.linalg.solve_triangular(lower, right, upper=False)
    return torch.linalg.solve_triangular(lower.T, half, upper=True)


def _orthogonal(z: Tensor, spectrum: bool) -> dict[str, Tensor]:
    """QR where full column rank is certain, else singular values above the cut-off."""
    n, k = z.shape
    cut = _cut(n, k, squared=False)
    basis: Tensor | None = None
    if n > k > 0:
        basis, z = torch.linalg.qr(z)
        size = torch.linalg.matrix_norm(z)
        # LAPACK's factors lie column by column: their transposes are contiguous as they are.
        if not spectrum and _least(z.T, k) ** 0.5 > _MARGIN * cut * float(size):
            return {"basis": basis.T, "triangle": z.T, "size": size}
    u, s, vh = torch.linalg.svd(z, full_matrices=False)
    kept = s > cut * (s[0] if len(s) else 0.0)
    u = u[:, kept].contiguous()
    return {"u": u if basis is None else basis @ u, "s": s[kept], "v": vh[kept].T.contiguous(), "size": s[:1].sum()}


def _least(lower: Tensor, size: int, steps: int = 4) -> float:
    """The smallest eigenvalue of L L^T by inverse iteration, for a lower triangle L; NaN or 0 where it is singular.

    Four steps from a direction of no meaning overestimate it by at most about size^(1/8), a factor below 4.
    """
    v = torch.randn((size, 1), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for _ in range(steps):
        v = _after_both_triangles(lower, v / v.norm())
    return 1 / float(v.norm())


def _normal(rows: Rows, spectrum: bool) -> dict[str, Tensor]:
    """The Gram route: Cholesky where its condition allows it, else eigenvalues above the cut-off."""
    n, k = rows.shape
    dual = k > n
    gram = rows.gram(dual=dual)
    trace = gram.diagonal().sum()
    size = trace.sqrt()
    cut = _cut(n, k, squared=True)
    if not spectrum:
        direction = _null_direction(rows)
        if dual:  # centred rows add up to zero, so one eigenvalue is 0; no centred target has a part in that direction
            gram.addr_(direction, direction, alpha=float(trace) / n)
        upper, info = torch.linalg.cholesky_ex(gram, upper=True)
        if int(info) == 0 and _least(upper.T, len(gram)) ** 0.5 > _MARGIN**0.5 * cut * float(size):
            return {"cholesky_rows" if dual else "cholesky_columns": upper.T, "size": size}
        del upper
        if dual:
            gram.addr_(direction, direction, alpha=-float(trace) / n)
    values, vectors = torch.linalg.eigh(gram, UPLO="U")
    kept = values > cut**2 * values[-1]
    return {"s": values[kept].sqrt(), "u" if dual else "v": vectors[:, kept].contiguous(), "size": size}
