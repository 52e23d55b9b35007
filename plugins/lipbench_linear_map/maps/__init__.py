# SPDX-License-Identifier: Apache-2.0
"""Affine maps from one embedding space to another."""

from __future__ import annotations

from .base import Affine, LinearMap
from .least_squares import OLS, LeastSquares, OLSAffine, ScoreRegression, Shuffled
from .ridge import RidgeCV
from .robust import L21
from .simple import Identity, Procrustes, RandomMap

__all__ = [
    "L21",
    "OLS",
    "Affine",
    "Identity",
    "LeastSquares",
    "LinearMap",
    "OLSAffine",
    "Procrustes",
    "RandomMap",
    "RidgeCV",
    "ScoreRegression",
    "Shuffled",
]
