# SPDX-License-Identifier: Apache-2.0
"""The area under the ROC curve, its intervals, and the other figures of detectors and maps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lipbench.api import InvalidInput, NotApplicable, NotFinite

if TYPE_CHECKING:
    Scores = NDArray[np.float64]


def auroc(negatives: ArrayLike, positives: ArrayLike) -> float:
    """The chance that a positive scores above a negative, ties counting half; O(n log n).

    Raises:
        InvalidInput: One of the two is empty or no vector.
        NotFinite: A score is NaN.
    """
    return _placements(*_checked(negatives, positives))[0]


def delong(
    negatives: ArrayLike, positives: ArrayLike, level: float = 0.95, paired: bool = False
) -> tuple[float, float, float, float]:
    """AUROC with DeLong's interval.

    Each score's placement is the share of the other kind that it beats; by midranks they cost O(n log n). The interval is
    the value plus and minus a normal quantile times the standard error, clipped to [0, 1]. Where all placements agree, as
    they do at an AUROC of exactly 0 or 1, or where there is only one score of a kind, the estimated variance is 0 or
    undefined and would claim certainty: there the interval is `score_interval`, which needs no estimate.

    Args:
        negatives: (n,) scores.
        positives: (m,) scores.
        level: Confidence of the interval.
        paired: negatives[i] and positives[i] come from one image, so that the covariance of their placements enters.

    Returns:
        AUROC, lower end, upper end, estimated variance (0 where it cannot be estimated).

    Raises:
        InvalidInput: A set is empty, or paired sets have different lengths.
        NotFinite: A score is NaN.

    Source: X. Sun and W. Xu, Fast implementation of DeLong's algorithm, IEEE Signal Process. Lett. 21, 2014; N. A.
    Obuchowski, Nonparametric analysis of clustered ROC curve data, Biometrics 53, 1997 (pairs: clusters of one each).
    """
    neg, pos = _checked(negatives, positives, paired)
    value, below, above = _placements(neg, pos)
    variance = _variance(below, above, paired)
    if variance <= 0:
        return value, *score_interval(value, len(neg), len(pos), level), 0.0
    half = _quantile(level) * math.sqrt(variance)
    return value, max(0.0, value - half), min(1.0, value + half), variance


def delong_difference(
    negatives_a: ArrayLike,
    positives_a: ArrayLike,
    negatives_b: ArrayLike,
    positives_b: ArrayLike,
    level: float = 0.95,
    paired: bool = False,
) -> tuple[float, float, float, float]:
    """AUROC of a minus AUROC of b, two scores of the same inputs in the same order, with DeLong's interval.

    Where the variance is estimated as 0 although the two scores order the inputs differently, the interval is Newcombe's
    square-and-add of the two `score_interval`s, as if the scores were independent. Scores that order the inputs alike have
    the difference 0 with certainty.

    Args:
        negatives_a: (n,) scores of a.
        positives_a: (m,) scores of a.
        negatives_b: (n,) scores of b, of the same inputs.
        positives_b: (m,) scores of b, of the same inputs.
        level: Confidence of the interval.
        paired: negatives[i] and positives[i] come from one image too.

    Returns:
        Difference, lower end, upper end, estimated variance; the interval is clipped to [-1, 1].

    Raises:
        InvalidInput: A set is empty, or sets that belong together have different lengths.
        NotFinite: A score is NaN.

    Source: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44, 1988; N. A. Obuchowski, Biometrics 53, 1997.
    """
    first, second = _checked(negatives_a, positives_a, paired), _checked(negatives_b, positives_b, paired)
    if [len(s) for s in first] != [len(s) for s in second]:
        raise InvalidInput("two scores of the same inputs must have the same numbers of negatives and of positives")
    a, below_a, above_a = _placements(*first)
    b, below_b, above_b = _placements(*second)
    difference = a - b
    variance = _variance(below_a - below_b, above_a - above_b, paired)
    if variance > 0:
        half = _quantile(level) * math.sqrt(variance)
        return difference, max(-1.0, difference - half), min(1.0, difference + half), variance
    if np.array_equal(_ranks(np.concatenate(first)), _ranks(np.concatenate(second))):
        return 0.0, 0.0, 0.0, 0.0
    sizes = len(first[0]), len(first[1])
    (low_a, high_a), (low_b, high_b) = score_interval(a, *sizes, level), score_interval(b, *sizes, level)
    low, high = difference - math.hypot(a - low_a, high_b - b), difference + math.hypot(high_a - a, b - low_b)
    return difference, max(-1.0, low), min(1.0, high), 0.0


def score_interval(value: float, negatives: int, positives: int, level: float = 0.95) -> tuple[float, float]:
    """The AUROCs whose own standard error reaches the observed value: of positive width at 0 and 1 too.

    Args:
        value: Observed AUROC.
        negatives: Number of negatives.
        positives: Number of positives.
        level: Confidence.

    Source: R. G. Newcombe, Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2,
    Stat. Med. 25, 2006, method 5; the variance is Hanley and McNeil's with both numbers replaced by their mean in it.
    """
    from scipy.optimize import brentq

    share, other = _quantile(level) ** 2 / (negatives * positives), (negatives + positives) / 2 - 1

    def lower(observed: float) -> float:
        def excess(theta: float) -> float:
            # Both sides of the squared equation are divided by 1 - theta, a root that means nothing at an AUROC of 1.
            distance = 1 - theta if observed >= 1 else (observed - theta) ** 2 / (1 - theta)
            return distance - share * theta * (1 + other * ((1 - theta) / (2 - theta) + theta / (1 + theta)))

        return 0.0 if observed <= 0 else float(brentq(excess, 0.0, min(observed, 1.0), xtol=1e-14))

    return lower(value), 1 - lower(1 - value)


def hanley_mcneil(value: float, negatives: int, positives: int) -> float:
    """Standard error of an AUROC known by its value alone, as for published figures.

    Source: J. A. Hanley and B. J. McNeil, Radiology 143, 1982, equation 2.
    """
    q1, q2, square = value / (2 - value), 2 * value**2 / (1 + value), value**2
    total = value * (1 - value) + (positives - 1) * (q1 - square) + (negatives - 1) * (q2 - square)
    return math.sqrt(max(0.0, total) / (negatives * positives))


def tpr_at_fpr(negatives: ArrayLike, positives: ArrayLike, fpr: float) -> tuple[float, float, float]:
    """Share of positives found while at most a share `fpr` of negatives is flagged.

    Flagged is what scores *above* the threshold, which is the score of a negative; ties with it are not flagged, so the
    false alarms never exceed what was allowed.

    Returns:
        The share found, the threshold (minus infinity where all may be flagged), and the share of false alarms reached.

    Raises:
        InvalidInput: A set is empty, or the share is not in [0, 1].
        NotFinite: A score is NaN.
    """
    neg, pos = _checked(negatives, positives)
    if not 0 <= fpr <= 1:
        raise InvalidInput(f"a share of false alarms lies in [0, 1], found {fpr}")
    # Compared as the quotients that are reported, so that 0.29 allows 29 of 100 although 0.29 * 100 < 29.
    allowed = math.floor(fpr * len(neg))
    allowed += (allowed + 1) / len(neg) <= fpr
    allowed -= allowed / len(neg) > fpr
    threshold = -math.inf if allowed >= len(neg) else float(np.sort(neg)[len(neg) - 1 - allowed])
    return float(np.mean(pos > threshold)), threshold, float(np.mean(neg > threshold))


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share, from the binomial distribution.

    Raises:
        InvalidInput: There are no trials, or more successes than trials.
    """
    from scipy.stats import binomtest

    if not 0 <= successes <= trials or trials < 1:
        raise InvalidInput(f"a share needs successes between 0 and the trials, found {successes} of {trials}")
    found = binomtest(successes, trials).proportion_ci(confidence_level=level, method="exact")
    return float(found.low), float(found.high)


