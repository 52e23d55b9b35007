# SPDX-License-Identifier: Apache-2.0
"""Datasets and networks that several suites share."""
