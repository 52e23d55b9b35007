# SPDX-License-Identifier: Apache-2.0
"""Bounds of auto_LiRPA as a plugin of lipbench."""
