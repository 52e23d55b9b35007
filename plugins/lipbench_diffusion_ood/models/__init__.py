# SPDX-License-Identifier: Apache-2.0
"""Models fitted on in-domain images without labels: diffusion models, autoencoders, a generative adversarial network."""
