# SPDX-License-Identifier: Apache-2.0
"""The networks: dense, convolutional, and single layers."""
