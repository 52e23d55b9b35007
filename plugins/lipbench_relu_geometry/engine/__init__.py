# SPDX-License-Identifier: Apache-2.0
"""The geometry engine, a library: exact in float64 up to the tolerances that each module states; it knows no task and no suite.

`PUBLIC` is its public surface. Any plugin may import these names from the modules that have them, of this repository or of a
third party; other names may change at any time. They are not imported here, so that the fingerprint of a component that
uses one module covers that one and not the others. The engine imports `lipbench.api`, torch, numpy and scipy, and highspy where
there is a linear program.
"""

from __future__ import annotations

from collections.abc import Mapping

PUBLIC: Mapping[str, tuple[str, ...]] = {
    "network": ("ReluNet", "Cells", "net_of", "read", "stacked"),
    "plane": ("Plane", "decompose", "box", "clip_to_box"),
    "polygons": ("TOLERANCE",),
    "enumerate": ("CellComplex", "enumerate_cells", "complexes", "planar_cells"),
    "vertices": ("Walk", "walk", "NotGeneric", "NEAR"),
    "traversal": ("Visited", "traverse", "THIN"),
    "facets": ("Facets", "active_bits"),
    "balls": ("Ball", "chebyshev", "nearest_centre", "facet_distance"),
    "projection": ("nearest_point",),
    "boundary": ("Boundary", "boundary_distance"),
    "segments": ("Crossings", "crossings"),
    "neighbours": ("Nearest", "nearest_hamming", "nearest_euclid"),
}
"""Module to its public names."""
