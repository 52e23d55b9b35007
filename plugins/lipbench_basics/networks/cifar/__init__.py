# SPDX-License-Identifier: Apache-2.0
"""Five image classifiers in their adaptations to 32x32 pixels: stems of stride 1, no early pooling, one linear layer."""
