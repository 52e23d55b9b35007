# SPDX-License-Identifier: Apache-2.0
"""What this plugin has: the task `lipschitz_network`, its networks, data, metrics and reports."""

from __future__ import annotations

from collections.abc import Iterable

from lipbench.api import Component, Report, hookimpl

_HERE = "lipbench_lipschitz_networks"
_TASK = "lipschitz_network"

_METRICS = {
    "kr": ("duality:Kr", "mean difference of the output between two classes, against the exact W1"),
    "w1": ("duality:W1", "exact distance of optimal transport between two classes"),
    "hinge": ("duality:Hinge", "mean shortfall of a margin, against the least that is possible"),
    "class_accuracy": ("robustness:Accuracy", "share of rows with the right class"),
    "certified_accuracy": ("robustness:CertifiedAccuracy", "share of rows that are right in a whole l2 ball, proved"),
    "certified_radius": ("robustness:CertifiedRadius", "mean radius of the certified balls"),
    "attacked_accuracy": ("robustness:AttackedAccuracy", "share of rows that an attack in an l2 ball does not change"),
    "gradient_norm": ("steepness:GradientNorm", "the largest Jacobian norm over points"),
    "product_bound": ("steepness:ProductBound", "product of the layers' constants, exact for each layer"),
    "orthogonality": ("steepness:Orthogonality", "how far singular values of constrained kernels are from 1"),
    "export_difference": ("steepness:ExportDifference", "what the export to ordinary layers changes"),
    "parameters": ("cost:Parameters", "numbers in the network"),
    "step_seconds": ("cost:StepSeconds", "seconds of a step of training"),
    "contours": ("contour:Contours", "a planar network on a grid, to be drawn"),
}
_NETWORKS = {
    "lip_mlp": ("mlp:LipMLP", "dense network of constrained layers, or the same shape without constraint"),
    "lip_sweep": ("sweep:LipSweep", "one of many dense networks that are trained together: losses and seeds"),
    "lip_conv": ("conv:LipConv", "convolutional network of constrained layers"),
    "lip_layer": ("single:LipLayer", "one layer, to measure what a table says of it"),
}
_DATASETS = {
    "toy_squares": ("ToySquares", "black images against a square: W1 is its side"),
    "circles": ("Circles", "two noisy circles, one inside the other"),
    "digits_pair": ("DigitsPair", "two handwritten digits of 8x8 pixels"),
    "mnist_pair": ("MnistPair", "two handwritten digits of 28x28 pixels, from local files"),
}


@hookimpl
def lipbench_components() -> Iterable[Component]:
    """The components of the suite."""
    yield Component(
        kind="task",
        name=_TASK,
        factory=f"{_HERE}.task:LipschitzNetwork",
        summary="what a 1-Lipschitz network learns and proves",
    )
    for name, (place, summary) in _METRICS.items():
        yield Component(kind="metric", name=name, factory=f"{_HERE}.metrics.{place}", summary=summary)
    for name, (place, summary) in _NETWORKS.items():
        yield Component(kind="model", name=name, factory=f"{_HERE}.models.{place}", summary=summary, tags=("lipschitz",))
    for name, (cls, summary) in _DATASETS.items():
        yield Component(kind="dataset", name=name, factory=f"{_HERE}.datasets:{cls}", summary=summary)


@hookimpl
def lipbench_reports() -> Iterable[Report]:
    """The audit, a table and the plots."""
    for kind, name, summary in (
        (
            "audit",
            "duality",
            "KR is at most K W1, gradients at most K, certified at most attacked accuracy, hinge at least its floor",
        ),
        ("table", "corrections", "what the source says, and what is so"),
        ("plot", "kr_curves", "KR over the steps of training against W1"),
        ("plot", "singular_values", "singular values of kernels over the steps of training"),
        ("plot", "certified_curves", "accuracy against certified radius"),
        ("plot", "pareto", "accuracy against certified accuracy over alpha"),
        ("plot", "contours", "decision and margins of planar networks, over their gradient norm"),
    ):
        yield Report(kind=kind, name=name, task=_TASK, factory=f"{_HERE}.reports.{name}:{name}", summary=summary)  # type: ignore[arg-type]
