# SPDX-License-Identifier: Apache-2.0
"""What this plugin has: the task `distribution_distance`, its pairs, distances, metrics and reports."""

from __future__ import annotations

from collections.abc import Iterable

from lipbench.api import Component, Report, hookimpl

_HERE = "lipbench_distances"
_TASK = "distribution_distance"

_PAIRS = {
    "marron": ("gaussians:Marron", "two of the source's four Gaussians, by default of equal Gram matrix"),
    "equal_gram": ("gaussians:EqualGram", "two random Gaussians of equal Gram matrix"),
    "random_gaussians": ("gaussians:RandomGaussians", "two independent random Gaussians"),
    "point_masses": ("gaussians:PointMasses", "two random points"),
    "same_moments": ("moment_twins:SameMoments", "random signs and a Gaussian of equal mean and covariance"),
    "photographs": ("photographs:Photographs", "features of two photographs in a layer of EfficientNet-Lite0"),
}
_DISTANCES = {
    "gram_loss": ("by_moments:GramLoss", "squared difference of Gram matrices, the style loss of Gatys et al."),
    "mean_covariance": ("by_moments:MeanCovariance", "difference of means and covariances"),
    "mean_difference": ("by_moments:MeanDifference", "difference of means"),
    "gaussian_w2": ("by_moments:GaussianW2", "2-Wasserstein distance of Gaussians of the same moments"),
    "frechet": ("by_moments:Frechet", "its square, the Frechet distance of FID"),
    "wasserstein": ("transport:Wasserstein", "exact W1 or W2"),
    "sinkhorn": ("transport:Sinkhorn", "Sinkhorn divergence"),
    "sliced_wasserstein": ("transport:SlicedWasserstein", "sliced W1 or W2"),
    "mmd": ("by_kernels:KernelMMD", "maximum mean discrepancy of a Gaussian, Laplace, polynomial or cubic kernel"),
    "energy": ("by_kernels:Energy", "energy distance"),
}
_METRICS = {
    "population_distance": ("values:PopulationDistance", "the distance of the distributions themselves"),
    "sample_distance": ("values:SampleDistance", "the distance of samples"),
    "shared_moments": ("shared_moments:SharedMoments", "difference of the Gram matrices, and a picture of samples"),
    "separation": ("sampling:Separation", "AUROC of the pair against two samples of one distribution"),
    "power": ("sampling:Power", "power of the test at 5 %"),
    "noise_floor": ("sampling:NoiseFloor", "distance of two samples of one distribution, over that of the pair"),
    "bias": ("sampling:Bias", "mean distance of samples less that of the distributions"),
    "axiom_violations": ("axioms:AxiomViolations", "random triples that violate an axiom of a metric"),
    "matching": ("matching:Matching", "exact W2 that is left when the distance was brought to 0"),
    "gradient_at_zero": ("matching:GradientAtZero", "size of the gradient at equal samples"),
    "cost": ("cost:Cost", "seconds at the size that the source calls infeasible"),
    "style_transfer": ("style:StyleTransfer", "style transfer by this distance, with the image"),
}


@hookimpl
def lipbench_components() -> Iterable[Component]:
    """The components of the suite."""
    yield Component(
        kind="task",
        name=_TASK,
        factory=f"{_HERE}.task:DistributionDistance",
        summary="what a distance between distributions sees, and what it costs",
    )
    for name, (place, summary) in _PAIRS.items():
        yield Component(kind="method", name=name, factory=f"{_HERE}.pairs.{place}", summary=summary, tags=("pair",))
    for name, (place, summary) in _DISTANCES.items():
        yield Component(kind="method", name=name, factory=f"{_HERE}.distances.{place}", summary=summary, tags=("distance",))
    for name, (place, summary) in _METRICS.items():
        yield Component(kind="metric", name=name, factory=f"{_HERE}.metrics.{place}", summary=summary)


@hookimpl
def lipbench_reports() -> Iterable[Report]:
    """The audit, tables and plots."""
    for kind, name, place, summary in (
        ("audit", "sanity", "sanity", "shares, axioms that are theorems, Gelbrich's bound"),
        ("table", "axioms", "axioms", "which axioms of a metric each distance violates, and where"),
        ("table", "separation", "separation", "which distances tell which pairs apart"),
        ("table", "biases", "bias", "bias and spread of sampled distances"),
        ("table", "left_undone", "matching", "what is left to tell when a distance was brought to 0"),
        ("table", "seconds", "cost", "seconds at the size that the source calls infeasible"),
        ("plot", "mosaics", "looks", "samples of pairs of equal Gram matrix, as the source shows them"),
        ("plot", "separation_curves", "separation", "AUROC against the rows of a sample"),
        ("plot", "sampling", "separation", "distances of samples against their rows, of the pair and within"),
        ("plot", "bias", "bias", "distances of samples over the truth, against their rows"),
        ("plot", "triangles", "axioms", "the longest side of each triple against the sum of the others"),
        ("plot", "flows", "matching", "both samples after matching"),
        ("plot", "cost", "cost", "seconds against rows and features"),
        ("plot", "styles", "looks", "content, style, and the image that each distance makes"),
    ):
        yield Report(kind=kind, name=name, task=_TASK, factory=f"{_HERE}.reports.{place}:{name}", summary=summary)  # type: ignore[arg-type]
