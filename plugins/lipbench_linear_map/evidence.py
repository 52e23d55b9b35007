# SPDX-License-Identifier: Apache-2.0
"""The evidence of the task: scores of original, noisy and adversarial images, seen through the map and natively."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from lipbench.api import NotApplicable


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of one detector on the V val images; larger is more adversarial. (V,) float64 each, rows are the same images."""

    clean: Tensor
    adversarial: Tensor
    noise: Tensor
    """Images with random signs of the size of the attack."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """What is known of the V val images beside their scores."""

    labels: Tensor
    """(V,) classes."""
    guess_clean: Tensor
    """(V,) what the network says of the original."""
    guess_adversarial: Tensor
    """(V,) what it says of the adversarial image."""
    linf: Tensor
    l2: Tensor
    mse: Tensor
    """(V,) sizes of the perturbation in [0,1] units."""
    pixel: tuple[Tensor, Tensor]
    """Scores of a linear detector on pixels, clean and adversarial; empty where images are large."""
    zeros: tuple[Tensor, Tensor]
    """Minus the number of values that are exactly zero, clean and adversarial."""

    def success(self) -> Tensor:
        """(V,) bool: the original is classified rightly and the adversarial image wrongly."""
        return (self.guess_clean == self.labels) & (self.guess_adversarial != self.labels)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Mapped features of the val images beside the target's own, (V, d_t) float64 each."""

    clean: Tensor
    adversarial: Tensor
    true_clean: Tensor
    true_adversarial: Tensor
    head: Callable[[Tensor], Tensor] | None
    """The target's last layer, (B, d_t) -> (B, classes); None where what is mapped is not the embedding."""


@dataclass(frozen=True, kw_only=True)
class Evasion:
    """What an attacker who knows the detector comes to."""

    scores: Tensor
    """(V,) the detector's scores of the images that the attack found."""
    guesses: Tensor
    """(V,) what the source says of them."""
    forwards: int
    backwards: int


@dataclass(frozen=True, kw_only=True)
class MappedEmbeddings:
    """What every metric of this task reads."""

    native: bool
    """True where source and target are one network: nothing is mapped then."""
    mapped: Scores
    """The target's detector on mapped features of the source."""
    native_target: Scores
    """The target's detector on the target's own features."""
    native_source: Scores
    """A detector trained on the source's own features of the svm part."""
    direct: Scores
    """A detector trained on the source's own features of the map part: what the map's rows are worth without a map."""
    source: Images
    target: Images
    negatives: Tensor
    """(V,) scores of the originals that the AUROC compares with: mapped or native, as the task says."""
    rows: int
    """Rows that the map was fitted on."""
    columns: int
    """Width of the source's features."""
    live: int
    """How many of these columns vary over the rows; least squares has an intercept beside them."""
    prediction: Prediction | None
    """None where the map predicts the score alone."""
    evade: Callable[[float, int], Evasion]
    """Attack classifier and mapped detector together: (weight of the detector, steps) -> what came of it."""
    evasions: dict[tuple[float, int], Evasion] = field(default_factory=dict)
    """What has been found, so that metrics of one attack share it; it does not depend on who asked first."""

    def evasion(self, weight: float, steps: int) -> Evasion:
        """The adaptive attack, run once."""
        key = (weight, steps)
        if key not in self.evasions:
            self.evasions[key] = self.evade(weight, steps)
        return self.evasions[key]

    def predicted(self, who: str) -> Prediction:
        """The mapped features.

        Raises:
            NotApplicable: The map predicts the score alone.
        """
        if self.prediction is None:
            raise NotApplicable(f"{who} needs mapped embeddings, and this map predicts the detector's score; leave it out here")
        return self.prediction
