# SPDX-License-Identifier: Apache-2.0
"""The geometry of ReLU networks: polyhedra, bit vectors, local affine maps."""
