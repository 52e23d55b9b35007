# SPDX-License-Identifier: Apache-2.0
"""Distances between distributions: axioms, separating power, sampling error, gradients and cost, and a style transfer."""
