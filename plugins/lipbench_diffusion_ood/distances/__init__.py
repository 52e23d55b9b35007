# SPDX-License-Identifier: Apache-2.0
"""Distances of a reconstruction from its original; larger is further."""
