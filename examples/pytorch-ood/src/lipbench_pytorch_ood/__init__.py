# SPDX-License-Identifier: Apache-2.0
"""Detectors of pytorch-ood as a plugin of lipbench."""
