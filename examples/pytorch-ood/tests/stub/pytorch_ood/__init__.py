# SPDX-License-Identifier: Apache-2.0
"""Stands in for pytorch-ood where that cannot be imported: the two detectors that the tests use, by their formulas."""
