# SPDX-License-Identifier: Apache-2.0
"""Controls: what the detector says where it should say nothing, and what needs no network at all."""

from __future__ import annotations

from typing import Annotated, Literal

from lipbench_basics.statistics import clopper_pearson
from pydantic import Field

from lipbench.api import Context, Interval, Metric, NotApplicable, Value

from ..evidence import MappedEmbeddings
from .detection import LEVEL, auroc_value


class CleanFalseAlarm(Metric):
    """AUROC of mapped originals against the target's own originals: 0.5 where the map itself raises no alarm.

    No image here is adversarial. A detector whose negatives are native measures this as well as the attack.
    """

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """In [0, 1]; best at 0.5, so without a direction."""
        return auroc_value(evidence.native_target.clean, evidence.mapped.clean, direction="none")


class AurocVsNoise(Metric):
    """AUROC of adversarial images against random signs of the same size: is it the attack that is detected, or any change?"""

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """In [0, 1], higher is better; the extras have noise against originals."""
        scores = evidence.mapped
        against = auroc_value(evidence.negatives, scores.noise).value
        return auroc_value(scores.noise, scores.adversarial, noise_vs_clean=against)


class AurocSuccessOnly(Metric):
    """AUROC of adversarial images that the source gets wrong against originals that it gets right.

    An adversarial image counts where its original is classified rightly and it is not; originals count where they are
    classified rightly, whether or not the attack succeeded. The two kinds have different images, so the interval is DeLong's
    for independent ones, which is the wider.
    """

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """In [0, 1], higher is better."""
        rows = evidence.source.success()
        count = int(rows.sum())
        if count < 2:
            raise NotApplicable(f"auroc_success_only: the attack succeeded on {count} images, 2 are needed; leave it out here")
        right = evidence.source.guess_clean == evidence.source.labels
        negatives, positives = evidence.negatives[right], evidence.mapped.adversarial[rows]
        return auroc_value(negatives, positives, paired=False, success_rate=count / len(rows))


class PixelAuroc(Metric):
    """AUROC of a detector that sees no network: how much of the attack shows in the pixels.

    Args:
        by: `svm` for the linear detector on pixels, `zeros` for the number of values that are exactly zero.
    """

    def __init__(self, *, by: Literal["svm", "zeros"] = "svm") -> None:
        self.by = by

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """In [0, 1], without a direction."""
        clean, adversarial = evidence.source.pixel if self.by == "svm" else evidence.source.zeros
        if len(clean) == 0:
            raise NotApplicable("pixel_auroc: these images are too large for a linear detector on pixels; write by: zeros")
        return auroc_value(clean, adversarial, direction="none")


class AdaptiveAuroc(Metric):
    """AUROC when the attacker knows the detector: projected gradient ascent on cross entropy less its score, on the source.

    Map and detector together are one linear score of the source's features, so the attack is white-box; its images are not
    rounded, whatever `quantise` says. To be read with
    `adaptive_robust_accuracy`: the attack is worth nothing where the source stays right.

    Args:
        weight: Of the detector's score in the attacker's objective.
        steps: Of the attack; each is one forward and one backward an image.
    """

    def __init__(
        self, *, weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0, steps: Annotated[int, Field(ge=1)] = 40
    ) -> None:
        self.weight, self.steps = weight, steps

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """In [0, 1], higher is better."""
        found = evidence.evasion(self.weight, self.steps)
        made = auroc_value(evidence.negatives, found.scores)
        return Value(
            value=made.value, direction="higher", unit=made.unit, interval=made.interval, group="adaptive",
            extras=made.extras, forwards=found.forwards, backwards=found.backwards,
        )  # fmt: skip


class AdaptiveRobustAccuracy(Metric):
    """Accuracy of the source on the images of the adaptive attack.

    Args:
        weight: Of the detector's score in the attacker's objective.
        steps: Of the attack; each is one forward and one backward an image.
    """

    def __init__(
        self, *, weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0, steps: Annotated[int, Field(ge=1)] = 40
    ) -> None:
        self.weight, self.steps = weight, steps

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """In [0, 1], higher is better; the attack is shared with `adaptive_auroc`."""
        found = evidence.evasion(self.weight, self.steps)
        labels = evidence.source.labels
        right = int((found.guesses == labels).sum())
        low, high = clopper_pearson(right, len(labels), LEVEL)
        return Value(
            value=right / len(labels),
            direction="higher",
            unit="accuracy",
            group="adaptive",
            interval=Interval(low=low, high=high, level=LEVEL, method="Clopper-Pearson"),
            forwards=found.forwards,
            backwards=found.backwards,
        )


class Perturbation(Metric):
    """Size of the attack on the source's val images in [0,1] units, the mean over images.

    Args:
        norm: `linf`, `l2`, or `mse`, the mean square over pixels.
    """

    def __init__(self, *, norm: Literal["linf", "l2", "mse"] = "l2") -> None:
        self.norm = norm

    def compute(self, evidence: MappedEmbeddings, ctx: Context) -> Value:
        """Without a direction; the extras have the largest."""
        sizes = getattr(evidence.source, self.norm)
        half = 1.959964 * float(sizes.std()) / len(sizes) ** 0.5 if len(sizes) > 1 else 0.0
        mean = float(sizes.mean())
        interval = Interval(low=max(0.0, mean - half), high=mean + half, level=LEVEL, method="normal, over images")
        accuracy = float((evidence.source.guess_adversarial == evidence.source.labels).double().mean())
        return Value(
            value=mean, direction="none", unit=f"{self.norm} of [0,1] pixels", interval=interval,
            extras={"largest": float(sizes.max()), "adversarial_accuracy": accuracy},
        )  # fmt: skip
