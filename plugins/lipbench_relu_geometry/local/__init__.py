# SPDX-License-Identifier: Apache-2.0
"""The suite `locally_linear`: the affine maps of a network's cells, their clusters, and maps between those of two networks."""
