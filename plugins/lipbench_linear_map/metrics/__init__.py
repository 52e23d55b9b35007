# SPDX-License-Identifier: Apache-2.0
"""Metrics of the task `linear_map_detection`."""
