# SPDX-License-Identifier: Apache-2.0
"""Distances between two samples, from POT and torch."""
