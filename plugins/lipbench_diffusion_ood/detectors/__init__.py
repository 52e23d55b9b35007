# SPDX-License-Identifier: Apache-2.0
"""Detectors: scores of images, larger for those from elsewhere."""
