# SPDX-License-Identifier: Apache-2.0
"""Networks for any dataset: trainable, pretrained, and the user's own."""
