# SPDX-License-Identifier: Apache-2.0
"""What this plugin has: the tasks `relu_geometry` and `locally_linear`, networks, metrics and pictures."""

from __future__ import annotations

from collections.abc import Iterable

from lipbench.api import Component, Report, hookimpl

_HERE = "lipbench_relu_geometry"
_TASK = "relu_geometry"
_LOCAL = "locally_linear"

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
    "graph_excess": ("graph:GraphExcess", "pairs of cells that are further apart than their bits differ"),
    "class_distances": ("points:ClassDistances", "distances within classes against those between classes"),
    "boundary_distance": ("sizes:BoundaryDistance", "distance of a point from the decision boundary, from below and above"),
    "cell_map": ("pictures:CellMap", "the cells of a planar network as a picture"),
    "cell_evolution": ("pictures:CellEvolution", "the cells of a planar network while it learns"),
    "slice_map": ("pictures:SliceMap", "the cells on a plane through three points of different classes"),
}
_MODELS = {
    "relu_oracle": ("oracle:ReluOracle", "a network drawn by a stated recipe or set by hand", ("oracle",)),
    "relu_replicas": ("replicas:ReluReplicas", "many small networks trained at once on a function", ("trainable",)),
    "relu_saved": ("saved:ReluSaved", "linear layers from a state dict that others have saved", ()),
}

_LOCAL_METRICS = {
    "original_accuracy": ("clusters:OriginalAccuracy", "accuracy of the network whose local maps are looked at"),
    "reconstruction_error": ("clusters:ReconstructionError", "outputs against those of the local maps"),
    "clustered_outputs": ("clusters:ClusteredOutputs", "local maps replaced by the centres of their clusters"),
    "plain_control": ("clusters:PlainControl", "classifiers that know nothing of the network"),
    "mapped_outputs": ("mapping:MappedOutputs", "one network's local maps predicted from another's by a matrix"),
    "row_redundancy": ("redundancy:RowRedundancy", "how many local maps differ, and the dimensions that they fill"),
    "centres_needed": ("needed:CentresNeeded", "the smallest number of centres that keeps a share of the accuracy"),
    "pruned_network": ("pruning:PrunedNetwork", "the network without its smallest weights, at the size of k centres"),
    "row_similarity": ("similarity:RowSimilarity", "CKA and Procrustes similarity of two networks' local maps"),
    "cosine_test": ("similarity:CosineTest", "cosines of two networks' weights beside those of permuted pairs"),
    "mapped_pictures": ("pictures:MappedPictures", "weights of predicted local maps as images"),
    "mapped_surface": ("pictures:MappedSurface", "a planar network beside its prediction from another's local maps"),
    "map_pictures": ("pictures:MapPictures", "weights of local maps and of their centres as images"),
    "planar_truth": ("oracles:PlanarTruth", "counts on hand-set networks against what is known"),
    "replica_learning": ("evolution:ReplicaLearning", "how many planar replicas succeed, and when"),
    "region_evolution": ("evolution:RegionEvolution", "cells of planar replicas while they learn"),
}
_LOCAL_MODELS = {
    "no_target": ("task:NoTarget", "no second network", ()),
    "image_network": ("networks:ImageNetwork", "the source's image networks, by SGD", ("trainable",)),
    "exclusive_or_net": ("exclusive_or:ExclusiveOrNet", "one hidden layer that learns an exclusive or", ("trainable",)),
    "relu_classifiers": ("replicas:ReluClassifiers", "many small planar classifiers trained at once", ("trainable",)),
    "local_oracle": ("oracles:LocalOracle", "a planar network set by hand", ("oracle",)),
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
    yield Component(
        kind="task", name=_LOCAL, factory=f"{_HERE}.local.task:LocallyLinear", summary="what local affine maps of networks say"
    )
    yield Component(
        kind="dataset", name="circle_annulus", factory=f"{_HERE}.local.data:CircleAnnulus", summary="a disc inside an annulus"
    )
    yield Component(
        kind="dataset",
        name="exclusive_or_square",
        factory=f"{_HERE}.local.exclusive_or:ExclusiveOrSquare",
        summary="a square by the signs of its coordinates",
    )
    for name, (place, summary) in _LOCAL_METRICS.items():
        yield Component(kind="metric", name=name, factory=f"{_HERE}.local.{place}", summary=summary)
    for name, (place, summary, tags) in _LOCAL_MODELS.items():
        yield Component(kind="model", name=name, factory=f"{_HERE}.local.{place}", summary=summary, tags=tags)


@hookimpl
def lipbench_reports() -> Iterable[Report]:
    """Audits, tables and plots of both tasks."""
    for kind, name, summary in (
        ("table", "mapping_controls", "maps between networks beside an untrained source, shuffled pairs and no map"),
        ("table", "similarity", "cosines, CKA and Procrustes of local maps, with an untrained source and permuted pairs"),
        ("table", "sizes", "how many centres are enough, and the network pruned to the same size"),
        ("plot", "mapped_pictures", "weights of predicted local maps at one image"),
        ("plot", "mapped_surfaces", "planar networks and their predictions from others' local maps"),
        ("plot", "polytope_strips", "cells, decision boundary and local maps while a planar network learns"),
        ("plot", "region_curves", "exact cells, distinct maps and the source's count while networks learn"),
        ("plot", "cluster_curves", "accuracy against the number of centres, with the controls"),
        ("plot", "mapping_heat_maps", "accuracy, gain and R2 of maps between networks"),
        ("plot", "map_pictures", "weights of local maps at one image, and of their centres"),
        ("plot", "row_spectra", "singular values of the local maps"),
    ):
        yield Report(kind=kind, name=name, task=_LOCAL, factory=f"{_HERE}.local.reports.{name}:{name}", summary=summary)  # type: ignore[arg-type]
    for kind, name, summary in (
        ("audit", "sanity", "counts and crossings that cannot be right"),
        ("table", "claims", "what the source claims, beside what was measured and its controls"),
        ("plot", "cell_maps", "cells of planar networks with the zero set, and their affine maps as points"),
        (
            "plot",
            "heat_maps",
            "cells by the slope of their map, by bits and by steps from the middle; classes by their distance",
        ),
        ("plot", "evolution", "cells of planar networks while they learn"),
        ("plot", "slices", "cells on a plane through three images"),
        ("plot", "regions_against_units", "cells against the number of units"),
        ("plot", "probe_curves", "bits that change against the distance of the probe"),
        ("plot", "crossings", "crossings of segments against the Hamming distance of their ends"),
        ("plot", "active_layers", "active bits by layer"),
        ("plot", "radii", "radii of the largest balls, with the limit of the box"),
    ):
        yield Report(kind=kind, name=name, task=_TASK, factory=f"{_HERE}.reports.{name}:{name}", summary=summary)  # type: ignore[arg-type]