def r2(y: Tensor, yhat: Tensor) -> float:
    """1 - sum of squared errors / sum of squares about the mean, all outputs (n, q) together.

    Raises:
        NotApplicable: The rows of y are all alike.
    """
    y, yhat = _pair(y, yhat)
    total = float((y - y.mean(0)).square().sum())
    if total == 0:
        raise NotApplicable("R2 needs targets that vary, and these rows are all alike")
    return 1 - float((yhat - y).square().sum()) / total


def _pair(y: Tensor, yhat: Tensor) -> tuple[Tensor, Tensor]:
    if y.shape != yhat.shape or y.ndim != 2 or y.numel() == 0:
        raise InvalidInput(f"predictions are compared row by row, found {tuple(y.shape)} and {tuple(yhat.shape)}")
    return y.double(), yhat.double()


def _checked(negatives: ArrayLike, positives: ArrayLike, paired: bool = False) -> tuple[Scores, Scores]:
    neg, pos = np.asarray(negatives, dtype=np.float64), np.asarray(positives, dtype=np.float64)
    for name, scores in (("negatives", neg), ("positives", pos)):
        if scores.ndim != 1 or not len(scores):
            raise InvalidInput(f"{name} must be a vector of at least one score, found shape {scores.shape}")
        if np.isnan(scores).any():
            raise NotFinite(f"score {int(np.isnan(scores).argmax())} of the {name} is NaN")
    if paired and len(neg) != len(pos):
        raise InvalidInput(f"paired scores come in pairs, found {len(neg)} negatives and {len(pos)} positives")
    return neg, pos


def _ranks(scores: Scores) -> Scores:
    """Midranks from 1."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(scores), dtype=np.float64)


def _placements(neg: Scores, pos: Scores) -> tuple[float, Scores, Scores]:
    """AUROC, the share of positives above each negative, and the share of negatives below each positive; ties count half."""
    n, m = len(neg), len(pos)
    ranks = _ranks(np.concatenate([neg, pos]))
    wins, losses = ranks[n:] - _ranks(pos), ranks[:n] - _ranks(neg)
    # Midranks are multiples of a half, so this sum is exact and equal orders give equal values to the last bit.
    return float(wins.sum() / (n * m)), 1 - losses / m, wins / n


def _variance(below: Scores, above: Scores, paired: bool) -> float:
    """Of the mean of both placements; 0 where there are too few to estimate it."""
    if min(len(below), len(above)) < 2:
        return 0.0
    if paired:
        return float(np.var(below + above, ddof=1)) / len(below)
    return float(np.var(below, ddof=1)) / len(below) + float(np.var(above, ddof=1)) / len(above)


def _quantile(level: float) -> float:
    """The normal quantile of a two-sided interval."""
    from scipy.special import ndtri

    if not 0 < level < 1:
        raise InvalidInput(f"a confidence level lies between 0 and 1, found {level}")
    return float(ndtri((1 + level) / 2))
