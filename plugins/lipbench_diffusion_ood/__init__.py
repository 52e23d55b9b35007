# SPDX-License-Identifier: Apache-2.0
"""Unsupervised detection of images from elsewhere: Lift, Map, Detect by diffusion models, and its baselines."""
