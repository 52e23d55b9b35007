# SPDX-License-Identifier: Apache-2.0
"""Pairs of distributions, and families that pairs are drawn from."""
