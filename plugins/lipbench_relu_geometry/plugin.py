# SPDX-License-Identifier: Apache-2.0
"""What this plugin has: the task `relu_geometry`, networks whose cells are known, metrics and pictures."""

from __future__ import annotations

from collections.abc import Iterable

from lipbench.api import Component, Report, hookimpl

_HERE = "lipbench_relu_geometry"
_TASK = "relu_geometry"

_METRICS = {
    "enumeration_faults": ("counting:EnumerationFaults", "engines, brute force, closed forms and the dual graph that disagree"),
    "published_undercount": ("counting:PublishedUndercount", "cells that the published traversal misses"),
    "region_count": ("counting:RegionCount", "cells of the whole space or of a box, exact"),
    "region_ratio": ("counting:RegionRatio", "cells against those of one layer with as many units"),
    "mean_facets": ("counting:MeanFacets", "facets of a cell"),
    "fit_error": ("counting:FitError", "mean square error of replicas"),
    "failed_fits": ("counting:FailedFits", "replicas that learned nothing"),
    "regions_and_error": ("counting:RegionsAndError", "rank correlation of cells and error within one architecture"),
    "active_bits": ("points:ActiveBits", "units that carry a facet of a point's cell"),
    "nearest_agreement": ("points:NearestAgreement", "nearest neighbours of the same class, by bits, inputs or the last layer"),
    "network_accuracy": ("points:NetworkAccuracy", "accuracy of the network itself"),
    "probe_distance": ("points:ProbeDistance", "bits that change within a fixed Euclidean distance"),
    "probe_auroc": ("points:ProbeAuroc", "attacked against clean points by these bits"),
    "segment_cells": ("paths:SegmentCells", "cells on segments between points, exact"),
    "bisection_miss": ("paths:BisectionMiss", "segments on which the published or repaired bisection misses cells"),
    "chebyshev_radius": ("sizes:ChebyshevRadius", "radius of the largest ball in a point's cell and a box"),
    "radius_auroc": ("sizes:RadiusAuroc", "attacked against clean points by the size of their cell"),
    "facet_distance": ("sizes:FacetDistance", "distance of a point from the nearest facet"),
    "cell_map": ("pictures:CellMap", "the cells of a planar network as a picture"),
    "cell_evolution": ("pictures:CellEvolution", "the cells of a planar network while it learns"),
    "slice_map": ("pictures:SliceMap", "the cells on a plane through three points of different classes"),
}
_MODELS = {
    "relu_oracle": ("oracle:ReluOracle", "a network drawn by a stated recipe or set by hand", ("oracle",)),
    "relu_replicas": ("replicas:ReluReplicas", "many small networks trained at once on a function", ("trainable",)),
    "relu_saved": ("saved:ReluSaved", "linear layers from a state dict that others have saved", ()),
}


@hookimpl
def lipbench_components() -> Iterable[Component]:
    """The components of the suite."""
    yield Component(
        kind="task", name=_TASK, factory=f"{_HERE}.task:ReluGeometry", summary="how a ReLU network cuts its input space"
    )
    yield Component(
        kind="dataset", name="quadratic", factory=f"{_HERE}.data:Quadratic", summary="a quadratic function on a cube"
    )
    yield Component(
        kind="method",
        name="unchanged",
        factory=f"{_HERE}.task:Unchanged",
        summary="no attack: the points as they are",
        tags=("attack",),
    )
    for name, (place, summary) in _METRICS.items():
        yield Component(kind="metric", name=name, factory=f"{_HERE}.metrics.{place}", summary=summary)
    for name, (place, summary, tags) in _MODELS.items():
        yield Component(kind="model", name=name, factory=f"{_HERE}.models.{place}", summary=summary, tags=tags)


@hookimpl
def lipbench_reports() -> Iterable[Report]:
    """Audit and plots."""
    for kind, name, summary in (
        ("audit", "sanity", "counts and crossings that cannot be right"),
        ("table", "claims", "what the source claims, beside what was measured and its controls"),
        ("plot", "cell_maps", "cells of planar networks with the zero set, and their affine maps as points"),
        ("plot", "evolution", "cells of planar networks while they learn"),
        ("plot", "slices", "cells on a plane through three images"),
        ("plot", "regions_against_units", "cells against the number of units"),
        ("plot", "probe_curves", "bits that change against the distance of the probe"),
        ("plot", "crossings", "crossings of segments against the Hamming distance of their ends"),
        ("plot", "active_layers", "active bits by layer"),
        ("plot", "radii", "radii of the largest balls, with the limit of the box"),
    ):
        yield Report(kind=kind, name=name, task=_TASK, factory=f"{_HERE}.reports.{name}:{name}", summary=summary)  # type: ignore[arg-type]
